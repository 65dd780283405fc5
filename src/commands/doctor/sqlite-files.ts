import { existsSync, lstatSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { ballastOf, lowBytes } from '../../database/sqlite/ballast.js'
import { filesOf } from '../../database/sqlite/file.js'
import { freeSpaceOf } from '../../database/sqlite/free-space.js'
import { folderProblem, ownerProblem } from '../../lib/new-file.js'
import { failure, type Finding, ok, warning } from './check.js'

const mebibyte = 1_048_576
const mebibytes = (bytes: number) => `${Math.round(bytes / mebibyte)} MiB`

/** A -wal is checkpointed at some 4 MiB: a small database can have a larger one than itself. */
const logUsualBytes = 8 * mebibyte
const logMaxBytes = 64 * mebibyte

/** Whether SQLite moves what it has written from -wal into the file. */
export function checkLogSize (path: string): Finding {
  const bytes = statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0
  const maxBytes = Math.min(logMaxBytes, Math.max(logUsualBytes, statSync(path).size))
  return bytes <= maxBytes ? ok(`-wal has ${mebibytes(bytes)}`) : warning(`-wal has ${mebibytes(bytes)}: SQLite cannot move it into the file`, 'a program keeps a transaction open: end it, or restart the server')
}

/** Who else can read or change the files of a database. */
function accessProblem (path: string, user: number | undefined): string | undefined {
  const { uid } = statSync(path)
  for (const file of filesOf(path).filter((name) => existsSync(name))) {
    const stats = lstatSync(file)
    if (!stats.isFile()) return `${file} is not a regular file`
    if (user !== undefined && (stats.mode & 0o077) !== 0) return `other users can read or change ${file}, which contains password hashes`
    if (ownerProblem(stats, user) !== undefined) return `${file} belongs to another user`
    if (stats.uid !== uid) return `${file} does not belong to the owner of ${path}, whose server cannot open it`
  }
  const folder = folderProblem(statSync(dirname(path)), user)
  return folder && `the folder ${dirname(path)} ${folder}`
}

/**
 * Whether only the owner can read and change the files of a database.
 *
 * @param user the uid of this process; undefined on Windows
 */
export function checkAccess (path: string, user: number | undefined): Finding {
  const problem = accessProblem(path, user)
  return problem === undefined ? ok('only the owner can read and change the files') : failure(problem, `run chmod 600 on ${path} and on its -wal and -shm, chown to the user of the server, and chmod 700 on the folder`)
}

/** Whether the disk has space for new users. */
export function checkSpace (path: string): Finding {
  const bytes = freeSpaceOf(dirname(path), Date.now).bytes()
  return bytes < lowBytes ? failure(`the disk has ${mebibytes(bytes)} left: signups are refused`, 'make room on the disk of the database') : ok(`the disk has ${mebibytes(bytes)} left`)
}

/** Whether there is a ballast file, which keeps logins possible on a full disk. */
export function checkReserve (path: string): Finding {
  return existsSync(ballastOf(path)) ? ok('16 MiB are reserved for a full disk') : warning('nothing is reserved for a full disk', 'the stand-alone server does it within a minute if 48 MiB are free; embedding apps have no reserve')
}
