import { randomBytes } from 'node:crypto'
import { accessSync, closeSync, constants, fchownSync, fstatSync, fsyncSync, lstatSync, openSync, readFileSync, renameSync, type Stats, unlinkSync, writeFileSync } from 'node:fs'
import { parseEnv } from 'node:util'
import { type Config, ConfigError, loadConfig } from './config.js'
import { effectiveUser, linkProblem, openNewFile, realFile, refuse, replacementProblem } from '../lib/new-file.js'
import { errorCode, errorMessage } from '../lib/error-code.js'
import { sleepSync } from '../lib/sleep-sync.js'
import { createSecretKey } from '../lib/secret-key.js'

const newline = 0x0a

type Environment = Record<string, string | undefined>

/** What a file says, and how it lies on the disk. */
interface EnvFile { bytes: Buffer, stats: Stats }

/** Reads a file; `undefined` where there is none. */
function readFile (path: string): EnvFile | undefined {
  try {
    const fd = openSync(path, 'r')
    try {
      return { stats: fstatSync(fd), bytes: readFileSync(fd) }
    } finally {
      closeSync(fd)
    }
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined
    throw new ConfigError([`${path} cannot be read: ${errorMessage(error)}`])
  }
}

/** The settings in a file. */
function settingsIn (file: EnvFile | undefined): Environment {
  // Some editors begin a file with a byte order mark; it belongs to no name.
  return file === undefined ? {} : parseEnv(file.bytes.toString('utf8').replace(/^\uFEFF/, ''))
}

/** Settings that let whoever knows them be anybody, or at the database. */
const secretSettings = ['SECRET_KEY', 'SECRET_KEY_PREVIOUS', 'DATABASE_URL']
const accessibleToOthers = 0o077

/** A sentence for the operator where a file with secrets in it can be read by others. */
function warningsAbout (path: string, file: EnvFile | undefined): string[] {
  // Windows has another way to say who may read a file.
  if (file === undefined || effectiveUser() === undefined) return []
  const settings = settingsIn(file)
  const secrets = secretSettings.filter((name) => settings[name])
  if (!file.stats.isFile() || (file.stats.mode & accessibleToOthers) === 0 || secrets.length === 0) return []
  return [`${path} has ${secrets.join(' and ')} in it, and other users of this machine can get at ${secrets.length > 1 ? 'them' : 'it'}: chmod 600 ${path}`]
}

/** How long another process may take to keep a key. */
const lockWaitMs = 2_000
const lockPollMs = 20

/** Takes the lock that lets one process at a time add a key; fails when it stays taken. */
function lock (path: string): void {
  const giveUpAt = Date.now() + lockWaitMs
  for (;;) {
    try {
      closeSync(openNewFile(path))
      return
    } catch (error) {
      if (errorCode(error) !== 'EEXIST' || Date.now() > giveUpAt) throw error
      sleepSync(lockPollMs)
    }
  }
}

/** What chown(2) takes for "leave it": nothing is for the group. */
const sameGroup = -1

/**
 * Has a new file take the place of a path, whole or not at all: whoever has the present one
 * open does not see what is in the new one, which nobody but its owner can read.
 *
 * @throws {Error} it cannot be written, or the present file is not ours to replace
 */
function replaceFile (path: string, present: EnvFile | undefined, bytes: Buffer): void {
  if (present !== undefined) {
    refuse('it', replacementProblem(present.stats, effectiveUser()))
    // To take its place, the folder must be writable; but one that is read-only shall stay as it is.
    accessSync(path, constants.W_OK)
  }
  const unfinished = `${path}.${randomBytes(8).toString('hex')}`
  const fd = openNewFile(unfinished)
  try {
    if (present !== undefined) fchownSync(fd, present.stats.uid, sameGroup)
    writeFileSync(fd, bytes)
    fsyncSync(fd)
    renameSync(unfinished, path)
  } catch (error) {
    unlinkSync(unfinished)
    throw error
  } finally {
    closeSync(fd)
  }
}

/** Where the file really is, or will be. */
function realPath (path: string): string {
  const present = lstatSync(path, { throwIfNoEntry: false })
  if (present === undefined) return path
  if (present.isSymbolicLink()) refuse('the symbolic link', linkProblem(present, effectiveUser()))
  return realFile(path)
}

/** Adds the key to the file, unless another process was faster. Nobody else can read the file afterwards. */
function keepSecretKey (path: string, secretKey: string): void {
  const real = realPath(path)
  const lockPath = `${real}.lock`
  lock(lockPath)
  try {
    const present = readFile(real)
    if (settingsIn(present).SECRET_KEY !== undefined) return
    const before = present?.bytes ?? Buffer.alloc(0)
    const separator = before.length === 0 || before.at(-1) === newline ? '' : '\n'
    const addition = `${separator}# Signs every token. Keep it secret; whoever has it can be anybody.\nSECRET_KEY=${secretKey}\n`
    replaceFile(real, present, Buffer.concat([before, Buffer.from(addition)]))
  } finally {
    unlinkSync(lockPath)
  }
}

/** A configuration, and what there is to say of it. */
export interface LoadedConfig {
  config: Config
  /** Whether its SECRET_KEY was made just now. */
  isSecretKeyNew: boolean
  /** What the operator should change, a sentence each. */
  warnings: string[]
}

/**
 * The configuration of this process: the environment, which wins, over a `.env` file.
 * Where neither has a SECRET_KEY, one is made and kept in the file (mode 0600), so that
 * tokens outlive a restart.
 *
 * @param options.mustHaveKey true: a key that is not there is refused, not made
 * @param options.keepsKey false: a new key is for this process only, which signs nothing
 * @throws {ConfigError} with every problem, or when the new key cannot be kept
 */
export function loadEnvironment (env: Environment, path = '.env', { keepsKey = true, mustHaveKey = false } = {}): LoadedConfig {
  const file = readFile(path)
  const present: Environment = { ...settingsIn(file), ...env }
  const warnings = warningsAbout(path, file)
  if (present.SECRET_KEY !== undefined) return { config: loadConfig(present), isSecretKeyNew: false, warnings }

  // Everything else is checked first: a start that is refused anyway leaves nothing behind.
  const config = loadConfig({ ...present, SECRET_KEY: createSecretKey() })
  if (mustHaveKey) throw new ConfigError(['SECRET_KEY is not set: the server has another one'])
  if (!keepsKey) return { config, isSecretKeyNew: false, warnings }

  try {
    keepSecretKey(path, config.secretKey)
  } catch (error) {
    throw new ConfigError([`SECRET_KEY is not set, and a new one cannot be kept in ${path} (${errorMessage(error)}): set SECRET_KEY in the environment, or let this folder be written to`])
  }
  // What the file says now counts: another process may have been faster.
  const kept = readFile(path)
  return { config: loadConfig({ ...settingsIn(kept), ...env }), isSecretKeyNew: true, warnings: warningsAbout(path, kept) }
}
