import type { Backup } from './sqlite/backup.js'
import type { Restored, RestoreOptions } from './sqlite/restore.js'
import { StoreError } from './store-error.js'

/** Copies whole databases. */
export interface Backups {
  backUp: (url: string, file: string) => Promise<Backup>
  restore: (url: string, file: string, options: RestoreOptions) => Promise<Restored>
}

/**
 * Imports what backs up and restores the database that a URL names.
 *
 * @param advice what to do on PostgreSQL, which has tools of its own
 * @throws {StoreError} it is PostgreSQL, or the driver cannot be used
 */
export async function loadBackups (url: string, advice: string): Promise<Backups> {
  if (!url.startsWith('sqlite:')) throw new StoreError(`PostgreSQL is backed up and restored with its own tools: ${advice}`)
  const { requireNativeModule } = await import('./sqlite/native-module.js')
  requireNativeModule()
  const [{ backUp }, { restore }] = await Promise.all([import('./sqlite/backup.js'), import('./sqlite/restore.js')])
  return { backUp, restore }
}
