import { errorMessage } from '../lib/error-code.js'
import type { Store, StoreOptions } from './store.js'
import { StoreError } from './store-error.js'
import { databaseUrlProblem } from './urls.js'

/** Opens the store that a URL names. */
type OpenStore = (url: string, options: StoreOptions) => Promise<Store>

/**
 * Imports the driver of a URL's scheme, and nothing of the others.
 *
 * @throws {StoreError} the scheme is unknown, or its package is not installed or was not built
 */
export async function loadDriver (url: string): Promise<OpenStore> {
  const scheme = url.split('://', 1)[0]
  if (scheme === 'sqlite') {
    const { requireNativeModule } = await import('./sqlite/native-module.js')
    requireNativeModule()
    return (await import('./sqlite/open.js')).openSqlite
  }
  if (scheme === 'postgres' || scheme === 'postgresql') {
    return (await import('./postgres/open.js').catch(explainMissingDriver)).openPostgres
  }
  throw new StoreError(`no database driver for the scheme ${scheme}:`)
}

/**
 * Opens the store that `url` names, migrated to the present schema.
 *
 * @param url `sqlite:///relative/path`, `sqlite:////absolute/path`, or `sqlite://`
 * (also `sqlite:///:memory:`) for a database in memory;
 * `postgres://user:password@host:port/database` for a server
 * @throws {StoreError} one line that says what is wrong: an unknown scheme or parameter, a driver
 * that cannot be used, a file that is no database, a folder that cannot be written to, a server that does not answer
 */
export async function openStore (url: string, options: StoreOptions): Promise<Store> {
  const open = await loadDriver(url)
  const problem = databaseUrlProblem(url)
  if (problem !== undefined) throw new StoreError(`the URL of the database ${problem}`)
  return open(url, options)
}

/** The driver is an optional peer dependency: SQLite does not need it. */
function explainMissingDriver (error: unknown): never {
  // The lines after the first one are the files that require it.
  const [problem] = errorMessage(error).split('\n', 1)
  throw new StoreError(`PostgreSQL needs the package pg (npm install pg): ${problem}`, { cause: error })
}
