import type { Column, SQL } from 'drizzle-orm'
import type { BaseSQLiteDatabase } from 'drizzle-orm/sqlite-core'
import type * as tables from './sqlite/schema.js'

/** How a store is opened. */
export interface StoreOptions {
  /** Rejects a database that does not exist, instead of creating it. */
  mustExist?: boolean
  /** Keeps a ballast file next to a SQLite database, so that logins go on when the disk is full: for servers only. */
  keepsBallast?: boolean
  /** Called when a file of a SQLite database was deleted, moved or replaced, with the problem, and when all are back. */
  onFileChange?: (problem?: string) => void
  /**
   * Whether PostgreSQL keeps statements prepared, and limits set for a connection: true by default.
   * A pooler that gives each transaction another connection to the server loses both.
   */
  preparesStatements?: boolean
  /** Called once, when a pooler has lost a prepared statement. */
  onStatementLost?: () => void
  /** The most connections to PostgreSQL. */
  poolSize: number
  /** How long a query waits for a connection to PostgreSQL, in milliseconds. */
  connectTimeoutMs: number
  /** How long PostgreSQL may take for a statement, in milliseconds. */
  statementTimeoutMs: number
  /** The clock, in milliseconds since 1970; the system's by default. */
  now?: () => number
}

/** A query that was built and not run yet. */
export interface Query {
  toSQL: () => { sql: string, params: unknown[] }
}

/** A query for one row that many requests run, each with its own values for the placeholders. */
export interface GetQuery<Row> extends Query {
  prepare: (name: string) => { execute: (values: Record<string, unknown>) => Promise<Row[]> }
}

/** A prepared query for one row: the row, or `undefined` when there is none. */
export type PreparedGet<Row> = (values: Record<string, unknown>) => Promise<Row | undefined>

/**
 * The port to the database. Queries are written once, against these types and with the builders
 * that both dialects share; `await` every one of them. There is no transaction with a callback on
 * purpose: a write is one statement, or one batch.
 */
export interface Store {
  /** Builds and runs queries. A write is durable: once it is acknowledged it survives a power cut. */
  db: BaseSQLiteDatabase<'async', unknown, typeof tables>
  /**
   * Runs writes whose last moments a power cut may take back: it need not wait for the disk. They
   * survive a crash of the process. In a batch, and on PostgreSQL, they are durable like the rest.
   */
  relaxed: Store['db']
  tables: typeof tables
  /** Prepares a query, of `db` or `relaxed`, that is run often. `name` is unique among all prepared queries. */
  prepare: <Prepared>(name: string, query: { prepare: (name: string) => Prepared }) => Prepared
  /**
   * Prepares a query for one row that most requests need, to be run at the lowest cost that the database permits.
   *
   * @param name unique among all prepared queries
   * @param columns the columns that the query selects, in the same order
   * @param parameters the column that each placeholder is compared with, for a query of many
   * requests at once: the reads of one turn of the event loop can then share a statement. They also
   * share its failure, so their values must be valid for their columns.
   * @throws {TypeError} the query has parameters that are not placeholders
   */
  prepareGet: <Row>(name: string, columns: Record<string, Column | SQL>, query: GetQuery<Row>, parameters?: Record<string, Column>) => PreparedGet<Row>
  /**
   * Runs queries in their order in one durable transaction: all of them or, when one fails, none.
   * Each sees what was committed before the batch began.
   *
   * @param options.retryBusyMs for how long, in milliseconds, the batch is retried when another
   * process locks the database, or when it was rolled back because of a concurrent transaction;
   * 0 by default. Other requests are served between two tries.
   * @returns how many rows each query wrote
   */
  batch: (queries: Query[], options?: { retryBusyMs?: number }) => Promise<number[]>
  /**
   * For the start of a batch: until it ends, no other batch that begins with this query for the
   * same user runs, on any server. So no row that one such batch inserts for a user can escape
   * another one that deletes them all.
   */
  lockUser: (userId: number) => Query[]
  /**
   * For the end of an `insert … select` from users: it waits for a batch with `lockUser` that is
   * under way for the user, and sees what it has changed.
   */
  shareLock: SQL
  /** For an `insert … select` into users: the id of the new one. */
  newUserId: SQL
  /** The highest id that any user ever had; 0 when there was none. */
  lastUserId: () => Promise<number>
  /**
   * For a batch that inserts users with ids of its own: no other insert gets an id until the batch
   * ends. If an id from this one on was assigned before, the batch fails with a conflict.
   */
  claimUserIds: (from: number) => Query[]
  /**
   * For a batch: new users get ids above this one from now on; no other insert gets an id until the
   * batch ends. Never takes an id back, also where the batch fails afterwards.
   */
  skipUserIds: (upTo: number) => Query[]
  /**
   * Reads everything as it was at one moment, page by page. Nothing may be written with this store
   * until it ends: for command-line tools, not for servers.
   */
  snapshot: <Row>(read: (db: Store['db']) => AsyncGenerator<Row>) => AsyncGenerator<Row>
  /** Whether the disk has so little space left that new users must not take it. Always false without a ballast file. */
  isNearlyFull: () => boolean
  /** Resolves when the database answers; rejects when it does not, or when its file is not in its place any more. */
  ping: () => Promise<void>
  /** Closes all connections. Queries reject afterwards. */
  close: () => Promise<void>
}
