import type Database from 'better-sqlite3'

/** Runs a read, soon, and answers with its result. */
export type BatchedRead = <Row>(read: () => Row) => Promise<Row>

/**
 * Batches reads: those of one turn of the event loop are run at its end, in one read transaction.
 * To begin and end a transaction takes longer than to look up a row. A read sees whatever any
 * process had committed before it was asked for.
 *
 * @see https://www.sqlite.org/walformat.html#locks two file locks for each transaction
 */
export function batchReads (client: Database.Database): BatchedRead {
  const [begin, commit, rollback] = ['begin', 'commit', 'rollback'].map((source) => client.prepare(source))
  let reads: Array<() => void> = []

  /** Begins a transaction for the reads. False where there is none: then each read has its own, or learns why it fails. */
  function beginShared (): boolean {
    // A closed database tells each read so; inside a transaction no other can begin.
    if (reads.length < 2 || !client.open || client.inTransaction) return false
    try {
      begin?.run()
      return true
    } catch {
      return false
    }
  }

  function runAll (): void {
    const isShared = beginShared()
    const batch = reads
    reads = []
    for (const read of batch) read()
    // SQLite ends it by itself where a disk fails.
    if (!isShared || !client.inTransaction) return
    try {
      commit?.run()
    } catch {
      rollback?.run()
    }
  }

  return (read) => new Promise((resolve, reject) => {
    if (reads.length === 0) setImmediate(runAll)
    reads.push(() => {
      try {
        resolve(read())
      } catch (error) {
        reject(error)
      }
    })
  })
}
