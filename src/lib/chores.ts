import type { FastifyInstance } from 'fastify'
import { causeOf } from './causes.js'

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
 * Removes what is no longer needed, when the server starts and every hour.
 *
 * @param chore.deleteSome removes some rows and says how many; fewer than `rowsPerSweep` are the last
 */
export function sweep (app: FastifyInstance, { deleteSome, failure }: { deleteSome: () => Promise<number>, failure: string }): void {
  const sweepAll = beside(app, {
    async work () {
      while (await deleteSome() >= rowsPerSweep);
    },
    failure
  })
  app.addHook('onReady', sweepAll)
  const timer = setInterval(sweepAll, sweepIntervalMs).unref()
  app.addHook('onClose', async () => { clearInterval(timer) })
}
