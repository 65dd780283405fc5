import { setImmediate as nextTurn } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import { causeOf } from '../database/unwrap-error.js'

/** Work beside the requests. */
export interface Chore {
  work: () => Promise<void>
  /** What is logged when it fails: news for the operator, and for nobody else. */
  failure: string
}

/** The work, which then never fails. */
export function beside (app: FastifyInstance, { work, failure }: Chore): () => Promise<void> {
  return async () => {
    try {
      await work()
    } catch (error) {
      app.log.error({ err: causeOf(error) }, failure)
    }
  }
}

/** How often rows whose time has passed are removed. */
const sweepIntervalMs = 3_600_000
/** How many rows one statement removes: a backlog must not hold everybody up. */
export const rowsPerSweep = 1_000

/**
 * Removes what is no longer needed, when the server starts and every hour: some at a time,
 * and between two times everybody else has a turn.
 *
 * @param chore.deleteSome removes some rows and says how many; fewer than `rowsPerSweep` are the last
 * @returns does it now
 */
export function sweep (app: FastifyInstance, { deleteSome, failure }: { deleteSome: () => Promise<number>, failure: string }): () => Promise<void> {
  let isOver = false
  let isUnderWay = false

  /** Whether there is more. */
  async function round (): Promise<boolean> {
    try {
      return !isOver && await deleteSome() >= rowsPerSweep
    } catch (error) {
      app.log.error({ err: causeOf(error) }, failure)
      return false
    }
  }

  async function sweepAll (): Promise<void> {
    if (isUnderWay) return
    isUnderWay = true
    while (await round()) await nextTurn()
    isUnderWay = false
  }

  // A backlog holds no start up.
  app.addHook('onReady', async () => { if (await round()) sweepAll() })
  const timer = setInterval(sweepAll, sweepIntervalMs).unref()
  app.addHook('onClose', async () => {
    isOver = true
    clearInterval(timer)
  })
  return sweepAll
}
