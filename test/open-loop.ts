import { setTimeout as delay } from 'node:timers/promises'

/**
 * Sends at fixed times, whatever comes back: an answer that is late holds up nobody, so
 * that a server which stands still is seen by all who would have come meanwhile. Of the
 * tests and of the benchmark.
 *
 * @returns the answers, in the order of the requests
 */
export async function openLoop<Answer> (perSecond: number, seconds: number, send: (i: number) => Promise<Answer>): Promise<Answer[]> {
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
