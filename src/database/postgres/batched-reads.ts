/**
 * The most reads in one statement: it takes the server a millisecond or two. More than these use
 * several connections, and one failure reaches no more requests.
 */
export const maxBatchSize = 100

/** A read that was asked for. */
interface Read<Row> {
  key: unknown[]
  resolve: (row: Row | undefined) => void
  reject: (error: unknown) => void
}

/**
 * Batches reads of rows by their keys: those of one turn of the event loop are run at its end, at
 * most `maxBatchSize` at a time. To send a statement and to receive its result takes longer than to
 * look up a row. A read sees whatever was committed before it was asked for. Reads of a batch that
 * fails reject with its error.
 *
 * @param run reads the rows of a batch, in the order of their keys; `undefined` where there is no row
 * @returns reads the row of a key
 */
export function batchReads<Row> (run: (keys: unknown[][]) => Promise<Array<Row | undefined>>): (key: unknown[]) => Promise<Row | undefined> {
  let reads: Array<Read<Row>> = []

  async function runBatch (batch: Array<Read<Row>>): Promise<void> {
    try {
      const rows = await run(batch.map(({ key }) => key))
      for (const [i, { resolve }] of batch.entries()) resolve(rows[i])
    } catch (error) {
      for (const { reject } of batch) reject(error)
    }
  }

  async function runAll (): Promise<void> {
    const asked = reads
    reads = []
    const batches = Array.from({ length: Math.ceil(asked.length / maxBatchSize) }, (_, i) => asked.slice(i * maxBatchSize, (i + 1) * maxBatchSize))
    await Promise.all(batches.map(runBatch))
  }

  return (key) => new Promise((resolve, reject) => {
    if (reads.length === 0) setImmediate(runAll)
    reads.push({ key, resolve, reject })
  })
}
