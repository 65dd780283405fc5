import { existsSync, mkdirSync, openSync, realpathSync, type Stats, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { errorCode } from './error-code.js'

// A user who can write to a folder can put a link, a pipe or a file where we are about to
// create one. So we create every file exclusively, which follows no link (open(2), O_EXCL), and
// only in folders that other users cannot change.

/** The uid of root. */
const rootUser = 0
const writableByOthers = 0o002
const sticky = 0o1000

/** The uid that owns new files; undefined on Windows. */
export const effectiveUser = (): number | undefined => process.geteuid?.()

type Ownership = Pick<Stats, 'uid' | 'mode'>

/** Why a file or a folder is not safe from its owner, as the end of a sentence: it belongs neither to this process's user nor to root. Root may use what others own. */
export function ownerProblem ({ uid }: Pick<Ownership, 'uid'>, user: number | undefined): string | undefined {
  if (user !== undefined && user !== rootUser && uid !== user && uid !== rootUser) return 'belongs to another user'
}

/**
 * Why a folder is not safe for new files, as the end of a sentence that starts with the folder.
 * Root may use folders of other users, because containers do: there, exclusive creation must be enough.
 *
 * @param user the uid of this process; undefined on Windows
 */
export function folderProblem ({ uid, mode }: Ownership, user: number | undefined): string | undefined {
  const problem = ownerProblem({ uid }, user)
  if (user === undefined || problem !== undefined) return problem
  if ((mode & writableByOthers) !== 0 && (mode & sticky) === 0) return 'can be written to by everybody'
}

/** Why a symbolic link must not be followed to a file that is to be replaced: its owner chose the target. */
export function linkProblem ({ uid }: Pick<Ownership, 'uid'>, user: number | undefined): string | undefined {
  if (uid !== rootUser && uid !== user) return 'belongs to another user'
}

/** Why a file must not be replaced: the new file would have another owner, unless root restores it. */
export function replacementProblem ({ uid }: Pick<Ownership, 'uid'>, user: number | undefined): string | undefined {
  if (user !== undefined && user !== rootUser && uid !== user) return 'belongs to another user'
}

/** @throws {Error} `problem` is not undefined */
export function throwProblem (name: string, problem: string | undefined): void {
  if (problem !== undefined) throw new Error(`${name} ${problem}`)
}

/** @throws {Error} the folder is not safe for new files */
function requireSafeFolder (folder: string): void {
  throwProblem(`the folder ${resolve(folder)}`, folderProblem(statSync(folder), effectiveUser()))
}

/**
 * Creates a folder (0700) and its parents, unless they exist.
 *
 * @throws {Error} the parent is not safe for new files
 */
export function makeFolder (folder: string): void {
  if (existsSync(folder)) return
  let existing = folder
  while (!existsSync(existing)) existing = dirname(existing)
  requireSafeFolder(existing)
  mkdirSync(folder, { recursive: true, mode: 0o700 })
}

/**
 * Creates a file that only its owner can read (0600), and opens it for writing.
 *
 * @returns its descriptor
 * @throws {Error} the folder is not safe, or the file exists (`EEXIST`)
 */
export function openNewFile (path: string): number {
  requireSafeFolder(dirname(path))
  return openSync(path, 'wx', 0o600)
}

/**
 * The path of a file without symbolic links: new files next to it belong there, not next to a link.
 *
 * @throws {Error} it is a link to a missing file, or not a regular file
 */
export function realFile (path: string): string {
  let real
  try {
    real = realpathSync(path)
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error
    throw new Error('it is a symbolic link to a missing file', { cause: error })
  }
  if (!statSync(real).isFile()) throw new Error('it is not a regular file')
  return real
}
