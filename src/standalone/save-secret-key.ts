import { randomBytes } from 'node:crypto'
import { accessSync, closeSync, constants, fchownSync, fsyncSync, lstatSync, renameSync, unlinkSync, writeFileSync } from 'node:fs'
import { errorCode } from '../lib/error-code.js'
import { effectiveUser, linkProblem, openNewFile, realFile, replacementProblem, throwProblem } from '../lib/new-file.js'
import { sleepSync } from '../lib/sleep-sync.js'
import { type EnvFile, readEnvFile, settingsIn } from './env-file.js'

const newline = 0x0a

/** How long to wait for another process that saves a key. */
const lockWaitMs = 2_000
const lockPollMs = 20

/** Another process holds the lock, or has left it behind. */
export class LockError extends Error {
  override name = 'LockError'
}

/**
 * Creates the lock file, which one process at a time can hold.
 *
 * @throws {LockError} the lock file still exists after `lockWaitMs`
 * @throws {Error} the file cannot be created
 */
function acquireLock (path: string): void {
  const giveUpAt = Date.now() + lockWaitMs
  for (;;) {
    try {
      closeSync(openNewFile(path))
      return
    } catch (error) {
      if (errorCode(error) !== 'EEXIST') throw error
      if (Date.now() > giveUpAt) throw new LockError(`${path} exists: another process is saving one. If no other Latchkey is starting now, the file is left over: delete it and start again`)
      sleepSync(lockPollMs)
    }
  }
}

/** chown(2) leaves the group unchanged: the group has no access. */
const sameGroup = -1

/**
 * Replaces a file atomically with one that only its owner can read. A process that has the old
 * file open does not see the new content.
 *
 * @throws {Error} the new file cannot be written, or the old file belongs to another user
 */
function replaceFile (path: string, current: EnvFile | undefined, bytes: Buffer): void {
  if (current !== undefined) {
    throwProblem('it', replacementProblem(current.stats, effectiveUser()))
    // Renaming needs write access to the folder only; a read-only file must stay unchanged too.
    accessSync(path, constants.W_OK)
  }
  const temporary = `${path}.${randomBytes(8).toString('hex')}`
  const fd = openNewFile(temporary)
  try {
    if (current !== undefined) fchownSync(fd, current.stats.uid, sameGroup)
    writeFileSync(fd, bytes)
    fsyncSync(fd)
    renameSync(temporary, path)
  } catch (error) {
    unlinkSync(temporary)
    throw error
  } finally {
    closeSync(fd)
  }
}

/** Follows a symbolic link; a path without a file stays as it is. */
function resolveLink (path: string): string {
  const current = lstatSync(path, { throwIfNoEntry: false })
  if (current === undefined) return path
  if (current.isSymbolicLink()) throwProblem('the symbolic link', linkProblem(current, effectiveUser()))
  return realFile(path)
}

/**
 * Adds a SECRET_KEY to a `.env` file, unless another process has just added one. Afterwards
 * only the owner can read the file (0600).
 *
 * @throws {LockError} another process is saving a key, or a lock file is left over
 * @throws {Error} the file cannot be written safely
 */
export function saveSecretKey (path: string, secretKey: string): void {
  const realPath = resolveLink(path)
  const lockPath = `${realPath}.lock`
  acquireLock(lockPath)
  try {
    const current = readEnvFile(realPath)
    if (settingsIn(current).SECRET_KEY !== undefined) return
    const before = current?.bytes ?? Buffer.alloc(0)
    const separator = before.length === 0 || before.at(-1) === newline ? '' : '\n'
    const addition = `${separator}# Signs every token. Keep it secret: with it, anyone can log in as any user.\nSECRET_KEY=${secretKey}\n`
    replaceFile(realPath, current, Buffer.concat([before, Buffer.from(addition)]))
  } finally {
    unlinkSync(lockPath)
  }
}
