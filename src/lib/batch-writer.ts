import { setTimeout as delay } from 'node:timers/promises'

/** How long rows are collected before one statement writes them all. */
const delayMs = 200
/** How long until another try when they could not be written. */
const retryDelayMs = 1_000
/** How long the last try may take. */
const closeDeadlineMs = 2_000
/** How many rows one statement writes. */
const rowsPerStatement = 500
/** How many rows wait for a database that does not take them; the next ones are lost. */
const waitingMax = 10_000

/** What a queue is told. */
export interface BatchWriterOptions<Row> {
  write: (rows: Row[]) => Promise<unknown>
  /** Called once when rows cannot be written, not again before some could. */
  onFailure: (error: unknown) => void
  /** Called once when rows are lost because too many wait, or come after the end; not again before some could be written. */
  onDrop: () => void
}

/** Rows that are written soon, many at once, so that nobody has to wait for it. */
export function batchWriter<Row> ({ write, onFailure, onDrop }: BatchWriterOptions<Row>) {
  const waiting: Row[] = []
  let dropped = 0
  let isFailing = false
  let isDropping = false
  let isClosed = false
  let timer: NodeJS.Timeout | undefined
  let writing: Promise<void> = Promise.resolve()

  async function writeAll (): Promise<void> {
    while (waiting.length > 0) {
      const rows = waiting.slice(0, rowsPerStatement)
      await write(rows)
      waiting.splice(0, rows.length)
      isFailing = isDropping = false
    }
  }

  /** One after the other, or two would write the same. */
  function flush (): Promise<void> {
    writing = writing.catch(() => {}).then(writeAll)
    return writing
  }

  function writeIn (ms: number): void {
    if (isClosed) return
    timer ??= setTimeout(async () => {
      timer = undefined
      try {
        await flush()
      } catch (error) {
        if (!isFailing) onFailure(error)
        isFailing = true
        writeIn(retryDelayMs)
      }
    }, ms).unref()
  }

  return {
    add (row: Row): void {
      if (isClosed || waiting.length >= waitingMax) {
        dropped++
        if (!isDropping) onDrop()
        isDropping = true
        return
      }
      waiting.push(row)
      writeIn(delayMs)
    },
    /** Writes now. Rejects when it cannot; the rows are kept then. */
    flush,
    /** Tries for the last time, for a while; rejects when it cannot. */
    async close (): Promise<void> {
      isClosed = true
      clearTimeout(timer)
      const isLate = delay(closeDeadlineMs, true, { ref: false })
      if (await Promise.race([flush(), isLate]) === true) throw new Error('it took too long')
    },
    /** How many wait, and how many were lost because too many waited. */
    counts: () => ({ waiting: waiting.length, dropped })
  }
}
