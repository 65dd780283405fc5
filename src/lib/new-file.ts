import { existsSync, mkdirSync, openSync, realpathSync, type Stats, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { errorCode } from './error-code.js'

// Whoever can write to a folder can put a link, a pipe or a file of their own where we are
// about to make one. So every file of ours is made exclusively, which follows no link at its
// name (open(2), O_EXCL), and only in folders that strangers cannot rearrange.

/** The user who may do everything. */
const rootUser = 0
const writableByOthers = 0o002
const sticky = 0o1000

/** The user that files are made as; undefined where files have no such owner (Windows). */
export const effectiveUser = (): number | undefined => process.geteuid?.()

type Ownership = Pick<Stats, 'uid' | 'mode'>

/**
 * Why no file should be made in a folder, as the end of a sentence that starts with it.
 * Containers run as root on folders of others, where exclusive creation must do.
 */
export function folderProblem ({ uid, mode }: Ownership, user: number | undefined): string | undefined {
  if (user === undefined) return undefined
  if (user !== rootUser && uid !== user && uid !== rootUser) return 'belongs to another user'
  if ((mode & writableByOthers) !== 0 && (mode & sticky) === 0) return 'can be written to by everybody'
}

/** Why a symbolic link should not be followed to a file that is to be replaced: who made it chose what it leads to. */
export function linkProblem ({ uid }: Pick<Ownership, 'uid'>, user: number | undefined): string | undefined {
  if (uid !== rootUser && uid !== user) return 'belongs to another user'
}

/** Why another file should not take the place of one: it would have another owner. Root can give it the same. */
export function replacementProblem ({ uid }: Pick<Ownership, 'uid'>, user: number | undefined): string | undefined {
  if (user !== undefined && user !== rootUser && uid !== user) return 'belongs to another user'
}

/** @throws {Error} there is a problem */
export function refuse (what: string, problem: string | undefined): void {
  if (problem !== undefined) throw new Error(`${what} ${problem}`)
}

/** @throws {Error} no file should be made in this folder */
function requireSafeFolder (folder: string): void {
  refuse(`the folder ${resolve(folder)}`, folderProblem(statSync(folder), effectiveUser()))
}

/** Makes a folder (0700), and those above it, where they do not exist. */
export function makeFolder (folder: string): void {
  if (existsSync(folder)) return
  let present = folder
  while (!existsSync(present)) present = dirname(present)
  requireSafeFolder(present)
  mkdirSync(folder, { recursive: true, mode: 0o700 })
}

/**
 * Makes a file that nobody else can read (0600), and opens it for writing.
 *
 * @returns its descriptor
 * @throws {Error} the folder is not safe, or there is something of that name already (`EEXIST`)
 */
export function openNewFile (path: string): number {
  requireSafeFolder(dirname(path))
  return openSync(path, 'wx', 0o600)
}

/**
 * Where a file really is: what is made beside it belongs there, not beside a link to it.
 *
 * @throws {Error} it is a link to nothing, or no regular file
 */
export function realFile (path: string): string {
  let real
  try {
    real = realpathSync(path)
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error
    throw new Error('it is a symbolic link to a file that is not there', { cause: error })
  }
  if (!statSync(real).isFile()) throw new Error('it is no regular file')
  return real
}
