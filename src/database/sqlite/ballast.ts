import { randomFillSync } from 'node:crypto'
import { createWriteStream, lstatSync, rmSync, statfsSync, unlinkSync } from 'node:fs'
import { rename } from 'node:fs/promises'
import { dirname } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type Database from 'better-sqlite3'
import { openNewFile } from '../../lib/new-file.js'
import type { Around } from './writes.js'

/** What is set aside, in bytes: space for some ten thousand logins, however full the disk is. */
const ballastBytes = 16_777_216
/** With less than this that is free, in bytes, the disk counts as nearly full. */
const lowBytes = 2 * ballastBytes
/** When the reserve is made after the start, and how often it is looked after, in milliseconds. */
const firstLookMs = 1_000
const lookMs = 60_000

/** Space on the disk that is given up when there is none left. */
export interface Ballast {
  /** Gives the space up, unless there is none to give. */
  release: () => void
  /** Whether there is so little space left that it should be kept for those who are here already. */
  isNearlyFull: () => boolean
  close: () => void
}

/**
 * Sets space aside beside a database, in a file of its own. A disk is most often filled by
 * something else, such as logs; that shall keep nobody from logging in.
 */
export function keepBallast (file: string): Ballast {
  const path = `${file}-reserve`
  const folder = dirname(file)

  /** How much is free; where nobody can say, as much as one likes. */
  function freeBytes (): number {
    try {
      const { bavail, bsize } = statfsSync(folder)
      return bavail * bsize
    } catch {
      return Infinity
    }
  }

  /** Whether the unfinished file of another process is there. What was left by one that crashed is removed. */
  function isBeingMade (unfinished: string): boolean {
    const present = lstatSync(unfinished, { throwIfNoEntry: false })
    if (present === undefined) return false
    if (Date.now() - present.mtimeMs < lookMs) return true
    unlinkSync(unfinished)
    return false
  }

  /** Makes the reserve where there is none and room for it; whoever cannot have one does without. */
  async function look (): Promise<void> {
    if (lstatSync(path, { throwIfNoEntry: false }) !== undefined || freeBytes() < ballastBytes + lowBytes) return
    // Under another name until it is whole.
    const unfinished = `${path}.part`
    let fd: number | undefined
    try {
      if (isBeingMade(unfinished)) return
      fd = openNewFile(unfinished)
      // Random, for file systems that compress.
      await pipeline(Readable.from([randomFillSync(Buffer.alloc(ballastBytes))]), createWriteStream(unfinished, { fd }))
      await rename(unfinished, path)
    } catch {
      if (fd !== undefined) rmSync(unfinished, { force: true })
    }
  }

  const timers = [setTimeout(look, firstLookMs).unref(), setInterval(look, lookMs).unref()]
  return {
    release () {
      try {
        unlinkSync(path)
      } catch {
        // There is none, or what is there is not ours to remove.
      }
    },
    isNearlyFull: () => freeBytes() < lowBytes,
    close: () => timers.forEach(clearTimeout)
  }
}

/** What there is of a reserve where nothing is on a disk. */
export const noBallast: Ballast = { release: () => {}, isNearlyFull: () => false, close: () => {} }

/** Whether SQLite had no room on the disk; for its shared memory it says so in another way. */
export function isDiskFull (error: unknown): boolean {
  return /^SQLITE_(?:FULL|IOERR_SHM\w*|IOERR_WRITE)$/.test(Object(error).code)
}

/**
 * Lets writes go on for a while when the disk is full, by giving the reserve up. Inside a
 * transaction nothing is tried again: it may be over, and is tried as a whole.
 */
export function retryWhenFull (client: Database.Database, { release }: Ballast): Around {
  return (write) => {
    const isInTransaction = client.inTransaction
    try {
      return write()
    } catch (error) {
      if (isInTransaction || !isDiskFull(error)) throw error
      release()
      return write()
    }
  }
}
