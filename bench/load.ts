import autocannon, { type Request } from 'autocannon'
import { cpuMicroseconds, type ServerProcess } from './processes.js'
import { median, medianOfKnown, percentile } from './statistics.js'

/** A load: each connection sends its next request when the last one is answered (closed loop). */
export interface Load {
  server: ServerProcess
  path: string
  connections: number
  /** Divided among the connections; each repeats its share. With fewer requests than connections, each has one. */
  requests: Request[]
  /** The most requests per second of all connections together: each sends its share, then waits for the next second. */
  perSecond?: number
  /** Response times during the first seconds do not count. */
  settleSeconds?: number
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

function shareOf (requests: Request[], connection: number, connections: number): Request[] {
  const share = requests.length < connections
    ? requests.slice(connection % requests.length).slice(0, 1)
    : requests.filter((_, i) => i % connections === connection)
  // Copied, because autocannon stores the bytes of a request in it.
  return share.map((request) => ({ ...request }))
}

/**
 * Puts a load on a server for some seconds, and measures it.
 *
 * @throws {Error} a response was not 2xx, or there was none
 */
export function measureLoad ({ server, path, connections, requests, perSecond, settleSeconds = 0 }: Load, seconds: number): Promise<Figures> {
  return new Promise((resolve, reject) => {
    const latencies: number[] = []
    let answers = 0
    let connection = 0
    // The time before the first request does not count: preparing thousands of requests takes long.
    let first = 0
    let last = 0
    const cpuBefore = cpuMicroseconds(server.pid)
    const instance = autocannon({
      url: server.url + path,
      connections,
      duration: seconds,
      overallRate: perSecond,
      // autocannon stops only when it takes a sample.
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
