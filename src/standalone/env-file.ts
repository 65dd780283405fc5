import { closeSync, fstatSync, openSync, readFileSync, type Stats } from 'node:fs'
import { parseEnv } from 'node:util'
import { errorCode } from '../lib/error-code.js'
import { effectiveUser } from '../lib/new-file.js'
import { describeError } from '../lib/system-error.js'
import { ConfigError } from './config.js'

/** Environment variables by name. */
export type Environment = Record<string, string | undefined>

/** The content of a `.env` file, and its owner and permissions. */
export interface EnvFile { bytes: Buffer, stats: Stats }

/**
 * Reads a `.env` file.
 *
 * @returns undefined when the file does not exist
 * @throws {ConfigError} the file cannot be read
 */
export function readEnvFile (path: string): EnvFile | undefined {
  try {
    const fd = openSync(path, 'r')
    try {
      return { stats: fstatSync(fd), bytes: readFileSync(fd) }
    } finally {
      closeSync(fd)
    }
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined
    throw new ConfigError([`cannot read ${path}: ${describeError(error)}`])
  }
}

/** The settings in a `.env` file; none when it does not exist. */
export function settingsIn (file: EnvFile | undefined): Environment {
  // Some editors write a byte order mark, which parseEnv would take for part of the first name.
  return file === undefined ? {} : parseEnv(file.bytes.toString('utf8').replace(/^\uFEFF/, ''))
}

/** Settings that give access to every account or to the database. */
const secretSettings = ['SECRET_KEY', 'SECRET_KEY_PREVIOUS', 'DATABASE_URL', 'SMTP_URL']
/** The permissions of the group and of others. */
const accessibleToOthers = 0o077

/** Warnings for the operator: other users can read or change a file that contains secrets. */
export function permissionWarnings (path: string, file: EnvFile | undefined): string[] {
  // Windows has no such permissions.
  if (file === undefined || effectiveUser() === undefined) return []
  const settings = settingsIn(file)
  const secrets = secretSettings.filter((name) => settings[name])
  if (!file.stats.isFile() || (file.stats.mode & accessibleToOthers) === 0 || secrets.length === 0) return []
  return [`other users of this machine can read or change ${path}, which contains ${secrets.join(' and ')}: run chmod 600 ${path}`]
}
