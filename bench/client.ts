import { Agent, request, type RequestOptions } from 'node:http'

/** How a request was answered. */
export interface Answer {
  /** 0 when there was no answer. */
  status: number
  /** From when it was sent to the end of the answer, in milliseconds. */
  ms: number
}

/** Who sends requests over at most so many connections, which are kept. */
export function clientOf (url: string, connections: number) {
  const agent = new Agent({ keepAlive: true, maxSockets: connections })
  return {
    ask: (path: string, options: RequestOptions, body?: string): Promise<Answer> => new Promise((resolve) => {
      const before = performance.now()
      const settle = (status = 0) => resolve({ status, ms: performance.now() - before })
      request(url + path, { agent, timeout: 15_000, ...options }, (response) => {
        response.resume().on('end', () => settle(response.statusCode))
      }).on('error', () => settle()).on('timeout', () => settle()).end(body)
    }),
    close: () => agent.destroy()
  }
}
