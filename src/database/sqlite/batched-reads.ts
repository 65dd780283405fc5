import type Database from 'better-sqlite3'

/** Reads, in whatever way, and answers when it was done. */
export type BatchedRead = <Row>(read: () => Row) => Promise<Row>

/**
 * Does what is read in one turn of the event loop at its end, in one read transaction:
 * beginning and ending one takes longer than a look-up. Whatever was committed before
 * somebody asked is seen, by whichever process it was.
 *
 * @see https://www.sqlite.org/walformat.html#locks two of the file's locks for each transaction
 */
export function batchReads (client: Database.Database): BatchedRead {
  const [begin, commit, rollback] = ['begin', 'commit', 'rollback'].map((source) => client.prepare(source))
  let reads: Array<() => void> = []

  /** Whether a transaction has begun for what is read now. Where it cannot, each read is told why by itself. */
  function share (): boolean {
    // A closed database says so to each; within a transaction of somebody else there is no other.
    if (reads.length < 2 || !client.open || client.inTransaction) return false
    try {
      begin?.run()
      return true
    } catch {
      return false
    }
  }

  function readAll (): void {
    const isShared = share()
    const asked = reads
    reads = []
    for (const read of asked) read()
    // SQLite ends it by itself where a disk fails.
    if (!isShared || !client.inTransaction) return
    try {
      commit?.run()
    } catch {
      rollback?.run()
    }
  }

  return (read) => new Promise((resolve, reject) => {
    if (reads.length === 0) setImmediate(readAll)
    reads.push(() => {
      try {
        resolve(read())
      } catch (error) {
        reject(error)
      }
    })
  })
}
