import type { Request } from 'autocannon'
import { runAutocannon } from './autocannon.js'
import { cpuMicroseconds, type ServerProcess } from './processes.js'
import { difference, median, medianOfKnown, over } from './statistics.js'
import { hasWrk, runWrk } from './wrk.js'

/** A load: each connection sends its next request when the last one is answered (closed loop). */
export interface Load {
  server: ServerProcess
  path: string
  connections: number
  /** Sent in turn, and repeated. */
  requests: Request[]
  /** The most requests per second of all connections together: each sends its share, then waits for the next second. */
  perSecond?: number
  /** With `perSecond`: response times during the first seconds do not count. */
  settleSeconds?: number
}

/** What a generator measures. */
export interface Measured {
  answers: number
  requestsPerSecond: number
  p99Ms: number
}

/** The result of a load, or the median of several. */
export interface Figures {
  requestsPerSecond: number
  p99Ms: number
  /** The CPU time of the server per request; `undefined` where the system does not report it. */
  cpuMicroseconds: number | undefined
}

/** One request per token. */
export function withTokens (tokens: string[]): Request[] {
  return tokens.map((token) => ({ headers: { authorization: `Bearer ${token}` } }))
}

/** Puts a load on a server with wrk if it is installed, otherwise with autocannon. wrk has no fixed rate, and measures whole seconds only. */
function run (load: Load, seconds: number): Promise<Measured> {
  return hasWrk && load.perSecond === undefined && Number.isInteger(seconds) ? runWrk(load, seconds) : runAutocannon(load, seconds)
}

/**
 * Puts a load on a server before it is measured. There may be no answer in the time.
 *
 * @throws {Error} a response was an error
 */
export async function warmUp (load: Load, seconds: number): Promise<void> {
  if (seconds > 0) await run(load, seconds)
}

/**
 * Puts a load on a server for some seconds, and measures it.
 *
 * @throws {Error} a response was an error, or there was none
 */
export async function measureLoad (load: Load, seconds: number): Promise<Figures> {
  const before = cpuMicroseconds(load.server.pid)
  const { answers, requestsPerSecond, p99Ms } = await run(load, seconds)
  if (answers === 0) throw new Error(`${load.path}: no answer in ${seconds} s`)
  const after = cpuMicroseconds(load.server.pid)
  return { requestsPerSecond, p99Ms, cpuMicroseconds: over(difference(after, before), answers) }
}

/** The median of each figure. */
export function medianFigures (windows: Figures[]): Figures {
  return {
    requestsPerSecond: median(windows.map(({ requestsPerSecond }) => requestsPerSecond)),
    p99Ms: median(windows.map(({ p99Ms }) => p99Ms)),
    cpuMicroseconds: medianOfKnown(windows.map(({ cpuMicroseconds }) => cpuMicroseconds))
  }
}
