import { chmodSync, copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import Database from 'better-sqlite3'
import pg from 'pg'
import { temporaryFolder } from './cleanup.js'
import { createdAtMs, passwordHash, secretKey, signToken, type TokenRow, tokenTtlSeconds } from './fixtures.js'
import { runProgram, type ServerProcess, startServer } from './processes.js'

/** A Latchkey database with the users 1, 2, 3 …, each with one active token. */
export interface SeededDatabase {
  name: string
  url: string
  /** At most `count` tokens, of users spread evenly over all users. */
  tokens: (count: number) => Promise<string[]>
}

/** How many rows are inserted before the process can handle a signal. */
const batchSize = 20_000
const expiresAtMs = createdAtMs + tokenTtlSeconds * 1_000

const migrate = (url: string) => runProgram('dist/cli.cjs', ['migrate'], { DATABASE_URL: url, SECRET_KEY: secretKey })

/** A SQL expression for a random UUID (RFC 9562, section 5.4). */
const uuid = "lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-8' || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))"

const stepOf = (users: number, count: number) => Math.max(1, Math.floor(users / count))

/** The path of a seeded SQLite database. */
export const databaseFileOf = (url: string) => url.replace('sqlite:///', '')

/** Creates a SQLite database with fixtures, in WAL mode and checkpointed. */
export async function seedSqlite (users: number): Promise<SeededDatabase> {
  const file = join(temporaryFolder(), 'latchkey.sqlite')
  const url = `sqlite:///${file}`
  await migrate(url)
  const client = new Database(file)
  client.pragma('synchronous = OFF')
  client.pragma('cache_size = -262144')
  // better-sqlite3 binds numbers as REAL: without the cast, usernames would end in `.0`.
  const addUsers = client.prepare(`with recursive n (id) as (select cast(@first as integer) union all select id + 1 from n where id < @last)
    insert into users (id, username, username_key, password_hash, created_at, updated_at)
    select id, 'user' || id, 'user' || id, @passwordHash, @createdAtMs, @createdAtMs from n`)
  const addTokens = client.prepare(`insert into tokens (id, user_id, kind, description, created_at, expires_at)
    select ${uuid}, id, 'login', 'autocannon', @createdAtMs, @expiresAtMs from users where id between @first and @last`)
  for (let first = 1; first <= users; first += batchSize) {
    const last = Math.min(users, first + batchSize - 1)
    client.transaction(() => {
      addUsers.run({ first, last, passwordHash, createdAtMs })
      addTokens.run({ first, last, createdAtMs, expiresAtMs })
    })()
    await setImmediate()
  }
  client.pragma('wal_checkpoint(TRUNCATE)')
  client.close()
  return {
    name: 'SQLite',
    url,
    async tokens (count) {
      const client = new Database(file, { readonly: true })
      const rows = client.prepare<[number, number], TokenRow>('select id, user_id as userId from tokens where (user_id - 1) % ? = 0 order by user_id limit ?').all(stepOf(users, count), count)
      client.close()
      return rows.map(signToken)
    }
  }
}

/** Copies the database, so that another server can use and change it. */
export function copySqlite ({ url }: SeededDatabase): string {
  const copy = join(temporaryFolder(), 'users.sqlite')
  copyFileSync(databaseFileOf(url), copy)
  chmodSync(copy, 0o600)
  return copy
}

/** Creates the same fixtures in an empty PostgreSQL database. */
export async function seedPostgres (url: string, users: number): Promise<SeededDatabase> {
  await migrate(url)
  const query = async (sql: string, values: unknown[]) => {
    const client = new pg.Client({ connectionString: url })
    await client.connect()
    try {
      return await client.query<TokenRow>(sql, values)
    } finally {
      await client.end()
    }
  }
  await query(`insert into latchkey.users (username, username_key, password_hash, created_at, updated_at)
    select 'user' || id, 'user' || id, $1, $2, $2 from generate_series(1, $3::int) as id order by id`, [passwordHash, new Date(createdAtMs), users])
  await query(`insert into latchkey.tokens (id, user_id, kind, description, created_at, expires_at)
    select gen_random_uuid(), id, 'login', 'autocannon', $1, $2 from latchkey.users`, [new Date(createdAtMs), new Date(expiresAtMs)])
  await query('analyze', [])
  return {
    name: 'PostgreSQL',
    url,
    async tokens (count) {
      const { rows } = await query('select id, user_id::int as "userId" from latchkey.tokens where (user_id - 1) % $1 = 0 order by user_id limit $2', [stepOf(users, count), count])
      return rows.map(signToken)
    }
  }
}

/** Settings for a server to which one address sends all logins. */
export const unlimitedLogins = { LOGINS_PER_ADDRESS_MINUTE: '0', LOGINS_PER_ACCOUNT_MINUTE: '0' }

/**
 * Starts Latchkey with default settings, but without the request log, because the other servers have none.
 *
 * @param script the bundled server, or a variant of it
 */
export function startLatchkey ({ url }: SeededDatabase, env: Record<string, string> = {}, script = 'dist/server.cjs'): Promise<ServerProcess> {
  return startServer(script, { DATABASE_URL: url, SECRET_KEY: secretKey, LOG_LEVEL: 'warn', ...env })
}
