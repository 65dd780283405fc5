import { existsSync, lstatSync, realpathSync, statSync } from 'node:fs'
import { basename, dirname, resolve } from 'node:path'
import Database from 'better-sqlite3'
import { errorMessage } from '../../lib/error-code.js'
import { realFile } from '../../lib/new-file.js'
import { handleSignals, publish, withPartFile } from '../../lib/part-file.js'
import { StoreError } from '../store-error.js'
import { fileOf, inMemory, openedFile } from './file.js'
import { requireIntact, requireLatchkey } from './known-schema.js'

/** How long a command waits for a lock of another process, in milliseconds. */
export const lockTimeoutMs = 10_000

/** What a backup contains. */
export interface Backup {
  /** Its size. */
  bytes: number
  /** How many accounts it has. */
  users: number
}

/** The file of a database. @throws {StoreError} it is in memory */
export function requireFile (url: string): string {
  const file = fileOf(url)
  if (file === inMemory) throw new StoreError('a database in memory has no file')
  return file
}

/** Opens a file that is only read. @throws {Error} SQLite cannot open it, or would open another one */
export function openReadOnly (path: string): Database.Database {
  const client = new Database(path, { readonly: true, fileMustExist: true })
  try {
    openedFile(client, path)
    return client
  } catch (error) {
    client.close()
    throw error
  }
}

/** How many accounts a database has. */
export function countUsers (client: Database.Database): number {
  return Number(client.prepare('select count(*) from users').pluck().get())
}

/** @throws {Error} SQLite, or the server, would take a new file for one of its own, and overwrite or delete it */
function requireForeignName (target: string, file: string): void {
  const database = realFile(file)
  const isOwn = dirname(database) === realpathSync(dirname(target)) && ['-wal', '-shm', '-journal', '-reserve'].some((suffix) => basename(target) === basename(database) + suffix)
  if (isOwn) throw new Error('the database itself uses this name')
}

/** Copies a database into an empty file, as it is at one moment. Other processes go on writing to it. */
function copyInto (part: string, file: string): void {
  // As the server opens it: where nobody has it open, what a killed process has left in -wal is recovered.
  const client = new Database(realFile(file), { fileMustExist: true, timeout: lockTimeoutMs })
  try {
    requireLatchkey(client)
    client.prepare('vacuum into ?').run(part)
  } finally {
    client.close()
  }
}

/** Reads a whole copy. @throws {Error} it is not intact */
function check (part: string): Backup {
  const client = openReadOnly(part)
  try {
    requireIntact(client)
    return { bytes: statSync(part).size, users: countUsers(client) }
  } finally {
    client.close()
  }
}

/**
 * Backs up a database to a new file that only its owner can read (0600), also while servers use
 * it. The file gets its name when it is complete, checked and on the disk.
 *
 * @throws {StoreError} one line that says what is wrong: the target exists or cannot be written, there is no database, it is damaged
 */
export async function backUp (url: string, name: string): Promise<Backup> {
  const file = requireFile(url)
  if (!existsSync(file)) throw new StoreError(`there is no database ${file}`)
  const target = resolve(name)
  const requireNew = () => { if (lstatSync(target, { throwIfNoEntry: false }) !== undefined) throw new Error('it exists already') }
  try {
    requireNew()
    requireForeignName(target, file)
    return await withPartFile(target, async (part) => {
      copyInto(part, file)
      await handleSignals()
      const backup = check(part)
      await handleSignals()
      requireNew()
      publish(part, target)
      return backup
    })
  } catch (error) {
    throw new StoreError(`cannot back up ${file} to ${name}: ${errorMessage(error)}`, { cause: error })
  }
}
