import { fileURLToPath } from 'node:url'
import { readMigrationFiles } from 'drizzle-orm/migrator'
import { drizzle } from 'drizzle-orm/node-postgres'
import { migrate as runMigrations } from 'drizzle-orm/node-postgres/migrator'
import type { Client } from 'pg'

const migrationsFolder = fileURLToPath(new URL('migrations', import.meta.url))
/** Where the migrator records what it did: a table of our own, because another app on this database may use the same migrator. */
const migrationsSchema = 'drizzle'
const migrationsTable = 'latchkey_migrations'

/** How long a start may wait for another server that migrates, or for a lock on a table, in milliseconds. */
const lockTimeoutMs = 60_000
/** How long the server may take for a trivial query, in milliseconds. */
const answerTimeoutMs = 5_000

/** The advisory lock that serializes migrations. */
const lockName = 'latchkey migrations'

/** Whether the database has Latchkey's tables, of any version. */
export async function hasTables (client: Client): Promise<boolean> {
  return await ask(client, 'to_regclass($1) is not null', [`${migrationsSchema}.${migrationsTable}`])
}

/** Whether the database can store every character. */
export async function isUnicode (client: Client): Promise<boolean> {
  return await ask(client, "current_setting('server_encoding') = $1", ['UTF8'])
}

/** A query with a timeout on our side: it rejects also when the server has gone silent. */
function withTimeout (timeoutMs: number, text: string, values: unknown[]) {
  return { text, values, query_timeout: timeoutMs }
}

/** Evaluates a condition, which takes a working server no time. */
async function ask (client: Client, condition: string, values: unknown[]): Promise<boolean> {
  const { rows: [row] } = await client.query(withTimeout(answerTimeoutMs, `select ${condition} as answer`, values))
  return row.answer
}

/** Whether there is nothing to migrate. It takes no privilege but `select`. */
async function isUpToDate (client: Client): Promise<boolean> {
  if (!(await hasTables(client))) return false
  const newest = Math.max(...readMigrationFiles({ migrationsFolder }).map(({ folderMillis }) => folderMillis))
  return await ask(client, `(select coalesce(max(created_at), 0) from ${migrationsSchema}.${migrationsTable}) >= $1`, [newest])
}

/**
 * Brings the database to the present schema. Of several servers that start at once one migrates,
 * and the others wait for it; where there is nothing to migrate no server waits.
 *
 * @param client a connection of its own: the lock is held until it is closed
 * @throws {Error} the driver's own: a statement failed, the lock was not available in time
 */
export async function migrate (client: Client): Promise<void> {
  if (await isUpToDate(client)) return
  // Holds for locks on tables too.
  await client.query(`set lock_timeout = ${lockTimeoutMs}`)
  await client.query(withTimeout(lockTimeoutMs + answerTimeoutMs, 'select pg_advisory_lock(hashtextextended($1, 0))', [lockName]))
  await runMigrations(drizzle(client), { migrationsFolder, migrationsSchema, migrationsTable })
}
