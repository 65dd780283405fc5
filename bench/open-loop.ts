import { Agent, request, type RequestOptions } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'

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

/**
 * Sends at fixed times, whatever comes back: an answer that is late holds up nobody, so
 * that a server which stands still is seen by all who would have come meanwhile.
 *
 * @returns the answers, in the order of the requests
 */
export async function openLoop (perSecond: number, seconds: number, send: (i: number) => Promise<Answer>): Promise<Answer[]> {
  const answers: Array<Promise<Answer>> = []
  const begin = performance.now()
  const total = Math.round(perSecond * seconds)
  while (answers.length < total) {
    const due = Math.min(total, (performance.now() - begin) / 1_000 * perSecond)
    while (answers.length < due) answers.push(send(answers.length))
    await delay(1)
  }
  return await Promise.all(answers)
}
