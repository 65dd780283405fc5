import { fileURLToPath } from 'node:url'
import { type MigrationMeta, readMigrationFiles } from 'drizzle-orm/migrator'
import type { Client } from 'pg'
import { pendingMigrations } from '../migrations.js'
import { latchkey } from './schema.js'

const migrationsFolder = fileURLToPath(new URL('migrations', import.meta.url))
/** Where migrations are recorded, as drizzle's migrator records them: a table of our own, because another app on this database may use that migrator. */
const migrationsSchema = 'drizzle'
const migrationsTable = `${migrationsSchema}.latchkey_migrations`

/** How long a start may wait for another server that migrates, or for a lock on a table, in milliseconds. */
const lockTimeoutMs = 60_000
/** How long the server may take for a trivial query, in milliseconds. */
const answerTimeoutMs = 5_000

/** The advisory lock that serializes migrations. */
const lockName = 'latchkey migrations'

/** Whether the database has Latchkey's tables, of any version. */
export async function hasTables (client: Client): Promise<boolean> {
  return await ask(client, 'to_regclass($1) is not null', [migrationsTable])
}

/** Whether the database can store every character. */
export async function isUnicode (client: Client): Promise<boolean> {
  return await ask(client, "current_setting('server_encoding') = $1", ['UTF8'])
}

/** Whether the server writes times in the style that the driver can parse. */
export async function hasIsoTimes (client: Client): Promise<boolean> {
  return await ask(client, "current_setting('datestyle') like $1", ['ISO%'])
}

/** A query with a timeout on our side: it rejects also when the server has gone silent. */
function withTimeout (timeoutMs: number, text: string, values: unknown[] = []) {
  return { text, values, query_timeout: timeoutMs }
}

/** Evaluates a condition, which takes a working server no time. */
async function ask (client: Client, condition: string, values: unknown[]): Promise<boolean> {
  const { rows: [row] } = await client.query(withTimeout(answerTimeoutMs, `select ${condition} as answer`, values))
  return row.answer
}

/** When each migration was written, in milliseconds since 1970, the oldest first. */
export function migrationTimes (): number[] {
  return readMigrationFiles({ migrationsFolder }).map(({ folderMillis }) => folderMillis)
}

/** When each migration that was applied had been written. */
export async function appliedMigrations (client: Client): Promise<number[]> {
  const { rows } = await client.query(withTimeout(answerTimeoutMs, `select created_at from ${migrationsTable}`))
  return rows.map((row) => Number(row.created_at))
}

/**
 * The migrations that are still to be applied. It takes no privilege but `select`.
 *
 * @throws {Error} a newer version has migrated the database
 */
async function findPending (client: Client, migrations: MigrationMeta[]): Promise<MigrationMeta[]> {
  if (!(await hasTables(client))) return migrations
  return pendingMigrations(migrations, await appliedMigrations(client))
}

/** Creates what is missing. Each `if not exists` would need the privilege to create also where nothing is missing. */
async function prepareSchemas (client: Client): Promise<void> {
  for (const schema of [migrationsSchema, latchkey.schemaName]) {
    if (!(await ask(client, 'to_regnamespace($1) is not null', [schema]))) await client.query(`create schema ${schema}`)
  }
  if (!(await hasTables(client))) await client.query(`create table ${migrationsTable} (id serial primary key, hash text not null, created_at bigint)`)
}

/**
 * Brings the database to the present schema. Of several servers that start at once one migrates,
 * and the others wait for it; where there is nothing to migrate no server waits. Everything is one
 * transaction, also the lock: a pooler may run the next one on another connection. Schemas that
 * exist are used as they are: then it takes no privilege on the database itself.
 *
 * @param client a connection of its own: the caller closes it after a failure, which rolls back
 * @throws {Error} the driver's own: a statement failed, the lock was not available in time; or a
 * newer version has migrated the database
 */
export async function migrate (client: Client): Promise<void> {
  const migrations = readMigrationFiles({ migrationsFolder })
  if ((await findPending(client, migrations)).length === 0) return
  // The limit holds for locks on tables too. A migration may take long, whatever limits the role has.
  await client.query(withTimeout(answerTimeoutMs, `begin isolation level read committed; set local lock_timeout = ${lockTimeoutMs}; set local statement_timeout = 0; set local idle_in_transaction_session_timeout = 0`))
  await client.query(withTimeout(lockTimeoutMs + answerTimeoutMs, 'select pg_advisory_xact_lock(hashtextextended($1, 0))', [lockName]))
  await prepareSchemas(client)
  for (const { sql, hash, folderMillis } of await findPending(client, migrations)) {
    for (const statement of sql) if (!/^create schema /i.test(statement)) await client.query(statement)
    await client.query(`insert into ${migrationsTable} (hash, created_at) values ($1, $2)`, [hash, folderMillis])
  }
  await client.query('commit')
}
