import { errorMessage } from '../lib/error-code.js'
import { createSecretKey } from '../lib/secret-key.js'
import { type Config, ConfigError, loadConfig } from './config.js'
import { type Environment, permissionWarnings, readEnvFile, settingsIn } from './env-file.js'
import { saveSecretKey } from './save-secret-key.js'

/** A configuration, and what the operator should know about it. */
export interface LoadedConfig {
  config: Config
  /** Whether the SECRET_KEY was created and saved just now. */
  isSecretKeyNew: boolean
  /** What the operator should change, one sentence each. */
  warnings: string[]
}

/**
 * Loads the configuration of this process from the environment and a `.env` file; the
 * environment takes precedence. When neither has a SECRET_KEY, creates one and saves it in the
 * file (mode 0600), so that tokens stay valid after a restart.
 *
 * @param options.mustHaveKey true: rejects a missing key instead of creating one
 * @param options.keepsKey false: does not save a new key, for a process that signs no tokens
 * @throws {ConfigError} with every problem, or when the new key cannot be saved
 */
export function loadEnvironment (env: Environment, path = '.env', { keepsKey = true, mustHaveKey = false } = {}): LoadedConfig {
  const file = readEnvFile(path)
  const settings: Environment = { ...settingsIn(file), ...env }
  const warnings = permissionWarnings(path, file)
  if (settings.SECRET_KEY !== undefined) return { config: loadConfig(settings), isSecretKeyNew: false, warnings }

  // All other settings are checked first: when they stop startup, no key is saved.
  const config = loadConfig({ ...settings, SECRET_KEY: createSecretKey() })
  if (mustHaveKey) throw new ConfigError(['SECRET_KEY is not set: set it to the key of the server'])
  if (!keepsKey) return { config, isSecretKeyNew: false, warnings }

  try {
    saveSecretKey(path, config.secretKey)
  } catch (error) {
    throw new ConfigError([`SECRET_KEY is not set, and a new one cannot be saved in ${path} (${errorMessage(error)}): set SECRET_KEY in the environment, or make the folder writable`])
  }
  // The saved key counts: another process may have saved one first.
  const saved = readEnvFile(path)
  return { config: loadConfig({ ...settingsIn(saved), ...env }), isSecretKeyNew: true, warnings: permissionWarnings(path, saved) }
}
