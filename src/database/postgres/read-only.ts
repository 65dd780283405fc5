import type pg from 'pg'
import { unwrapDatabaseError } from '../../lib/unwrap-error.js'
import type { StoreOptions } from '../store.js'
import { connectionConfig, ignoreConnectionError } from './connection.js'

/** How long the server may take for one query, in milliseconds. */
const answerTimeoutMs = 4_000

/**
 * Connects to a database for one transaction in which nothing can be written.
 *
 * @param url one in which `databaseUrlProblem` finds no problem
 * @throws {Error} the driver's own
 */
export async function connectReadOnly (url: string, options: Pick<StoreOptions, 'connectTimeoutMs' | 'preparesStatements'>): Promise<pg.Client> {
  const { Client, ...config } = connectionConfig(url, options)
  const client = new Client({ ...config, query_timeout: answerTimeoutMs })
  client.on('error', ignoreConnectionError)
  try {
    await client.connect()
    await client.query(`begin read only; set local statement_timeout = ${answerTimeoutMs}; set local idle_in_transaction_session_timeout = 0`)
    return client
  } catch (error) {
    await client.end().catch(() => {})
    throw unwrapDatabaseError(error)
  }
}

/** Runs queries of which one may fail: the transaction goes on after it. */
export async function withSavepoint<Result> (client: pg.Client, work: () => Promise<Result>): Promise<Result> {
  await client.query('savepoint work')
  try {
    return await work()
  } finally {
    await client.query('rollback to savepoint work')
  }
}
