import { setImmediate as nextTurn, setTimeout as delay } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import { unwrapDatabaseError } from './unwrap-error.js'

/** How long until the next try after a failure, in milliseconds. */
const retryDelayMs = 1_000
/** How long the last try may take, in milliseconds. */
const closeDeadlineMs = 2_000

/** How rows are written. */
export interface WriteOptions<Row> {
  /** Writes rows with one statement, all of them or none. */
  write: (rows: Row[]) => Promise<unknown>
  /** How long rows are collected before they are written, in milliseconds; 200 by default. */
  delayMs?: number
  /** The most rows that `write` gets at once; 500 by default. */
  rowsPerBatch?: number
  /** The most rows that wait for a database that fails; further ones are dropped. 10,000 by default. */
  maxWaiting?: number
}

/** Why a row was dropped. */
export type DropReason = 'full' | 'closed'

/** The options of a batch writer. */
export interface BatchWriterOptions<Row> extends WriteOptions<Row> {
  /** Called when a write fails; not again before one has succeeded. */
  onFailure: (error: unknown) => void
  /** Called when a row is dropped; not again before a write has succeeded. */
  onDrop: (reason: DropReason) => void
}

/** A queue of rows that are written in batches. */
export interface BatchWriter<Row> {
  /** Adds a row to the queue; false when it was dropped. */
  add: (row: Row) => boolean
  /** Writes all rows now. Rejects when that fails; the rows stay in the queue, and are retried. */
  flush: () => Promise<void>
  /** Writes all rows for the last time. Rejects when that fails, or takes longer than 2 seconds. */
  close: () => Promise<void>
  /** How many rows wait, and how many were dropped so far. */
  counts: () => { waiting: number, dropped: number }
}

/** Writes rows a moment later, many at once, so that no request waits for the write. */
export function batchWriter<Row> ({ write, delayMs = 200, rowsPerBatch = 500, maxWaiting = 10_000, onFailure, onDrop }: BatchWriterOptions<Row>): BatchWriter<Row> {
  const waiting: Row[] = []
  let dropped = 0
  let isFailing = false
  let isDropping = false
  let isClosed = false
  let timer: NodeJS.Timeout | undefined
  let writing: Promise<void> = Promise.resolve()

  async function writeAll (): Promise<void> {
    while (waiting.length > 0) {
      const rows = waiting.slice(0, rowsPerBatch)
      await write(rows)
      waiting.splice(0, rows.length)
      isFailing = isDropping = false
      // Requests are served between two batches, and timers fire, such as that of the shutdown.
      await nextTurn()
    }
  }

  /** One at a time: two would write the same rows. */
  function flush (): Promise<void> {
    writing = writing.catch(() => {}).then(writeAll)
    return writing
  }

  function scheduleFlush (ms: number): void {
    if (isClosed) return
    timer ??= setTimeout(async () => {
      timer = undefined
      try {
        await flush()
      } catch (error) {
        if (!isFailing) onFailure(error)
        isFailing = true
        scheduleFlush(retryDelayMs)
      }
    }, ms).unref()
  }

  function drop (reason: DropReason): false {
    dropped++
    if (!isDropping) onDrop(reason)
    isDropping = true
    return false
  }

  return {
    add (row) {
      if (isClosed) return drop('closed')
      if (waiting.length >= maxWaiting) return drop('full')
      waiting.push(row)
      scheduleFlush(delayMs)
      return true
    },
    flush,
    async close () {
      isClosed = true
      clearTimeout(timer)
      const isLate = delay(closeDeadlineMs, true, { ref: false })
      if (await Promise.race([flush(), isLate]) === true) throw new Error('the last write took too long')
    },
    counts: () => ({ waiting: waiting.length, dropped })
  }
}

/**
 * A batch writer of an app: it is closed with the app, and its problems are logged.
 *
 * @param options.rows what the rows are, as the start of a log message: `Audit events`
 */
export function scheduleWrites<Row> (app: FastifyInstance, { rows, ...options }: WriteOptions<Row> & { rows: string }): Omit<BatchWriter<Row>, 'close'> {
  const { close, ...writer } = batchWriter({
    ...options,
    onFailure: (error) => app.log.error({ err: unwrapDatabaseError(error) }, `${rows} cannot be written now; they are retried.`),
    onDrop: (reason) => app.log.error(`${rows} dropped: the queue is ${reason}.`)
  })
  app.addHook('onClose', async () => {
    try {
      await close()
    } catch (error) {
      app.log.error({ err: unwrapDatabaseError(error), count: writer.counts().waiting }, `${rows} lost: they could not be written before the shutdown.`)
    }
  })
  return writer
}
