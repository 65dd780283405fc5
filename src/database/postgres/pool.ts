import pg from 'pg'
import { isStatementLost } from '../errors.js'
import type { StoreOptions } from '../store.js'
import { type ConnectionConfig, ignoreConnectionError } from './connection.js'

/** How much longer than `statementTimeoutMs` we wait for an answer, in milliseconds: the server should be the one to give up. */
const answerDelayMs = 1_000
/** After how long an idle connection is closed, in milliseconds. */
const idleTimeoutMs = 60_000

/** Calls `onStatementLost` at the first prepared statement that a pooler has lost. */
function watchStatements (pool: pg.Pool, onStatementLost: StoreOptions['onStatementLost']): void {
  let isLost = false
  pool.on('connect', ({ connection }) => {
    connection.on('errorMessage', ({ code }: { code?: string }) => {
      if (isLost || !isStatementLost(code)) return
      isLost = true
      onStatementLost?.()
    })
  })
}

/**
 * Creates a pool of connections. They have time limits of their own, unless a pooler may give each
 * transaction another connection to the server: then transactions set theirs themselves, and the
 * role should have one for single statements.
 */
export function createPool (config: ConnectionConfig, { poolSize, statementTimeoutMs, preparesStatements = true, onStatementLost }: StoreOptions): pg.Pool {
  const pool = new pg.Pool({
    ...config,
    max: poolSize,
    idleTimeoutMillis: idleTimeoutMs,
    ...preparesStatements && {
      statement_timeout: statementTimeoutMs,
      // A server of ours that disappears in the middle of a batch must not keep its locks.
      idle_in_transaction_session_timeout: statementTimeoutMs
    },
    query_timeout: statementTimeoutMs + answerDelayMs
  })
  pool.on('error', ignoreConnectionError)
  watchStatements(pool, onStatementLost)
  return pool
}
