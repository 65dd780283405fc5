import { describeError } from '../lib/system-error.js'
import { createSecretKey } from '../lib/secret-key.js'
import { type Config, ConfigError, loadConfig } from './config.js'
import { type Environment, permissionWarnings, readEnvFile, settingsIn } from './env-file.js'
import { misspeltSettings } from './misspelt-settings.js'
import { LockError, saveSecretKey } from './save-secret-key.js'

/** A configuration, and what the operator should know about it. */
export interface LoadedConfig {
  config: Config
  /** Whether the environment or the file has the SECRET_KEY of the configuration; false if it is a temporary one. */
  hasSecretKey: boolean
  /** Whether the SECRET_KEY was created and saved just now. */
  isSecretKeyNew: boolean
  /** What the operator should change, one sentence each. */
  warnings: string[]
}

/** What this process needs. */
export interface EnvironmentOptions {
  /**
   * What happens when there is no SECRET_KEY. `create`: one is created and saved, for the
   * server. `require`: that is an error, for a process that must sign as the server does.
   * `ignore`: nothing, for a process that signs no tokens.
   */
  missingKey?: 'create' | 'require' | 'ignore'
  /** Whether the file is Latchkey's alone: every other name in it is then an error. */
  isOwnFile?: boolean
}

/**
 * Loads the configuration of this process from the environment and a `.env` file; the
 * environment takes precedence. A new SECRET_KEY is saved in the file (mode 0600), so that
 * tokens stay valid after a restart.
 *
 * @throws {ConfigError} with every problem, or when the new key cannot be saved
 */
export function loadEnvironment (env: Environment, path = '.env', { missingKey = 'create', isOwnFile = true }: EnvironmentOptions = {}): LoadedConfig {
  const file = readEnvFile(path)
  const settingsOfFile = settingsIn(file)
  const misspelt = misspeltSettings(env, settingsOfFile, path, isOwnFile)
  const settings: Environment = { ...settingsOfFile, ...env }
  const warnings = permissionWarnings(path, file)
  if (settings.SECRET_KEY !== undefined) return { config: loadConfig(settings, misspelt), hasSecretKey: true, isSecretKeyNew: false, warnings }

  // All other settings are checked first: when they stop startup, no key is saved.
  const config = loadConfig({ ...settings, SECRET_KEY: createSecretKey() }, misspelt)
  if (missingKey === 'require') throw new ConfigError(['SECRET_KEY is not set: set it to the key of the server'])
  if (missingKey === 'ignore') return { config, hasSecretKey: false, isSecretKeyNew: false, warnings }

  try {
    saveSecretKey(path, config.secretKey)
  } catch (error) {
    if (error instanceof LockError) throw new ConfigError([`SECRET_KEY is not set, and a new one cannot be saved: ${error.message}`])
    throw new ConfigError([`SECRET_KEY is not set, and a new one cannot be saved in ${path} (${describeError(error)}): set SECRET_KEY in the environment, or make the folder writable`])
  }
  // The saved key counts: another process may have saved one first.
  const saved = readEnvFile(path)
  return { config: loadConfig({ ...settingsIn(saved), ...env }), hasSecretKey: true, isSecretKeyNew: true, warnings: permissionWarnings(path, saved) }
}
