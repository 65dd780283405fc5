import { readdirSync, type Stats, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { openReadOnly } from '../../database/sqlite/backup.js'
import { isLatchkey } from '../../database/sqlite/known-schema.js'
import { isWalFile } from '../../database/sqlite/read-only.js'
import { type Finding, ok, warning } from './check.js'

const dayMs = 86_400_000
/** How old the newest backup may be, in milliseconds. */
const backupMaxAgeMs = 7 * dayMs
/** How many files are opened at most, the newest first. */
const openedMax = 50

/** What `latchkey restore` keeps, and what is not complete. */
const noBackups = /-before-restore(?:-\d+)?$|\.part$|-(?:wal|shm|journal|reserve)$/

interface Candidate { path: string, stats: Stats }

/** The files in a folder that can be backups; none where it cannot be read. */
function candidatesIn (folder: string, database: Stats): Candidate[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isFile() && !noBackups.test(entry.name))
      .map(({ name }) => ({ path: join(folder, name), stats: statSync(join(folder, name)) }))
      .filter(({ stats }) => stats.ino !== database.ino || stats.dev !== database.dev)
  } catch {
    // There is no such folder, or it cannot be read.
    return []
  }
}

/** Whether `latchkey backup` has written a file: a database of ours that needs no other file. */
function isBackup ({ path }: Candidate): boolean {
  try {
    // One that is in use is in WAL mode, and opening it would create files.
    if (isWalFile(path)) return false
    const client = openReadOnly(path)
    try {
      return isLatchkey(client)
    } finally {
      client.close()
    }
  } catch {
    // No database, or not readable.
    return false
  }
}

/** How old the newest backup is that is next to a SQLite database, or in the folder `backups` there. */
export function checkBackups (file: string): Finding {
  const folders = [dirname(file), join(dirname(file), 'backups')]
  const database = statSync(file)
  const newest = folders
    .flatMap((folder) => candidatesIn(folder, database))
    .sort((a, b) => b.stats.mtimeMs - a.stats.mtimeMs)
    .slice(0, openedMax)
    .find(isBackup)
  const advice = 'run latchkey backup <file>, and schedule it (docs/operation.md); where your backups are elsewhere, look at the newest one there'
  if (newest === undefined) return warning(`there is no backup in ${folders.join(' or ')}`, advice)
  const ageMs = Date.now() - newest.stats.mtimeMs
  const age = `the newest backup, ${newest.path}, is ${Math.max(0, Math.floor(ageMs / dayMs))} days old`
  return ageMs > backupMaxAgeMs ? warning(age, advice) : ok(age)
}
