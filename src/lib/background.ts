import { setImmediate as nextTurn } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import { unwrapDatabaseError } from './unwrap-error.js'

/** A task that no client waits for, and whose failure no client learns of. */
export interface BackgroundTask {
  work: () => Promise<void>
  /** The log message for the operator when it fails. */
  failure: string
}

/** Makes a task never reject: its failure is logged. */
export function bestEffort (app: FastifyInstance, { work, failure }: BackgroundTask): () => Promise<void> {
  return async () => {
    try {
      await work()
    } catch (error) {
      app.log.error({ err: unwrapDatabaseError(error) }, failure)
    }
  }
}

/** How often rows that are no longer needed are deleted, in milliseconds. */
const cleanupIntervalMs = 3_600_000
/** How many rows one statement deletes: no request must wait for a backlog. */
export const rowsPerCleanup = 1_000

/** Deletes rows that are no longer needed. */
export interface CleanupTask {
  /** Deletes at most `rowsPerCleanup` rows and returns how many; with fewer nothing is left to delete. */
  deleteBatch: () => Promise<number>
  /** Whether rows can be deleted now: asked before each batch. */
  isAllowed: () => Promise<boolean>
  /** The log message for the operator when it fails. */
  failure: string
}

/**
 * Deletes rows that are no longer needed, when the app starts and every hour, in batches between
 * which requests are served.
 *
 * @returns does it now
 */
export function scheduleCleanup (app: FastifyInstance, { deleteBatch, isAllowed, failure }: CleanupTask): () => Promise<void> {
  let isClosed = false
  let isRunning = false

  /** Whether there may be more. */
  async function runBatch (): Promise<boolean> {
    try {
      return !isClosed && await isAllowed() && await deleteBatch() >= rowsPerCleanup
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

  // The start does not wait for a backlog.
  app.addHook('onReady', async () => { if (await runBatch()) cleanUp() })
  const timer = setInterval(cleanUp, cleanupIntervalMs).unref()
  app.addHook('onClose', async () => {
    isClosed = true
    clearInterval(timer)
  })
  return cleanUp
}
