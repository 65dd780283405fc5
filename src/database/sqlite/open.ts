import { existsSync } from 'node:fs'
import type Database from 'better-sqlite3'
import { sql } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/better-sqlite3'
import { errorMessage } from '../../lib/error-code.js'
import type { Store, StoreOptions } from '../store.js'
import { StoreError } from '../store-error.js'
import { type Ballast, foreignBallast, keepBallast, noBallast, retryWhenFull } from './ballast.js'
import { retryWhileBusy, runBatch } from './batch.js'
import { batchReads } from './batched-reads.js'
import { busyCircuitBreaker } from './busy-breaker.js'
import { Connection } from './connection.js'
import { fileOf, type FileWatch, inMemory, noFiles, openedFile, prepareFile, restrictAccess, watchFiles } from './file.js'
import { migrate, migrationRetryMs } from './migrate.js'
import { prepareGet } from './prepared-get.js'
import * as tables from './schema.js'
import { claimUserIds, lastUserId, skipUserIds } from './user-ids.js'

/**
 * Opens a second connection to a migrated database, for writes that need not wait for the disk:
 * every login makes several, and each wait blocks the event loop. In a power cut the last of them
 * can be lost, in a crash of the process none; WAL keeps the database consistent in both.
 *
 * @see https://www.sqlite.org/pragma.html#pragma_synchronous
 */
function openRelaxed (path: string): Connection {
  const connection = new Connection(path, { fileMustExist: true })
  connection.pragma('synchronous = NORMAL')
  connection.pragma('foreign_keys = ON')
  return connection
}

/** A query builder on a connection. */
export function queryBuilder (connection: Database.Database): Store['db'] {
  // Results that are there already can be awaited like others, so queries fit every dialect.
  return drizzle(connection, { schema: tables }) as unknown as Store['db']
}

/** The store on open connections; of a database in memory both are the same. */
function createStore (durable: Connection, relaxed: Connection, { ballast, files }: { ballast: Ballast, files: FileWatch }): Store {
  const breaker = busyCircuitBreaker([durable, relaxed])
  for (const connection of [durable, relaxed]) {
    connection.runWrite = (write) => retryWhenFull(connection, ballast, () => breaker(write))
  }
  const db = queryBuilder(durable)
  const batchRead = batchReads(durable)
  return {
    db,
    relaxed: queryBuilder(relaxed),
    tables,
    prepare: (name, query) => query.prepare(name),
    prepareGet: (name, columns, query) => prepareGet(durable, batchRead, columns, query),
    batch: (queries, { retryBusyMs = 0 } = {}) => retryWhileBusy(retryBusyMs, () => retryWhenFull(durable, ballast, () => runBatch(durable, queries))),
    // A batch locks the whole database from its beginning.
    lockUser: () => [],
    shareLock: sql``,
    newUserId: sql`null`,
    lastUserId: async () => lastUserId(durable),
    claimUserIds,
    skipUserIds,
    async * snapshot (read) {
      durable.prepare('begin').run()
      try {
        yield * read(db)
      } finally {
        durable.prepare('commit').run()
      }
    },
    async ping () {
      files.check()
      await db.select({ id: tables.users.id }).from(tables.users).limit(1)
    },
    isNearlyFull: ballast.isNearlyFull,
    async close () {
      files.close()
      await ballast.close()
      relaxed.close()
      durable.close()
    }
  }
}

/**
 * Opens a SQLite database, and creates and migrates it where needed. With WAL, reads go on beside
 * a writer. `synchronous=FULL` is set every time, because better-sqlite3 opens WAL files with
 * NORMAL: an acknowledged write must survive a power cut, unless it is written with `relaxed`.
 *
 * @throws {StoreError} the file cannot be opened, is no SQLite database, or cannot be migrated
 */
export async function openSqlite (url: string, { mustExist = false, keepsBallast = false, onFileChange = () => {}, now = Date.now }: StoreOptions): Promise<Store> {
  const file = fileOf(url)
  const isInMemory = file === inMemory
  if (mustExist && !isInMemory && !existsSync(file)) throw new StoreError(`there is no database ${file}`)
  const opened: Array<{ close: () => unknown }> = []
  const open = <Resource extends { close: () => unknown }>(resource: Resource): Resource => {
    opened.push(resource)
    return resource
  }
  try {
    if (isInMemory) {
      const connection = open(new Connection(file))
      await migrate(connection, noBallast)
      return createStore(connection, connection, { ballast: noBallast, files: noFiles })
    }
    const prepared = prepareFile(file)
    const durable = open(new Connection(prepared, { timeout: migrationRetryMs, fileMustExist: true }))
    const path = openedFile(durable, prepared)
    const ballast = open(keepsBallast ? keepBallast(path, now) : foreignBallast(path))
    await migrate(durable, ballast)
    // Not before: now the file is known to be a database of ours.
    restrictAccess(path)
    const relaxed = open(openRelaxed(path))
    return createStore(durable, relaxed, { ballast, files: watchFiles(file, path, onFileChange) })
  } catch (error) {
    for (const resource of opened) await resource.close()
    throw new StoreError(`cannot open the database ${file}: ${errorMessage(error)}`, { cause: error })
  }
}
