import { randomFillSync } from 'node:crypto'
import { createWriteStream, lstatSync, rmSync, unlinkSync } from 'node:fs'
import { rename } from 'node:fs/promises'
import { dirname } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type Database from 'better-sqlite3'
import { errorCode } from '../../lib/error-code.js'
import { openNewFile } from '../../lib/new-file.js'
import { freeSpaceOf } from './free-space.js'

/** The size of the ballast file, in bytes: space for some ten thousand logins on a full disk. */
const ballastBytes = 16_777_216
/** With less free space than this, in bytes, the disk counts as nearly full. */
export const lowBytes = 2 * ballastBytes
/** When the ballast file is created after the start, and how often it is checked, in milliseconds. */
const firstCheckMs = 1_000
const checkIntervalMs = 60_000

/** A file that takes up space on the disk of a database, to be deleted when the disk is full. */
export interface Ballast {
  /** Deletes the file, if it is there. */
  release: () => void
  /** Whether so little space is left that new users must not take it. */
  isNearlyFull: () => boolean
  /** Ends the checks; resolves when no file is being created any more. */
  close: () => Promise<void>
}

/** The ballast file of a database: next to it, `<file>-reserve`. */
export const ballastOf = (file: string) => `${file}-reserve`

/** Deletes the ballast file of a database, whichever process created it. */
function releaseBallast (file: string): void {
  try {
    unlinkSync(ballastOf(file))
  } catch {
    // It is not there, or what is there cannot be deleted.
  }
}

/** Whether another process is creating the unfinished file now. One that was left by a crash is deleted. */
function isBeingCreated (unfinished: string): boolean {
  const stats = lstatSync(unfinished, { throwIfNoEntry: false })
  if (stats === undefined) return false
  if (Date.now() - stats.mtimeMs < checkIntervalMs) return true
  unlinkSync(unfinished)
  return false
}

/** Creates the ballast file at `path`. Where it cannot be created there is none. */
async function createBallast (path: string): Promise<void> {
  // Under another name until it is complete.
  const unfinished = `${path}.part`
  let fd: number | undefined
  try {
    if (isBeingCreated(unfinished)) return
    fd = openNewFile(unfinished)
    // Random, because some file systems compress.
    await pipeline(Readable.from([randomFillSync(Buffer.alloc(ballastBytes))]), createWriteStream(unfinished, { fd }))
    await rename(unfinished, path)
  } catch {
    if (fd !== undefined) rmSync(unfinished, { force: true })
  }
}

/**
 * Keeps a ballast file next to a database. Most often something else fills the disk, such as logs:
 * users must still be able to log in.
 *
 * @param file the path of the database
 * @param now the clock, in milliseconds
 */
export function keepBallast (file: string, now: () => number): Ballast {
  const path = ballastOf(file)
  const freeSpace = freeSpaceOf(dirname(file), now)

  async function check (): Promise<void> {
    try {
      if (lstatSync(path, { throwIfNoEntry: false }) === undefined && freeSpace.bytes() >= ballastBytes + lowBytes) await createBallast(path)
    } catch {
      // The folder cannot be read: there is no ballast file, until a later check.
    }
  }

  let checking = Promise.resolve()
  const startCheck = () => { checking = check() }
  const timers = [setTimeout(startCheck, firstCheckMs).unref(), setInterval(startCheck, checkIntervalMs).unref()]
  return {
    release: () => releaseBallast(file),
    isNearlyFull: () => freeSpace.recentBytes() < lowBytes,
    async close () {
      timers.forEach(clearTimeout)
      await checking
    }
  }
}

/** The ballast file that a server may keep next to a database: never created here, but released when the disk is full. */
export function foreignBallast (file: string): Ballast {
  return { release: () => releaseBallast(file), isNearlyFull: () => false, close: async () => {} }
}

/** For a database in memory. */
export const noBallast: Ballast = { release: () => {}, isNearlyFull: () => false, close: async () => {} }

/** Whether SQLite found no space on the disk; of its shared memory it says so with a code of its own. */
export function isDiskFull (error: unknown): boolean {
  return /^SQLITE_(?:FULL|IOERR_SHM\w*|IOERR_WRITE)$/.test(errorCode(error) ?? '')
}

/**
 * Runs a write; when the disk is full it releases the ballast file and runs the write once more.
 * Not inside a transaction, which SQLite may have rolled back: it is retried as a whole.
 */
export function retryWhenFull<Result> (client: Database.Database, { release }: Pick<Ballast, 'release'>, write: () => Result): Result {
  const isInTransaction = client.inTransaction
  try {
    return write()
  } catch (error) {
    if (isInTransaction || !isDiskFull(error)) throw error
    release()
    return write()
  }
}
