import { closeSync, existsSync, openSync, readFileSync, readSync, statSync } from 'node:fs'
import Database from 'better-sqlite3'
import { openReadOnly } from './backup.js'

/** Where a file says whether it is written with WAL: two bytes, 2 for WAL. @see https://www.sqlite.org/fileformat.html#file_format_version_numbers */
const formatOffset = 18
const walFormat = 2
const rollbackFormat = 1

/** The largest database that is read into memory, in bytes. */
const copyMaxBytes = 268_435_456

/** Whether a database is in WAL mode: says its file, of which nothing else is read. */
export function isWalFile (path: string): boolean {
  const bytes = Buffer.alloc(2)
  const fd = openSync(path, 'r')
  try {
    readSync(fd, bytes, 0, bytes.length, formatOffset)
  } finally {
    closeSync(fd)
  }
  return bytes.every((byte) => byte === walFormat)
}

/**
 * Opens a database without creating a file. SQLite itself would create `-wal` and `-shm` next to a
 * database in WAL mode, also for a connection that only reads: where they are missing, nobody has
 * the database open and its file is complete, so a copy in memory is opened.
 *
 * @param path the file, with symbolic links resolved
 * @throws {Error} SQLite cannot open it, or not without creating a file
 */
export function openWithoutWriting (path: string): Database.Database {
  const exist = ['-wal', '-shm'].map((suffix) => existsSync(path + suffix))
  if (exist.every(Boolean) || !isWalFile(path)) return openReadOnly(path)
  if (exist.some(Boolean)) throw new Error('it has only one of the two files -wal and -shm, so it cannot be read without creating the other: start the server, or run latchkey migrate')
  if (statSync(path).size > copyMaxBytes) throw new Error('it is too large to be examined while no server has it open: start the server')
  const copy = readFileSync(path)
  // Meanwhile a server has opened it: the copy may be torn.
  if (existsSync(`${path}-wal`)) return openReadOnly(path)
  // There is no WAL in memory.
  copy.fill(rollbackFormat, formatOffset, formatOffset + 2)
  return new Database(copy, { readonly: true })
}
