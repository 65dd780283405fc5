import type { Static, TSchema } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { Settings } from '../options.js'
import { problemsOf } from '../resolve-options.js'

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
 * @param otherProblems what else is wrong with the environment, to be reported together
 * @throws {ConfigError} with every problem
 */
export function loadConfig (env: Record<string, string | undefined>, otherProblems: string[] = []): Config {
  const given: Record<string, string> = {}
  const values: Record<string, unknown> = {}
  for (const [name, schema] of Object.entries(Settings.properties)) {
    const text = env[environmentName(name)]
    if (text === undefined || (text === '' && schema.format !== 'secret-key')) continue
    given[name] = text
    values[name] = parse(schema, text)
  }
  // Value.Default returns unknown; for an object it returns the same object with defaults.
  const settings = Value.Default(Settings, values) as object
  const problems = [...otherProblems, ...problemsOf(Settings, settings, { nameOf: environmentName, given })]
  if (problems.length > 0) throw new ConfigError(problems)
  // Without a problem it has the types of the schema.
  return Object.freeze(settings as Config)
}
