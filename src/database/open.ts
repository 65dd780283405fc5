import { errorMessage } from '../lib/error-code.js'
import type { Store, StoreOptions } from './store.js'
import { StoreError } from './store-error.js'

/**
 * Opens the store that `url` names, migrated to the present schema. A driver is imported only
 * when its scheme is used.
 *
 * @param url `sqlite:///relative/path`, `sqlite:////absolute/path`, or `sqlite://`
 * (also `sqlite:///:memory:`) for a database in memory;
 * `postgres://user:password@host:port/database` for a server
 * @throws {StoreError} one line that says what is wrong: an unknown scheme, a file that is no
 * database, a folder that cannot be written to, a server that does not answer
 */
export async function openStore (url: string, options: StoreOptions): Promise<Store> {
  const scheme = url.split('://', 1)[0]
  if (scheme === 'sqlite') {
    const { openSqlite } = await import('./sqlite/open.js')
    return openSqlite(url, options)
  }
  if (scheme === 'postgres' || scheme === 'postgresql') {
    const { openPostgres } = await import('./postgres/open.js').catch(explainMissingDriver)
    return openPostgres(url, options)
  }
  throw new StoreError(`no database driver for the scheme ${scheme}:`)
}

/** The driver is an optional peer dependency: SQLite does not need it. */
function explainMissingDriver (error: unknown): never {
  throw new StoreError(`PostgreSQL needs the package pg (npm install pg): ${errorMessage(error)}`, { cause: error })
}
