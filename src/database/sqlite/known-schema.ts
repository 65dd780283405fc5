import type Database from 'better-sqlite3'
import { printable } from '../../lib/printable.js'
import { migrationTimes, tableNames } from './migrate.js'

/** When each migration that was applied to a database had been written, in milliseconds since 1970, the oldest first; none when it is not a database of ours. */
export function appliedMigrations (client: Database.Database): number[] {
  if (!tableNames(client).includes('__drizzle_migrations')) return []
  const applied = client.prepare('select created_at from __drizzle_migrations order by created_at').pluck().all().map(Number)
  return applied[0] === migrationTimes()[0] ? applied : []
}

/** Whether Latchkey has created the tables of a database. */
export function isLatchkey (client: Database.Database): boolean {
  return appliedMigrations(client).length > 0
}

/** @throws {Error} Latchkey has not created the tables of a database */
export function requireLatchkey (client: Database.Database): void {
  if (!isLatchkey(client)) throw new Error('it is not a database of Latchkey')
}

/** @throws {Error} the database has a trigger, which would run with our statements, or a view: Latchkey creates neither */
export function requireNoTriggers (client: Database.Database): void {
  const found = client.prepare<[], { type: string, name: string }>("select type, name from sqlite_schema where type in ('trigger', 'view')").get()
  if (found !== undefined) throw new Error(`it has the ${found.type} ${printable(found.name)}, which Latchkey has not created`)
}

/** @throws {Error} a later version of Latchkey has migrated this database */
export function requireKnownSchema (client: Database.Database): void {
  if (Math.max(...appliedMigrations(client)) > Math.max(...migrationTimes())) throw new Error('its schema is newer than this version of Latchkey: use the version that it comes from, or a later one')
}

/** @throws {Error} a page, a row or an index of the database is damaged */
export function requireIntact (client: Database.Database): void {
  if (client.pragma('integrity_check(1)', { simple: true }) !== 'ok') throw new Error('it is damaged')
}
