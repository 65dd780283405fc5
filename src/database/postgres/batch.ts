import type pg from 'pg'
import { errorCode } from '../../lib/error-code.js'
import type { Query } from '../store.js'
import { ignoreConnectionError } from './connection.js'

/**
 * Runs queries in one transaction on one connection of the pool.
 *
 * @param settings statements that set the limits of the transaction
 * @returns how many rows each query wrote
 */
export async function runBatch (pool: pg.Pool, queries: Query[], settings: string): Promise<number[]> {
  const client = await pool.connect()
  const written: number[] = []
  let isCommitted = false
  client.on('error', ignoreConnectionError)
  try {
    await client.query(`begin${settings}`)
    for (const query of queries) {
      const { sql, params } = query.toSQL()
      written.push((await client.query(sql, params)).rowCount ?? 0)
    }
    await client.query('commit')
    isCommitted = true
  } finally {
    client.off('error', ignoreConnectionError)
    // After a failure the state of the connection is unknown: closing it rolls back.
    client.release(!isCommitted)
  }
  return written
}

/** Whether a transaction was rolled back because of others, and can be retried: serialization failure, deadlock. */
function isRolledBack (error: unknown): boolean {
  return ['40001', '40P01'].some((code) => code === errorCode(error))
}

/** Retries a batch that was rolled back because of concurrent transactions. */
export async function retryWhenRolledBack<Result> (forMs: number, run: () => Promise<Result>): Promise<Result> {
  const giveUpAtMs = Date.now() + forMs
  for (;;) {
    try {
      return await run()
    } catch (error) {
      if (!isRolledBack(error) || Date.now() >= giveUpAtMs) throw error
    }
  }
}
