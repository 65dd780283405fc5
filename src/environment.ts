import { chmodSync, linkSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs'
import { parseEnv } from 'node:util'
import { type Config, ConfigError, loadConfig } from './config.js'
import { createSecretKey } from './lib/secret-keys.js'

type Environment = Record<string, string | undefined>

function readFile (path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (Object(error).code === 'ENOENT') return undefined
    throw new ConfigError([`${path} cannot be read: ${Object(error).message}`])
  }
}

/** Writes the file whole, readable by nobody else; fails where it exists. */
function createFile (path: string, content: string): void {
  const draft = `${path}.${process.pid}`
  writeFileSync(draft, content, { mode: 0o600 })
  try {
    linkSync(draft, path)
  } finally {
    unlinkSync(draft)
  }
}

function keepSecretKey (path: string, secretKey: string): void {
  const lines = `# Signs every token. Keep it secret; whoever has it can be anybody.\nSECRET_KEY=${secretKey}\n`
  const present = readFile(path)
  if (present === undefined) {
    createFile(path, lines)
  } else {
    writeFileSync(path, `${present === '' || present.endsWith('\n') ? '' : '\n'}${lines}`, { flag: 'a' })
    chmodSync(path, 0o600)
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
 * @throws {ConfigError} with every problem, or when the new key cannot be kept
 */
export function loadEnvironment (env: Environment, path = '.env'): LoadedConfig {
  const merged = (): Environment => ({ ...parseEnv(readFile(path) ?? ''), ...env })
  const present = merged()
  if (present.SECRET_KEY !== undefined) return { config: loadConfig(present), isSecretKeyNew: false }

  // Everything else is checked first: a start that is refused anyway leaves nothing behind.
  loadConfig({ ...present, SECRET_KEY: createSecretKey() })
  let reason = ''
  try {
    keepSecretKey(path, createSecretKey())
  } catch (error) {
    reason = Object(error).message
  }
  // What the file says now counts: another process may have been faster.
  const kept = merged()
  if (kept.SECRET_KEY === undefined) {
    throw new ConfigError([`SECRET_KEY is not set, and a new one cannot be kept in ${path} (${reason}): set SECRET_KEY in the environment, or let this folder be written to`])
  }
  return { config: loadConfig(kept), isSecretKeyNew: true }
}
