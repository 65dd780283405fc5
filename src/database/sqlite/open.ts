import { accessSync, chmodSync, closeSync, constants, existsSync, lstatSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import Database from 'better-sqlite3'
import { drizzle } from 'drizzle-orm/better-sqlite3'
import { migrate } from 'drizzle-orm/better-sqlite3/migrator'
import { unwrapDatabaseError } from '../../lib/unwrap-error.js'
import { makeFolder, openNewFile, realFile } from '../../lib/new-file.js'
import { type Store, StoreError, type StoreOptions } from '../store.js'
import { retryWhileBusy, runBatch } from './batches.js'
import { prepareGet } from './prepared-get.js'
import { isBusy, busyCircuitBreaker } from './busy-breaker.js'
import { batchReads } from './batched-reads.js'
import { isDiskFull, keepBallast, noBallast, type Ballast, retryWhenFull } from './ballast.js'
import * as tables from './schema.js'
import { type Around, aroundWrites, type Writer } from './writes.js'

/** How long a start may wait for another process that migrates the same file. */
const migrationWaitMs = 5_000
const migrationRetryMs = 50

const migrationsFolder = join(import.meta.dirname, 'migrations')

/** What SQLite's `user_version` is between a migration and the check that its rows are whole. */
const uncheckedVersion = 1

/** The file that a `sqlite://` URL names, in SQLAlchemy's spelling: the path follows the third slash. */
function fileOf (url: string): string {
  // The driver takes blanks around a name away: everything must mean the same file.
  const path = url.slice('sqlite://'.length).replace(/^\//, '').trim()
  return path === '' ? ':memory:' : path
}

/**
 * Makes the folder (0700) and the file (0600) where they do not exist: hashes live in there.
 *
 * @returns where the file really is, when it is behind a link
 * @throws {Error} it cannot be made, or what is there is no file that can be written
 */
function prepareFile (file: string): string {
  makeFolder(dirname(file))
  try {
    closeSync(openNewFile(file))
  } catch (error) {
    // One that is there already is used, whoever can write beside it.
    if (lstatSync(file, { throwIfNoEntry: false }) === undefined) throw error
  }
  const real = realFile(file)
  // Not by opening it: closing it would take the locks of the other connections of this process.
  accessSync(real, constants.R_OK | constants.W_OK)
  return real
}

/**
 * How many migrations it has had. The database of another program is left as it is: the
 * migrator notes its work down in a table, and that one has none.
 */
function countMigrations (client: Database.Database): number {
  const tableNames = client.prepare("select name from sqlite_schema where type = 'table' and name not like 'sqlite\\_%' escape '\\'").pluck().all()
  if (tableNames.length === 0) return 0
  if (!tableNames.includes('__drizzle_migrations')) throw new Error('it has the tables of another program')
  return Number(client.prepare('select count(*) from __drizzle_migrations').pluck().get())
}

/** How many migrations a database can have had. */
function migrationsThereAre (): number {
  return JSON.parse(readFileSync(join(migrationsFolder, 'meta/_journal.json'), 'utf8')).entries.length
}

/** Looks whether all rows are whole after a migration. That reads every row: a start that migrates nothing need not, unless it failed before. */
function checkKeys (client: Database.Database): void {
  if (client.pragma('user_version', { simple: true }) !== uncheckedVersion) return
  const orphans = client.pragma('foreign_key_check')
  if (Array.isArray(orphans) && orphans.length > 0) throw new Error('rows refer to rows that do not exist')
  client.pragma('user_version = 0')
}

/**
 * Sets the pragmas and migrates. Where another process does the same to the same file,
 * this one finds it locked, or finds tables that were not there when it looked, and has
 * nothing left to do once the other is done. On a full disk it needs the reserve.
 */
async function prepare (client: Database.Database, reserve: Ballast): Promise<void> {
  const giveUpAt = Date.now() + migrationWaitMs
  let hasFailedBefore = false
  for (;;) {
    try {
      const isBehind = countMigrations(client) < migrationsThereAre()
      client.pragma('journal_mode = WAL')
      client.pragma('synchronous = FULL')
      // A migration that rebuilds a table inside the migrator's transaction would let
      // ON DELETE CASCADE empty its children: the keys are off meanwhile, checked after.
      client.pragma('foreign_keys = OFF')
      if (isBehind) client.pragma(`user_version = ${uncheckedVersion}`)
      migrate(drizzle(client), { migrationsFolder })
      client.pragma('foreign_keys = ON')
      checkKeys(client)
      return
    } catch (thrown) {
      const error = unwrapDatabaseError(thrown)
      const isLocked = isBusy(error)
      if (isLocked ? Date.now() > giveUpAt : hasFailedBefore) throw error
      if (isDiskFull(error)) reserve.release()
      hasFailedBefore ||= !isLocked
      await delay(migrationRetryMs)
    }
  }
}

/** A connection to a database that is ready, for writes that need not wait for the disk. */
function openLight (file: string): Database.Database {
  const client = new Database(file, { fileMustExist: true })
  client.pragma('synchronous = NORMAL')
  client.pragma('foreign_keys = ON')
  return client
}

/** How a connection writes: patiently, but not too patiently, and for a while on a disk that is full. */
function writerTo (client: Database.Database, patiently: Around, reserve: Ballast): Writer {
  const untilFull = retryWhenFull(client, reserve)
  return { client, around: (write) => untilFull(() => patiently(write)) }
}

/** SQLite's own account of the ids that AUTOINCREMENT gave. @see https://www.sqlite.org/autoinc.html */
const userSequence = "from sqlite_sequence where name = 'users'"

/**
 * Opens (and creates, and migrates) a SQLite database. WAL, so that reads go on
 * beside a writer; `synchronous=FULL`, set at every open because better-sqlite3
 * reopens WAL files as NORMAL, so that an acknowledged write survives a power cut,
 * but for those that need not: they go through a connection of their own.
 *
 * @throws {StoreError} the file cannot be opened, is no SQLite database, or cannot be migrated
 */
export async function openSqlite (url: string, { mustExist = false, keepsBallast = false }: StoreOptions): Promise<Store> {
  const file = fileOf(url)
  const inMemory = file === ':memory:'
  if (mustExist && !inMemory && !existsSync(file)) throw new StoreError(`there is no database ${file}`)
  let client: Database.Database | undefined
  let reserve: Ballast = noBallast
  try {
    const real = inMemory ? file : prepareFile(file)
    client = new Database(real, { timeout: migrationRetryMs, fileMustExist: !inMemory })
    if (keepsBallast && !inMemory) reserve = keepBallast(real)
    await prepare(client, reserve)
    // Only now is the file known to be ours to restrict. SQLite gives -wal and -shm its mode,
    // but they may be older than that.
    for (const path of ['', '-wal', '-shm'].map((suffix) => real + suffix)) if (existsSync(path)) chmodSync(path, 0o600)
    const light = inMemory ? undefined : openLight(real)
    const untilFull = retryWhenFull(client, reserve)
    const patiently = busyCircuitBreaker(light === undefined ? [client] : [client, light])
    aroundWrites(writerTo(client, patiently, reserve), light && writerTo(light, patiently, reserve))
    const db = drizzle(client, { schema: tables })
    const opened = client
    // The one cast: sync results are awaited like async ones, so queries fit every dialect.
    const port = db as unknown as Store['db']
    const together = batchReads(client)
    return {
      db: port,
      tables,
      prepare: (name, query) => query.prepare(),
      prepareGet: (name, columns, query) => prepareGet(opened, together, columns, query),
      batch: async (queries, { retryBusyMs = 0 } = {}) => retryWhileBusy(retryBusyMs, () => untilFull(() => runBatch(opened, queries))),
      // A batch has the lock for all of the database from its beginning.
      lockUser: () => [],
      lastUserId: async () => Number(opened.prepare(`select coalesce(max(seq), 0) ${userSequence}`).pluck().get()),
      claimUserIds: (from) => [
        // The role admin is always there: a second one is the conflict.
        { toSQL: () => ({ sql: `insert into roles (name, description) select name, description from roles where name = 'admin' and exists (select 1 ${userSequence} and seq >= ?)`, params: [from] }) }
      ],
      skipUserIds: (upTo) => [
        { toSQL: () => ({ sql: `insert into sqlite_sequence (name, seq) select 'users', 0 where not exists (select 1 ${userSequence})`, params: [] }) },
        { toSQL: () => ({ sql: "update sqlite_sequence set seq = max(seq, ?) where name = 'users'", params: [upTo] }) }
      ],
      async * snapshot (read) {
        opened.prepare('begin').run()
        try {
          yield * read(port)
        } finally {
          opened.prepare('commit').run()
        }
      },
      ping: async () => { await db.select({ id: tables.users.id }).from(tables.users).limit(1) },
      isNearlyFull: reserve.isNearlyFull,
      close: async () => {
        reserve.close()
        light?.close()
        opened.close()
      }
    }
  } catch (error) {
    reserve.close()
    client?.close()
    throw new StoreError(`cannot open the database ${file}: ${Object(error).message}`, { cause: error })
  }
}
