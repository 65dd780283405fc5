import { drizzle } from 'drizzle-orm/node-postgres'
import pg from 'pg'
import { unwrapDatabaseError } from '../../lib/unwrap-error.js'
import { parsePostgresUrl, printableUrl } from '../urls.js'
import { type Query, type Store, StoreError, type StoreOptions } from '../store.js'
import { hasTables, isUnicode, migrate } from './migrate.js'
import * as tables from './schema.js'

/** How much longer than the server we wait for its answer: it is the one to give up, if it can. */
const answerDelayMs = 1_000
/** A connection that nobody needed for so long is closed. */
const idleTimeoutMs = 60_000

/**
 * The modes that protect what they say they protect. `allow` and `prefer` are left out:
 * whoever can listen can also have them fall back to plain text.
 * @see https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-PROTECTION
 */
const sslModes = ['disable', 'require', 'verify-ca', 'verify-full']

/** What can stand in the URL behind the question mark. Anything else would be left out in silence, as a misspelt `sslmode` would. */
const parameters = ['sslmode', 'sslrootcert', 'sslcert', 'sslkey', 'application_name', 'host']

/** The URL as the driver needs it to read `sslmode` as PostgreSQL defines it, not as its own versions do. */
function connectionString (url: string): string {
  const parsed = parsePostgresUrl(url)
  if (parsed === undefined) throw new StoreError('this is no URL like postgres://user:password@host:port/database')
  const names = [...parsed.searchParams.keys()]
  if (!names.every((name) => parameters.includes(name)) || new Set(names).size < names.length) {
    throw new StoreError(`the URL of the database can have these parameters, each once: ${parameters.join(', ')}`)
  }
  const sslMode = parsed.searchParams.get('sslmode')
  if (sslMode === null) return url
  if (!sslModes.includes(sslMode)) throw new StoreError(`sslmode must be ${sslModes.slice(0, -1).join(', ')} or ${sslModes.at(-1)}`)
  return `${url}&uselibpqcompat=true`
}

/**
 * A connection that breaks rejects what is under way on it, and the next query that needs
 * one says that there is none. The event beside it would, unheard, end the process.
 */
const ignoreBreaking = () => {}

/** Does something on a connection of its own, and closes it. */
async function withClient (config: pg.ClientConfig, work: (client: pg.Client) => Promise<void>): Promise<void> {
  const client = new pg.Client(config)
  client.on('error', ignoreBreaking)
  try {
    await client.connect()
    await work(client)
  } finally {
    await client.end().catch(() => {})
  }
}

/** Runs queries in one transaction on one connection of the pool. */
async function runBatch (pool: pg.Pool, queries: Query[]): Promise<number[]> {
  const client = await pool.connect()
  const written: number[] = []
  let failure: Error | undefined
  client.on('error', ignoreBreaking)
  try {
    await client.query('begin')
    for (const query of queries) {
      const { sql, params } = query.toSQL()
      written.push((await client.query(sql, params)).rowCount ?? 0)
    }
    await client.query('commit')
  } catch (error) {
    failure = Object(error)
    throw error
  } finally {
    client.off('error', ignoreBreaking)
    // After a failure nobody knows in what state the connection is: closing it rolls back.
    client.release(failure)
  }
  return written
}

/** Whether a transaction was rolled back because of others, and can be tried again: serialization failure, deadlock. */
const isRolledBack = (error: unknown) => ['40001', '40P01'].includes(String(Object(error).code))

/** Tries a batch again that was rolled back because of others. */
async function retryWhenRolledBack<Result> (forMs: number, run: () => Promise<Result>): Promise<Result> {
  const giveUpAt = Date.now() + forMs
  for (;;) {
    try {
      return await run()
    } catch (error) {
      if (!isRolledBack(error) || Date.now() >= giveUpAt) throw error
    }
  }
}

/**
 * Opens (and migrates) a PostgreSQL database. The URL is libpq's: `sslmode`,
 * `sslrootcert`, `application_name` and `host` (of a Unix socket) are understood.
 *
 * @see https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS
 * @throws {StoreError} the server cannot be reached or refuses us, the database is not there or cannot be migrated
 */
