import type { Column, SQL } from 'drizzle-orm'
import type { BaseSQLiteDatabase } from 'drizzle-orm/sqlite-core'
import type * as tables from './sqlite/schema.js'

/** How a store is opened. */
export interface StoreOptions {
  /** Refuses a database that is not there, where it would be created otherwise. */
  mustExist?: boolean
  /** Keeps a ballast file beside a SQLite database, so that logins go on when the disk is full. */
  keepsBallast?: boolean
  /** The most connections to PostgreSQL. SQLite has one. */
  poolSize: number
  /** How long a query waits for a connection to PostgreSQL, in milliseconds. */
  connectTimeoutMs: number
  /** How long PostgreSQL may take for a statement, in milliseconds. */
  statementTimeoutMs: number
}

/** A query as it was built, yet to be run. */
export interface Query {
  toSQL: () => { sql: string, params: unknown[] }
}

/** A query for one row that many requests ask, each with its own values for the placeholders. */
export interface GetQuery<Row> extends Query {
  prepare: () => { all: (values: Record<string, unknown>) => Promise<Row[]> }
}

/** A look-up, prepared: the row; `undefined` when there is none. */
export type PreparedGet<Row> = (values: object) => Promise<Row | undefined>

/**
 * The port to the database. Queries are written once, against these types and with
 * the builders that every dialect shares; `await` every one of them. There is no
 * transaction with a callback on purpose: a write is one statement, or one batch.
 */
export interface Store {
  db: BaseSQLiteDatabase<'async', unknown, typeof tables>
  tables: typeof tables
  /** Prepares a query that is asked often. `name` is its own: no other query has it. */
  prepare: <Prepared>(name: string, query: { prepare: () => Prepared }) => Prepared
  /**
   * Prepares a query for the row that most requests ask for: it costs as little as the database lets it.
   *
   * @param name its own: no other query has it
   * @param columns what it selects, in this order
   */
  prepareGet: <Row>(name: string, columns: Record<string, Column | SQL>, query: GetQuery<Row>) => PreparedGet<Row>
  /**
   * Runs queries in their order in one transaction: all of them or, when one fails, none.
   * Each sees what was committed before it began.
   *
   * @param options.retryBusyMs for how long a database that is locked by another process, or
   * that rolled the batch back because of others, is asked again, in milliseconds; 0 by
   * default. Requests are served meanwhile.
   * @returns how many rows each query wrote
   */
  batch: (queries: Query[], options?: { retryBusyMs?: number }) => Promise<number[]>
  /**
   * For the start of a batch: until it is over, no other batch that begins with this query for
   * the same user runs, on whichever server. What is made for a user in one such batch and
   * revoked in another can then not slip through.
   */
  lockUser: (userId: number) => Query[]
  /** The highest id that a user ever had, 0 when there was none. */
  lastUserId: () => Promise<number>
  /**
   * For a batch that inserts users with ids of its own: nobody else gets an id until the batch
   * is over, and where an id from this one on was given already, the batch fails with a conflict.
   */
  claimUserIds: (from: number) => Query[]
  /**
   * For a batch: from now on new users get ids above this one, and nobody else gets one
   * meanwhile. Never takes an id back, also where the batch fails afterwards.
   */
  skipUserIds: (upTo: number) => Query[]
  /**
   * Reads everything as it was at one moment, page by page. Meanwhile nothing may be
   * written by this store: for tools, not for servers.
   */
  snapshot: <Row>(read: (db: Store['db']) => AsyncGenerator<Row>) => AsyncGenerator<Row>
  /** Whether there is so little space left that nobody new should get any. A database server keeps its own house. */
  isNearlyFull: () => boolean
  /** Asks the database for an answer; rejects when there is none. */
  ping: () => Promise<void>
  /** Gives everything back. Queries afterwards reject. */
  close: () => Promise<void>
}

export { StoreError } from './store-error.js'
