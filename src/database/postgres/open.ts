import { sql } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/node-postgres'
import pg from 'pg'
import { errorMessage } from '../../lib/error-code.js'
import { unwrapDatabaseError } from '../../lib/unwrap-error.js'
import type { Store, StoreOptions } from '../store.js'
import { StoreError } from '../store-error.js'
import { printableUrl } from '../urls.js'
import { retryWhenRolledBack, runBatch } from './batch.js'
import { connectionConfig, ignoreConnectionError, withClient } from './connection.js'
import { hasTables, isUnicode, migrate } from './migrate.js'
import { prepareGet } from './prepared-get.js'
import * as tables from './schema.js'
import { claimUserIds, lastUserId, skipUserIds } from './user-ids.js'

/** How much longer than `statementTimeoutMs` we wait for an answer, in milliseconds: the server should be the one to give up. */
const answerDelayMs = 1_000
/** After how long an idle connection is closed, in milliseconds. */
const idleTimeoutMs = 60_000

/** A query builder on connections. */
function queryBuilder (client: pg.Pool | pg.PoolClient): Store['db'] {
  // Both dialects have the builders that queries are written with, and run them asynchronously.
  return drizzle(client, { schema: tables }) as unknown as Store['db']
}

/** The store on a pool. */
function createStore (pool: pg.Pool): Store {
  const db = queryBuilder(pool)
  let closing: Promise<void> | undefined
  return {
    db,
    // Nothing to gain: a durable write does not block our event loop, and the server syncs those of many clients at once.
    relaxed: db,
    // The same tables and columns as in SQLite's schema, which a test compares with this one.
    tables: tables as unknown as Store['tables'],
    // The server keeps queries prepared under their names, for each connection.
    prepare: (name, query) => query.prepare(name),
    prepareGet: (name, columns, query, parameters) => prepareGet(pool, name, columns, query, parameters),
    batch: (queries, { retryBusyMs = 0 } = {}) => retryWhenRolledBack(retryBusyMs, () => runBatch(pool, queries)),
    shareLock: sql` for share`,
    newUserId: sql`nextval('latchkey.users_id_seq')`,
    lockUser: (userId) => [{ toSQL: () => ({ sql: 'select id from latchkey.users where id = $1 for update', params: [userId] }) }],
    lastUserId: () => lastUserId(pool),
    claimUserIds,
    skipUserIds,
    async * snapshot (read) {
      const client = await pool.connect()
      client.on('error', ignoreConnectionError)
      let isCommitted = false
      try {
        await client.query('begin isolation level repeatable read read only; set local idle_in_transaction_session_timeout = 0')
        yield * read(queryBuilder(client))
        await client.query('commit')
        isCommitted = true
      } finally {
        client.off('error', ignoreConnectionError)
        client.release(!isCommitted)
      }
    },
    isNearlyFull: () => false,
    ping: async () => { await pool.query('select 1') },
    async close () {
      closing ??= pool.end()
      await closing
    }
  }
}

/**
 * Opens a PostgreSQL database, and migrates it where needed.
 *
 * @param url one in which `databaseUrlProblem` finds no problem
 * @throws {StoreError} the server cannot be reached or refuses us, the database does not exist or cannot be migrated
 */
export async function openPostgres (url: string, { mustExist = false, poolSize, connectTimeoutMs, statementTimeoutMs }: StoreOptions): Promise<Store> {
  const config = connectionConfig(url, { connectTimeoutMs })
  try {
    await withClient(config, async (client) => {
      if (!(await isUnicode(client))) throw new Error('its encoding must be UTF8')
      if (mustExist && !(await hasTables(client))) throw new Error('it has no Latchkey in it')
      await migrate(client)
    })
  } catch (error) {
    const [firstLine] = errorMessage(unwrapDatabaseError(error)).split('\n')
    throw new StoreError(`cannot open the database ${printableUrl(url)}: ${firstLine}`, { cause: error })
  }

  const pool = new pg.Pool({
    ...config,
    max: poolSize,
    idleTimeoutMillis: idleTimeoutMs,
    statement_timeout: statementTimeoutMs,
    // A server of ours that disappears in the middle of a batch must not keep its locks.
    idle_in_transaction_session_timeout: statementTimeoutMs,
    query_timeout: statementTimeoutMs + answerDelayMs
  })
  pool.on('error', ignoreConnectionError)
  return createStore(pool)
}
