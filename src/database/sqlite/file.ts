import { accessSync, chmodSync, closeSync, constants, existsSync, lstatSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import type Database from 'better-sqlite3'
import { effectiveUser, makeFolder, openNewFile, realFile } from '../../lib/new-file.js'

/** The name of a database that lives in memory. */
export const inMemory = ':memory:'

/** The file that a `sqlite://` URL names, in SQLAlchemy's spelling: the path follows the third slash; or `inMemory`. */
export function fileOf (url: string): string {
  // The driver trims the name of a file: everything must mean the same file.
  const path = url.slice('sqlite://'.length).replace(/^\//, '').trim()
  return path === '' ? inMemory : path
}

/** The files of a database: WAL has two more next to the first. */
export const filesOf = (path: string) => [path, `${path}-wal`, `${path}-shm`]

/**
 * Creates the folder (0700) and the file (0600) where they do not exist: password hashes are
 * stored in it.
 *
 * @returns the path of the file, with symbolic links resolved
 * @throws {Error} it cannot be created, or what is there is no regular file that can be read and written
 */
export function prepareFile (file: string): string {
  makeFolder(dirname(file))
  try {
    closeSync(openNewFile(file))
  } catch (error) {
    // An existing file is used, even if other users can write to its folder.
    if (lstatSync(file, { throwIfNoEntry: false }) === undefined) throw error
  }
  const real = realFile(file)
  // SQLite would follow a link to them.
  for (const other of filesOf(real)) if (lstatSync(other, { throwIfNoEntry: false })?.isFile() === false) throw new Error(`${other} is not a regular file`)
  // Not by opening it: closing it would release the locks of this process's other connections.
  accessSync(real, constants.R_OK | constants.W_OK)
  return real
}

/** What identifies a file, whatever its name; undefined when there is none at this path, or it cannot be looked up. */
function identityOf (path: string): string | undefined {
  try {
    const { dev, ino } = statSync(path, { bigint: true })
    return `${dev}:${ino}`
  } catch {
    return undefined
  }
}

/** Whether two paths lead to the same file, which can have several names. */
export function isSameFile (path: string, other: string): boolean {
  const identity = identityOf(path)
  return identity !== undefined && identity === identityOf(other)
}

/**
 * The path of the file that SQLite has opened, as SQLite says itself: the driver trims names.
 *
 * @param path the file that was meant
 * @throws {Error} SQLite has opened another one
 */
export function openedFile (client: Database.Database, path: string): string {
  // The pragma itself, which unlike a query needs no lock.
  const [main] = client.pragma('database_list') as Array<{ file: string }>
  const opened = String(main?.file)
  if (identityOf(opened) !== identityOf(path)) throw new Error(`SQLite opened another file: ${opened}`)
  return opened
}

/**
 * Makes a database unreadable for other users (0600). SQLite gives `-wal` and `-shm` the mode of
 * the file, but they may be older than that.
 *
 * @param path what SQLite has opened, known to be a database of ours
 * @throws {Error} a mode cannot be changed
 */
export function restrictAccess (path: string): void {
  for (const file of filesOf(path).filter((name) => existsSync(name))) {
    chmodSync(file, 0o600)
    // Some file systems have no modes, and report no error.
    if ((statSync(file).mode & 0o077) !== 0 && effectiveUser() !== undefined) throw new Error(`other users can read or change ${file}, and its mode cannot be changed: use a file system with modes`)
  }
}

/** How often the files of a database are looked at, in milliseconds. */
const checkIntervalMs = 10_000

/** Looks whether the files of an open database are still in their places. */
export interface FileWatch {
  /** @throws {Error} one of them was deleted, moved or replaced */
  check: () => void
  close: () => void
}

/**
 * Watches the files of an open database. On Unix an open file lives on without its name: SQLite
 * notices nothing, and what it writes is gone when the process ends.
 *
 * @param name the path that the operator knows, which may lead over symbolic links
 * @param path what SQLite has opened
 * @param onChange called when a file was lost, with the problem, and when all are back
 */
export function watchFiles (name: string, path: string, onChange: (problem?: string) => void): FileWatch {
  const known = [resolve(name), ...filesOf(path)].map((file) => ({ file, identity: identityOf(file) }))
  let isLost = false

  function check (): void {
    const lost = known.find(({ file, identity }) => identityOf(file) !== identity)
    const problem = lost && `${lost.file} ${existsSync(lost.file) ? 'was replaced' : 'is gone'}: what the server writes now will be lost. Stop the server, put the database back in its place, and start the server again.`
    if (isLost !== (problem !== undefined)) onChange(problem)
    isLost = problem !== undefined
    // SQLite's own code for a database that was moved.
    if (isLost) throw Object.assign(new Error(problem), { code: 'SQLITE_READONLY_DBMOVED' })
  }

  const timer = setInterval(() => {
    try {
      check()
    } catch {
      // `onChange` was told.
    }
  }, checkIntervalMs).unref()
  return { check, close: () => clearInterval(timer) }
}

/** For a database in memory. */
export const noFiles: FileWatch = { check: () => {}, close: () => {} }
