import { sql } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/node-postgres'
import type pg from 'pg'
import { errorMessage } from '../../lib/error-code.js'
import { unwrapDatabaseError } from '../../lib/unwrap-error.js'
import type { Store, StoreOptions } from '../store.js'
import { StoreError } from '../store-error.js'
import { printableUrl } from '../urls.js'
import { retryWhenRolledBack, runBatch } from './batch.js'
import { connectionConfig, ignoreConnectionError, withClient } from './connection.js'
import { hasIsoTimes, hasTables, isUnicode, migrate } from './migrate.js'
import { createPool } from './pool.js'
import { prepareGet } from './prepared-get.js'
import * as tables from './schema.js'
import { claimUserIds, lastUserId, skipUserIds } from './user-ids.js'

/** A query builder on connections. */
export function queryBuilder (client: pg.Pool | pg.PoolClient | pg.Client): Store['db'] {
  // Both dialects have the builders that queries are written with, and run them asynchronously.
  return drizzle(client, { schema: tables }) as unknown as Store['db']
}

/** What a store on a pool needs to know of its connections. */
interface Transactions {
  /** See `StoreOptions`. */
  preparesStatements: boolean
  /** Statements that set the limits of a transaction; empty where connections have them. */
  limits: string
}

/** The store on a pool. */
function createStore (pool: pg.Pool, { preparesStatements, limits }: Transactions): Store {
  const db = queryBuilder(pool)
  // The server keeps queries prepared under their names, for each connection. Without a name it does not.
  const nameOf = (name: string) => preparesStatements ? name : ''
  let closing: Promise<void> | undefined
  return {
    db,
    // Nothing to gain: a durable write does not block our event loop, and the server syncs those of many clients at once.
    relaxed: db,
    // The same tables and columns as in SQLite's schema, which a test compares with this one.
    tables: tables as unknown as Store['tables'],
    prepare: (name, query) => query.prepare(nameOf(name)),
    prepareGet: (name, columns, query, parameters) => prepareGet(pool, nameOf(name), columns, query, parameters),
    batch: (queries, { retryBusyMs = 0 } = {}) => retryWhenRolledBack(retryBusyMs, () => runBatch(pool, queries, limits)),
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
        await client.query(`begin isolation level repeatable read read only${limits}; set local idle_in_transaction_session_timeout = 0`)
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

/** Why the database cannot be opened, in one line. */
export function explain (error: unknown): string {
  const [firstLine = ''] = errorMessage(unwrapDatabaseError(error)).split('\n')
  return firstLine.includes('startup parameter') ? `${firstLine}: a pooler needs DATABASE_PREPARE=off` : firstLine
}

/**
 * Opens a PostgreSQL database, and migrates it where needed.
 *
 * @param url one in which `databaseUrlProblem` finds no problem
 * @throws {StoreError} the server cannot be reached or refuses us, the database does not exist or cannot be migrated
 */
export async function openPostgres (url: string, options: StoreOptions): Promise<Store> {
  const { mustExist = false, preparesStatements = true, statementTimeoutMs } = options
  const config = connectionConfig(url, options)
  try {
    await withClient(config, async (client) => {
      if (!(await isUnicode(client))) throw new Error('its encoding must be UTF8')
      if (!(await hasIsoTimes(client))) throw new Error("its DateStyle must be ISO: alter the database, or the role, with set datestyle = 'ISO'")
      if (mustExist && !(await hasTables(client))) throw new Error('it has no Latchkey in it')
      await migrate(client)
    })
  } catch (error) {
    throw new StoreError(`cannot open the database ${printableUrl(url)}: ${explain(error)}`, { cause: error })
  }
  const limits = preparesStatements ? '' : `; set local statement_timeout = ${statementTimeoutMs}; set local idle_in_transaction_session_timeout = ${statementTimeoutMs}`
  return createStore(createPool(config, options), { preparesStatements, limits })
}
