import type { BaseSQLiteDatabase } from 'drizzle-orm/sqlite-core'
import type * as tables from './sqlite/schema.js'

/**
 * The port to the database. Queries are written once, against these types and with
 * the builders that every dialect shares; `await` every one of them. There is no
 * transaction on purpose: every write is one statement.
 */
export interface Store {
  db: BaseSQLiteDatabase<'async', unknown, typeof tables>
  tables: typeof tables
  /** Asks the database for an answer; rejects when there is none. */
  ping: () => Promise<void>
  /** Gives everything back. Queries afterwards reject. */
  close: () => Promise<void>
}

/** The database could not be opened; `message` is one line for the operator. */
export class StoreError extends Error {
  override name = 'StoreError'
}
