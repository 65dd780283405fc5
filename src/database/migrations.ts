import type { MigrationMeta } from 'drizzle-orm/migrator'

/**
 * The migrations that a database still needs: those that are newer than its last one.
 *
 * @param migrations all that this program has
 * @param appliedTimes the times (`folderMillis`) of those that the database has
 * @throws {Error} the database has a migration that this program does not have
 */
export function pendingMigrations (migrations: MigrationMeta[], appliedTimes: number[]): MigrationMeta[] {
  const known = new Set(migrations.map(({ folderMillis }) => folderMillis))
  if (!appliedTimes.every((time) => known.has(time))) throw new Error('a newer version of Latchkey has migrated it: use that version, or restore a backup')
  return migrations.filter(({ folderMillis }) => folderMillis > Math.max(0, ...appliedTimes))
}
