import { chmodSync, closeSync, openSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs'
import { parseEnv } from 'node:util'
import { type Config, ConfigError, loadConfig } from './config.js'
import { pause } from './lib/pause.js'
import { createSecretKey } from './lib/secret-keys.js'

type Environment = Record<string, string | undefined>

/** What a file says; nothing where there is none. */
function readFile (path: string): string {
  try {
    // Some editors begin a file with a byte order mark; it belongs to no name.
    return readFileSync(path, 'utf8').replace(/^\uFEFF/, '')
  } catch (error) {
    if (Object(error).code === 'ENOENT') return ''
    throw new ConfigError([`${path} cannot be read: ${Object(error).message}`])
  }
}

/** How long another process may take to keep a key. */
const lockWaitMs = 2_000
const lockPollMs = 20

/** Takes the lock that lets one process at a time add a key; fails when it stays taken. */
function lock (path: string): void {
  const giveUpAt = Date.now() + lockWaitMs
  for (;;) {
    try {
      closeSync(openSync(path, 'wx', 0o600))
      return
    } catch (error) {
      if (Object(error).code !== 'EEXIST' || Date.now() > giveUpAt) throw error
      pause(lockPollMs)
    }
  }
}

/** Adds the key to the file, unless another process was faster. Nobody else may read the file afterwards. */
function keepSecretKey (path: string, secretKey: string): void {
  const lockPath = `${path}.lock`
  lock(lockPath)
  try {
    const present = readFile(path)
    if (parseEnv(present).SECRET_KEY !== undefined) return
    const separator = present === '' || present.endsWith('\n') ? '' : '\n'
    writeFileSync(path, `${separator}# Signs every token. Keep it secret; whoever has it can be anybody.\nSECRET_KEY=${secretKey}\n`, { flag: 'a', mode: 0o600 })
    chmodSync(path, 0o600)
  } finally {
    unlinkSync(lockPath)
  }
}

/** A configuration, and whether its SECRET_KEY was made just now. */
export interface LoadedConfig {
  config: Config
  isSecretKeyNew: boolean
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
  const merged = (): Environment => ({ ...parseEnv(readFile(path)), ...env })
  const present = merged()
  if (present.SECRET_KEY !== undefined) return { config: loadConfig(present), isSecretKeyNew: false }

  // Everything else is checked first: a start that is refused anyway leaves nothing behind.
  const config = loadConfig({ ...present, SECRET_KEY: createSecretKey() })
  if (mustHaveKey) throw new ConfigError(['SECRET_KEY is not set: the server has another one'])
  if (!keepsKey) return { config, isSecretKeyNew: false }

  try {
    keepSecretKey(path, config.secretKey)
  } catch (error) {
    throw new ConfigError([`SECRET_KEY is not set, and a new one cannot be kept in ${path} (${Object(error).message}): set SECRET_KEY in the environment, or let this folder be written to`])
  }
  // What the file says now counts: another process may have been faster.
  return { config: loadConfig(merged()), isSecretKeyNew: true }
}
