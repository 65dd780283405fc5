import { accessSync, chmodSync, closeSync, constants, existsSync, lstatSync } from 'node:fs'
import { dirname } from 'node:path'
import { makeFolder, openNewFile, realFile } from '../../lib/new-file.js'

/** The name of a database that lives in memory. */
export const inMemory = ':memory:'

/** The file that a `sqlite://` URL names, in SQLAlchemy's spelling: the path follows the third slash; or `inMemory`. */
export function fileOf (url: string): string {
  // The driver trims the name of a file: everything must mean the same file.
  const path = url.slice('sqlite://'.length).replace(/^\//, '').trim()
  return path === '' ? inMemory : path
}

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
  // Not by opening it: closing it would release the locks of this process's other connections.
  accessSync(real, constants.R_OK | constants.W_OK)
  return real
}

/**
 * Makes a database unreadable for other users (0600). SQLite gives `-wal` and `-shm` the mode of
 * the file, but they may be older than that.
 *
 * @param path known to be a database of ours
 */
export function restrictAccess (path: string): void {
  for (const file of [path, `${path}-wal`, `${path}-shm`]) if (existsSync(file)) chmodSync(file, 0o600)
}