export async function openPostgres (url: string, { mustExist = false, poolSize, connectTimeoutMs, statementTimeoutMs }: StoreOptions): Promise<Store> {
  const config: pg.ClientConfig = {
    connectionString: connectionString(url),
    connectionTimeoutMillis: connectTimeoutMs,
    keepAlive: true,
    fallback_application_name: 'latchkey',
    // Whatever the database or the role prefers: times are read in this one.
    options: '-c datestyle=ISO'
  }
  try {
    await withClient(config, async (client) => {
      if (!(await isUnicode(client))) throw new Error('its encoding must be UTF8')
      if (mustExist && !(await hasTables(client))) throw new Error('it has no Latchkey in it')
      await migrate(client)
    })
  } catch (error) {
    throw new StoreError(`cannot open the database ${printableUrl(url)}: ${describe(unwrapDatabaseError(error))}`, { cause: error })
  }

  const pool = new pg.Pool({
    ...config,
    max: poolSize,
    idleTimeoutMillis: idleTimeoutMs,
    statement_timeout: statementTimeoutMs,
    // A server of ours that vanishes in the middle of a batch must not keep its locks.
    idle_in_transaction_session_timeout: statementTimeoutMs,
    query_timeout: statementTimeoutMs + answerDelayMs
  })
  pool.on('error', ignoreBreaking)
  const db = drizzle(pool, { schema: tables })
  let closing: Promise<void> | undefined
  return {
    db: asPort(db),
    tables: Object(tables),
    // Under their names the server keeps them prepared, once a connection.
    prepare: (name, query) => Reflect.apply(query.prepare, query, [name]),
    prepareGet (name, columns, query) {
      const prepared = Reflect.apply(query.prepare, query, [name])
      return async (values) => {
        const [row] = await prepared.execute(values)
        return row
      }
    },
    batch: (queries, { retryBusyMs = 0 } = {}) => retryWhenRolledBack(retryBusyMs, () => runBatch(pool, queries)),
    lockUser: (userId) => [{ toSQL: () => ({ sql: 'select id from latchkey.users where id = $1 for update', params: [userId] }) }],
    async lastUserId () {
      const { rows: [row] } = await pool.query('select case when is_called then last_value else 0 end as id from latchkey.users_id_seq')
      return Number(row.id)
    },
    claimUserIds: (from) => [
      lockUserIds,
      // The role admin is always there: a second one is the conflict.
      { toSQL: () => ({ sql: "insert into latchkey.roles (name, description) select name, description from latchkey.roles where name = 'admin' and exists (select 1 from latchkey.users_id_seq where is_called and last_value >= $1)", params: [from] }) }
    ],
    skipUserIds: (upTo) => [
      lockUserIds,
      { toSQL: () => ({ sql: "select setval('latchkey.users_id_seq', $1) from latchkey.users_id_seq where $1::bigint > last_value or ($1 = last_value and not is_called)", params: [upTo] }) }
    ],
    async * snapshot (read) {
      const client = await pool.connect()
      client.on('error', ignoreBreaking)
      let failure: Error | undefined = new Error('not finished')
      try {
        await client.query('begin isolation level repeatable read read only; set local idle_in_transaction_session_timeout = 0')
        yield * read(asPort(drizzle(client, { schema: tables })))
        await client.query('commit')
        failure = undefined
      } finally {
        client.off('error', ignoreBreaking)
        client.release(failure)
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

/** Nobody gets an id while we look at the last one. */
const lockUserIds: Query = { toSQL: () => ({ sql: 'lock table latchkey.users in share row exclusive mode', params: [] }) }

/** The one cast: both dialects have the builders that queries are written with. */
function asPort (db: unknown): Store['db'] {
  return db as Store['db']
}

/** What went wrong, in one line. */
function describe (error: unknown): string {
  return String(Object(error).message).replace(/\n.*$/s, '')
}
