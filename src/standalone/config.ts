import type { Static, TSchema } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { problemsOf, Settings } from '../options.js'

/** Invalid or missing settings: `problems` has one sentence for each, `message` has all of them. */
export class ConfigError extends Error {
  override name = 'ConfigError'
  constructor (readonly problems: string[]) {
    super(problems.join('; '))
  }
}

/** All settings, checked and frozen. */
export type Config = Readonly<Static<typeof Settings>>

/** The environment variable of a setting: `DATABASE_URL` for `databaseUrl`. */
export function environmentName (name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()
}

/** Converts text to the type of a setting. Text that cannot be converted stays text, which the check rejects. */
function parse (schema: TSchema, text: string): unknown {
  if (schema.type === 'integer') return /^\d{1,15}$/.test(text) ? Number(text) : text
  if (schema.type === 'array') return text.split(',').map((item) => item.trim())
  return text
}

/**
 * Reads the configuration from environment variables. An empty variable counts as not set,
 * except for a secret key: an empty key is most likely a mistake.
 *
 * @throws {ConfigError} with every problem; the sentences name the settings and never repeat values
 */
export function loadConfig (env: Record<string, string | undefined>): Config {
  const values: Record<string, unknown> = {}
  for (const [name, schema] of Object.entries(Settings.properties)) {
    const text = env[environmentName(name)]
    if (text === undefined || (text === '' && schema.format !== 'secret-key')) continue
    values[name] = parse(schema, text)
  }
  // Value.Default returns unknown; for an object it returns the same object with defaults.
  const settings = Value.Default(Settings, values) as object
  if (Value.Check(Settings, settings)) return Object.freeze(settings)
  throw new ConfigError(problemsOf(Settings, settings, environmentName))
}
