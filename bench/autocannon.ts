import autocannon, { type Request } from 'autocannon'
import type { Load, Measured } from './load.js'
import { percentile } from './statistics.js'

/** How long the first answer may take, with the preparation of thousands of requests. */
const firstAnswerSeconds = 10

function shareOf (requests: Request[], connection: number, connections: number): Request[] {
  const share = requests.length < connections
    ? requests.slice(connection % requests.length).slice(0, 1)
    : requests.filter((_, i) => i % connections === connection)
  // Copied, because autocannon stores the bytes of a request in it.
  return share.map((request) => ({ ...request }))
}

/**
 * Puts a load on a server with autocannon, at a fixed rate if the load has one. Each connection
 * repeats its share of the requests; with fewer requests than connections, each has one.
 *
 * @throws {Error} a response was not 2xx, or did not arrive
 */
export function runAutocannon ({ server, path, connections, requests, perSecond, settleSeconds = 0 }: Load, seconds: number): Promise<Measured> {
  return new Promise((resolve, reject) => {
    const latencies: number[] = []
    let answers = 0
    let connection = 0
    // The time before the first request does not count: preparing thousands of requests takes long.
    let first = 0
    let last = 0
    const instance = autocannon({
      url: server.url + path,
      connections,
      duration: seconds + firstAnswerSeconds,
      overallRate: perSecond,
      // autocannon stops only when it takes a sample.
      sampleInt: 20,
      setupClient: (client) => client.setRequests(shareOf(requests, connection++, connections))
    }, (error, result) => {
      const { non2xx = 0, errors = 0, statusCodeStats = {} } = result ?? {}
      if (error != null || non2xx + errors > 0) {
        reject(error ?? new Error(`${path}: ${answers} answers, ${non2xx} of them not 2xx, ${errors} errors: ${JSON.stringify(statusCodeStats)}`))
        return
      }
      resolve({ answers, requestsPerSecond: answers / (last - first) * 1_000, p99Ms: percentile(latencies, 0.99) })
    })
    // autocannon's own percentiles are whole milliseconds.
    instance.on('response', (_client, _status, _bytes, ms) => {
      last = performance.now()
      if (answers++ === 0) {
        first = last - ms
        setTimeout(() => instance.stop(), seconds * 1_000)
      }
      if (last - first >= settleSeconds * 1_000) latencies.push(ms)
    })
  })
}
