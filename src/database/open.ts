import { type Store, StoreError } from './store.js'

/**
 * Opens the store that `url` names, migrated to the present schema. The driver is
 * imported only when its scheme is asked for.
 *
 * @param url `sqlite:///relative/path`, `sqlite:////absolute/path`, or `sqlite://`
 * (also `sqlite:///:memory:`) for a database that lives in memory
 * @param mustExist refuses a database that is not there, where it would be made otherwise
 * @throws {StoreError} one line that says what is wrong: an unknown scheme, a file
 * that is no database, a folder that cannot be written
 */
export async function openStore (url: string, mustExist = false): Promise<Store> {
  if (url.startsWith('sqlite://')) {
    const { openSqlite } = await import('./sqlite/open.js')
    return openSqlite(url, mustExist)
  }
  throw new StoreError(`no database driver for the scheme ${url.split('://', 1)[0]}:`)
}
