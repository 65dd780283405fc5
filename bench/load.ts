import autocannon, { type Request } from 'autocannon'
import { cpuMicroseconds, type ServerProcess } from './processes.js'
import { median, medianOfKnown, percentile } from './statistics.js'

/** Connections that each send the next request as soon as the last one is answered. */
export interface Load {
  server: ServerProcess
  path: string
  connections: number
  /** Sent in turn; each connection has a share of its own, or the one that there is. */
  requests: Request[]
  /** All connections together send no more than so many a second: each its share as fast as it is answered, then none until the second is over. */
  perSecond?: number
  /** For how long response times do not count yet. */
  settleSeconds?: number
}

/** What a load, or the median of several, came to. */
export interface Figures {
  requestsPerSecond: number
  p99Ms: number
  /** The processor time of the server for one request; `undefined` where the system does not say. */
  cpuMicroseconds: number | undefined
}

/** Requests that each bring a token. */
export function withTokens (tokens: string[]): Request[] {
  return tokens.map((token) => ({ headers: { authorization: `Bearer ${token}` } }))
}

function shareOf (requests: Request[], connection: number, connections: number): Request[] {
  const share = requests.length < connections
    ? requests.slice(connection % requests.length).slice(0, 1)
    : requests.filter((_, i) => i % connections === connection)
  // Each keeps its bytes in it.
  return share.map((request) => ({ ...request }))
}

/**
 * Puts a load on a server, for some seconds.
 *
 * @throws {Error} an answer was not 2xx, or there was none
 */
export function runWindow ({ server, path, connections, requests, perSecond, settleSeconds = 0 }: Load, seconds: number): Promise<Figures> {
  return new Promise((resolve, reject) => {
    const latencies: number[] = []
    let answers = 0
    let connection = 0
    // Making thousands of requests takes its time: it counts from when the first one was sent.
    let first = 0
    let last = 0
    const cpuBefore = cpuMicroseconds(server.pid)
    const instance = autocannon({
      url: server.url + path,
      connections,
      duration: seconds,
      overallRate: perSecond,
      // It ends only when it takes a sample.
      sampleInt: 20,
      setupClient: (client) => client.setRequests(shareOf(requests, connection++, connections))
    }, (error, result) => {
      const { non2xx = 0, errors = 0, statusCodeStats = {} } = result ?? {}
      if (error != null || non2xx + errors > 0 || answers === 0) {
        reject(error ?? new Error(`${path}: ${answers} answers, ${non2xx} of them not 2xx, ${errors} errors: ${JSON.stringify(statusCodeStats)}`))
        return
      }
      const cpuAfter = cpuMicroseconds(server.pid)
      resolve({
        requestsPerSecond: answers / (last - first) * 1_000,
        p99Ms: percentile(latencies, 0.99),
        cpuMicroseconds: cpuBefore === undefined || cpuAfter === undefined ? undefined : (cpuAfter - cpuBefore) / answers
      })
    })
    // autocannon's own percentiles are whole milliseconds.
    instance.on('response', (_client, _status, _bytes, ms) => {
      last = performance.now()
      if (answers++ === 0) first = last - ms
      if (last - first >= settleSeconds * 1_000) latencies.push(ms)
    })
  })
}

/** The median of each figure. */
export function medianFigures (windows: Figures[]): Figures {
  return {
    requestsPerSecond: median(windows.map(({ requestsPerSecond }) => requestsPerSecond)),
    p99Ms: median(windows.map(({ p99Ms }) => p99Ms)),
    cpuMicroseconds: medianOfKnown(windows.map(({ cpuMicroseconds }) => cpuMicroseconds))
  }
}
