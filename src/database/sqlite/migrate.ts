import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type Database from 'better-sqlite3'
import { drizzle } from 'drizzle-orm/better-sqlite3'
import { migrate as runMigrations } from 'drizzle-orm/better-sqlite3/migrator'
import { readMigrationFiles } from 'drizzle-orm/migrator'
import { unwrapDatabaseError } from '../../lib/unwrap-error.js'
import { pendingMigrations } from '../migrations.js'
import { type Ballast, isDiskFull } from './ballast.js'
import { isBusy } from './busy-breaker.js'

/** How long a start may wait for another process that migrates the same file, in milliseconds. */
const lockTimeoutMs = 5_000
/** How long until the next try, in milliseconds. */
export const migrationRetryMs = 50

const migrationsFolder = fileURLToPath(new URL('migrations', import.meta.url))

/** SQLite's `user_version` between a migration and the check of its foreign keys. */
const uncheckedVersion = 1

/** The names of a database's tables, without those of SQLite. */
export function tableNames (client: Database.Database): unknown[] {
  return client.prepare("select name from sqlite_schema where type = 'table' and name not like 'sqlite\\_%' escape '\\'").pluck().all()
}

/**
 * The times of the migrations that have been applied.
 *
 * @throws {Error} the tables are those of another program, which are left alone: the migrator's own table is missing
 */
function appliedTimes (client: Database.Database): number[] {
  const names = tableNames(client)
  if (names.length === 0) return []
  if (!names.includes('__drizzle_migrations')) throw new Error('it has the tables of another program')
  return client.prepare('select created_at from __drizzle_migrations').pluck().all().map(Number)
}

/** When each migration was written, in milliseconds since 1970, the oldest first: the migrator tells them apart by this. */
export function migrationTimes (): number[] {
  return readMigrationFiles({ migrationsFolder }).map(({ folderMillis }) => folderMillis)
}

/**
 * Checks the foreign keys of all rows after a migration. That reads every row: it is left out
 * where nothing was migrated, unless the last check failed.
 *
 * @throws {Error} a row refers to another that does not exist
 */
function checkForeignKeys (client: Database.Database): void {
  if (client.pragma('user_version', { simple: true }) !== uncheckedVersion) return
  const orphans = client.pragma('foreign_key_check')
  if (Array.isArray(orphans) && orphans.length > 0) throw new Error('rows refer to rows that do not exist')
  client.pragma('user_version = 0')
}

function migrateOnce (client: Database.Database): void {
  // Before anything is written: a newer version's database is left alone.
  const isBehind = pendingMigrations(readMigrationFiles({ migrationsFolder }), appliedTimes(client)).length > 0
  client.pragma('journal_mode = WAL')
  client.pragma('synchronous = FULL')
  // A migration that rebuilds a table inside the migrator's transaction would let ON DELETE
  // CASCADE empty its child tables: foreign keys are off until it is done, and checked then.
  client.pragma('foreign_keys = OFF')
  if (isBehind) {
    client.pragma(`user_version = ${uncheckedVersion}`)
    runMigrations(drizzle(client), { migrationsFolder })
  }
  client.pragma('foreign_keys = ON')
  checkForeignKeys(client)
}

/**
 * Sets a connection's pragmas (WAL, `synchronous=FULL`, foreign keys) and brings the database to
 * the present schema. While another process does the same to the same file, this one finds it
 * locked, or finds tables that it did not expect, and tries again: then nothing is left to do.
 * On a full disk the ballast file is released.
 *
 * @throws {Error} the driver's own, or one that says what is wrong with the database
 */
export async function migrate (client: Database.Database, ballast: Pick<Ballast, 'release'>): Promise<void> {
  const giveUpAtMs = Date.now() + lockTimeoutMs
  let hasFailedBefore = false
  for (;;) {
    try {
      migrateOnce(client)
      return
    } catch (thrown) {
      const error = unwrapDatabaseError(thrown)
      const isLocked = isBusy(error)
      if (isLocked ? Date.now() > giveUpAtMs : hasFailedBefore) throw error
      if (isDiskFull(error)) ballast.release()
      hasFailedBefore ||= !isLocked
      await delay(migrationRetryMs)
    }
  }
}
