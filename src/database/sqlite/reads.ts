import type Database from 'better-sqlite3'

/** Reads, in whatever way, and answers when it was done. */
export type Together = <Row>(read: () => Row | PromiseLike<Row>) => Promise<Row>

/**
 * Does what is read in one turn of the event loop at its end, in one read transaction:
 * beginning and ending one takes longer than a look-up. Whatever was committed before
 * somebody asked is seen, by whichever process it was.
 *
 * @see https://www.sqlite.org/walformat.html#locks two of the file's locks for each transaction
 */
export function readsTogether (client: Database.Database): Together {
  const [begin, commit] = [client.prepare('begin'), client.prepare('commit')]
  let reads: Array<() => void> = []

  function readAll (): void {
    const asked = reads
    reads = []
    // A closed database says so to each of them.
    const isShared = asked.length > 1 && client.open
    if (isShared) begin.run()
    for (const read of asked) read()
    if (isShared) commit.run()
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
