import { Agent, request, type RequestOptions } from 'node:http'

/** The outcome of a request. */
export interface Outcome {
  /** The status code; 0 without a response. */
  status: number
  /** From sending the request to the end of the response, in milliseconds. */
  ms: number
}

/** Creates a client with at most `connections` keep-alive connections. */
export function createClient (url: string, connections: number) {
  const agent = new Agent({ keepAlive: true, maxSockets: connections })
  return {
    send: (path: string, options: RequestOptions, body?: string): Promise<Outcome> => new Promise((resolve) => {
      const before = performance.now()
      const settle = (status = 0) => resolve({ status, ms: performance.now() - before })
      request(url + path, { agent, timeout: 15_000, ...options }, (response) => {
        response.resume().on('end', () => settle(response.statusCode))
      }).on('error', () => settle()).on('timeout', () => settle()).end(body)
    }),
    close: () => agent.destroy()
  }
}
