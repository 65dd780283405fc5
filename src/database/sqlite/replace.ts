import { existsSync, lstatSync, renameSync, rmSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import Database from 'better-sqlite3'
import { drizzle } from 'drizzle-orm/better-sqlite3'
import { errorCode } from '../../lib/error-code.js'
import { publish, withPartFile } from '../../lib/part-file.js'
import { lockTimeoutMs } from './backup.js'
import { openedFile, restrictAccess } from './file.js'
import { isLatchkey } from './known-schema.js'
import { migrationRetryMs, tableNames } from './migrate.js'
import { events } from './schema.js'

/** What SQLite chooses for new databases, in bytes. */
const defaultPageSize = 4_096
/** More pages than a database can have. */
const allPages = 0x7fff_ffff

/** How a database was replaced. */
export interface Replaced {
  /** Where the previous database is now; nothing when there was none. */
  previous?: string
  /** Whether the previous database was damaged: a server that has it open must be started again, and ids can be given again. */
  wasDamaged: boolean
}

/** The ids that AUTOINCREMENT has given, the highest of each table. */
type Sequences = Array<{ name: string, seq: number }>

/** A new database, and the file in which it is prepared. */
export interface Prepared {
  client: Database.Database
  part: string
  /** What the audit log says about the replacement; nothing when it is switched off. */
  event?: typeof events.$inferInsert
}

/** Whether SQLite cannot read a database to its end. A damaged index makes rows look as if they broke a constraint. */
function isDamage (error: unknown): boolean {
  return /^SQLITE_(?:NOTADB|CORRUPT|CONSTRAINT)/.test(errorCode(error) ?? '')
}

/** The name for the previous database, which no file has. */
function previousName (file: string): string {
  const name = `${file}-before-restore`
  let free = name
  for (let i = 2; lstatSync(free, { throwIfNoEntry: false }) !== undefined; i++) free = `${name}-${i}`
  return free
}

/** Opens the database that is to be replaced. @throws {Error} another program has created its tables */
function openPresent (file: string): Database.Database {
  const client = new Database(file, { fileMustExist: true, timeout: lockTimeoutMs })
  try {
    openedFile(client, file)
    if (tableNames(client).length > 0 && !isLatchkey(client)) throw new Error(`${file} has the tables of another program`)
    return client
  } catch (error) {
    client.close()
    throw error
  }
}

/**
 * The size of the pages of a database that is to be replaced, in bytes.
 *
 * @throws {Error} another program has created its tables
 */
export function presentPageSize (file: string): number {
  if (!existsSync(file)) return defaultPageSize
  try {
    const client = openPresent(file)
    try {
      return Number(client.pragma('page_size', { simple: true }))
    } finally {
      client.close()
    }
  } catch (error) {
    if (!isDamage(error)) throw error
    return defaultPageSize
  }
}

/** The sequences of a database, which has none before its first table. */
function sequencesOf (client: Database.Database): Sequences {
  const hasSequences = client.prepare("select 1 from sqlite_schema where name = 'sqlite_sequence'").get() !== undefined
  return hasSequences ? client.prepare<[], Sequences[number]>('select name, seq from sqlite_sequence').all() : []
}

/** Has a new database continue after the last ids of the previous one, and records the event. */
function completeNew ({ client, event }: Prepared, previous: Sequences): void {
  for (const sequence of previous) {
    client.prepare("insert into sqlite_sequence (name, seq) select @name, 0 where exists (select 1 from sqlite_schema where type = 'table' and name = @name) and not exists (select 1 from sqlite_sequence where name = @name)").run(sequence)
    client.prepare('update sqlite_sequence set seq = max(seq, @seq) where name = @name').run(sequence)
  }
  if (event !== undefined) drizzle(client).insert(events).values(event).run()
}

/**
 * Copies a new database over the present one, in one transaction of the present one: a server
 * that has it open sees either, and what remains in its -wal cannot undo it.
 */
async function copyOver (prepared: Prepared, file: string, previous: string): Promise<Replaced> {
  const present = openPresent(file)
  try {
    const isEmpty = tableNames(present).length === 0
    present.pragma('journal_mode = WAL')
    present.pragma('synchronous = FULL')
    await withPartFile(previous, async (part) => {
      let isLocked = false
      /** Runs when nobody else can write any more, and before the first page is copied. */
      const whenLocked = () => {
        isLocked = true
        if (!isEmpty) present.prepare('vacuum into ?').run(part)
        completeNew(prepared, sequencesOf(present))
        if (!isEmpty) publish(part, previous)
      }
      try {
        const giveUpAtMs = Date.now() + lockTimeoutMs
        for (;;) {
          await prepared.client.backup(file, {
            progress () {
              if (!isLocked) whenLocked()
              return allPages
            }
          })
          // The driver also says that nothing remains when it could not begin.
          if (isLocked) break
          if (Date.now() > giveUpAtMs) throw new Error('the database is locked by another process')
          await delay(migrationRetryMs)
        }
      } catch (error) {
        rmSync(previous, { force: true })
        throw error
      }
    })
    // Also waits until what was copied is on the disk.
    present.pragma('wal_checkpoint(PASSIVE)')
    return { ...!isEmpty && { previous }, wasDamaged: false }
  } finally {
    present.close()
  }
}

/** The sequences of a damaged database, as far as they can be read. */
function readableSequences (file: string): Sequences {
  try {
    const client = new Database(file, { fileMustExist: true })
    try {
      return sequencesOf(client)
    } finally {
      client.close()
    }
  } catch {
    return []
  }
}

/** Puts a new database where there is none, or in the place of one that cannot be read, which is moved. */
function putInPlace (prepared: Prepared, file: string, previous: string): Replaced {
  const wasDamaged = existsSync(file)
  completeNew(prepared, wasDamaged ? readableSequences(file) : [])
  // Closed, it is complete without its -wal.
  prepared.client.close()
  // What belongs to the present file must not be taken for a part of the new one.
  for (const suffix of ['', '-wal', '-journal']) if (existsSync(file + suffix)) renameSync(file + suffix, previous + suffix)
  rmSync(`${file}-shm`, { force: true })
  publish(prepared.part, file)
  return { ...wasDamaged && { previous }, wasDamaged }
}

/**
 * Replaces a database, of which a copy is kept next to it: `<file>-before-restore`, with a number
 * where that exists. Closes the new one where it becomes the file itself.
 *
 * @throws {Error} nothing was replaced
 */
export async function replaceDatabase (prepared: Prepared, file: string): Promise<Replaced> {
  const previous = previousName(file)
  if (!existsSync(file)) return putInPlace(prepared, file, previous)
  try {
    const replaced = await copyOver(prepared, file, previous)
    restrictAccess(file)
    return replaced
  } catch (error) {
    if (!isDamage(error)) throw error
    return putInPlace(prepared, file, previous)
  }
}
