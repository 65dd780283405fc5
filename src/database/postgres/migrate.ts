import { join } from 'node:path'
import { readMigrationFiles } from 'drizzle-orm/migrator'
import { drizzle } from 'drizzle-orm/node-postgres'
import { migrate as runMigrations } from 'drizzle-orm/node-postgres/migrator'
import type { Client } from 'pg'

const migrationsFolder = join(import.meta.dirname, 'migrations')
/** Where the migrator notes down what it did: a table of its own, for the app beside us may use the same migrator. */
const migrationsSchema = 'drizzle'
const migrationsTable = 'latchkey_migrations'

/** How long a start may wait for another one that migrates, or for whoever uses the tables. */
const lockTimeoutMs = 60_000
/** How long the server may take for what costs it nothing. */
const answerTimeoutMs = 5_000

/** What everybody who migrates a database of ours locks. */
const lockName = 'latchkey migrations'

/** Whether the database has Latchkey's tables, of whatever version. */
export async function hasTables (client: Client): Promise<boolean> {
  return await ask(client, 'to_regclass($1) is not null', [`${migrationsSchema}.${migrationsTable}`])
}

/** Whether the database takes every character. */
export async function isUnicode (client: Client): Promise<boolean> {
  return await ask(client, "current_setting('server_encoding') = $1", ['UTF8'])
}

/** A query for whose answer we do not wait longer, whatever became of the server. */
function within (timeoutMs: number, text: string, values: unknown[]) {
  return { text, values, query_timeout: timeoutMs }
}

/** A question that is answered at once, or the server is silent. */
async function ask (client: Client, question: string, values: unknown[]): Promise<boolean> {
  const { rows: [row] } = await client.query(within(answerTimeoutMs, `select ${question} as answer`, values))
  return row.answer
}

/** Whether there is nothing to migrate: to know that takes no right but to read. */
async function isPresent (client: Client): Promise<boolean> {
  if (!(await hasTables(client))) return false
  const newest = Math.max(...readMigrationFiles({ migrationsFolder }).map(({ folderMillis }) => folderMillis))
  return await ask(client, `(select coalesce(max(created_at), 0) from ${migrationsSchema}.${migrationsTable}) >= $1`, [newest])
}

/**
 * Brings the database to the present schema. Of several that try at once one does it, the
 * others wait; where there is nothing to do nobody waits.
 *
 * @param client a connection of its own: the lock belongs to it, and ends with it
 * @throws {Error} the driver's own: a statement failed, the lock was not to be had in time
 */
export async function migrate (client: Client): Promise<void> {
  if (await isPresent(client)) return
  // Also for the tables: somebody may be using them.
  await client.query(`set lock_timeout = ${lockTimeoutMs}`)
  await client.query(within(lockTimeoutMs + answerTimeoutMs, 'select pg_advisory_lock(hashtextextended($1, 0))', [lockName]))
  await runMigrations(drizzle(client), { migrationsFolder, migrationsSchema, migrationsTable })
}
