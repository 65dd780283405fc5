import { setImmediate as nextTurn } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import { unwrapDatabaseError } from './unwrap-error.js'

/** Work beside the requests. */
export interface BackgroundTask {
  work: () => Promise<void>
  /** What is logged when it fails: news for the operator, and for nobody else. */
  failure: string
}

/** The work, which then never fails. */
export function bestEffort (app: FastifyInstance, { work, failure }: BackgroundTask): () => Promise<void> {
  return async () => {
    try {
      await work()
    } catch (error) {
      app.log.error({ err: unwrapDatabaseError(error) }, failure)
    }
  }
}

/** How often rows whose time has passed are removed. */
const cleanupIntervalMs = 3_600_000
/** How many rows one statement removes: a backlog must not hold everybody up. */
export const rowsPerCleanup = 1_000

/**
 * Removes what is no longer needed, when the server starts and every hour: some at a time,
 * and between two times everybody else has a turn.
 *
 * @param chore.deleteSome removes some rows and says how many; fewer than `rowsPerSweep` are the last
 * @returns does it now
 */
export function scheduleCleanup (app: FastifyInstance, { deleteBatch, failure }: { deleteBatch: () => Promise<number>, failure: string }): () => Promise<void> {
  let isClosed = false
  let isRunning = false

  /** Whether there is more. */
  async function runBatch (): Promise<boolean> {
    try {
      return !isClosed && await deleteBatch() >= rowsPerCleanup
    } catch (error) {
      app.log.error({ err: unwrapDatabaseError(error) }, failure)
      return false
    }
  }

  async function cleanUp (): Promise<void> {
    if (isRunning) return
    isRunning = true
    while (await runBatch()) await nextTurn()
    isRunning = false
  }

  // A backlog holds no start up.
  app.addHook('onReady', async () => { if (await runBatch()) cleanUp() })
  const timer = setInterval(cleanUp, cleanupIntervalMs).unref()
  app.addHook('onClose', async () => {
    isClosed = true
    clearInterval(timer)
  })
  return cleanUp
}
