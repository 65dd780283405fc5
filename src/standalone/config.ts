import type { Static, TSchema } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { problemsOf, Settings } from '../options.js'

/** Settings that are wrong or missing; `problems` has one sentence for each, and `message` has them all. */
export class ConfigError extends Error {
  override name = 'ConfigError'
  constructor (readonly problems: string[]) {
    super(problems.join('; '))
  }
}

/** The settings, checked and frozen. */
export type Config = Readonly<Static<typeof Settings>>

/** A setting as the environment spells it: `databaseUrl` is `DATABASE_URL`. */
export function environmentName (name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()
}

/** Text as the type that a setting has; what does not look like it stays text and is refused. */
function parse (schema: TSchema, text: string): unknown {
  if (schema.type === 'integer') return /^\d{1,15}$/.test(text) ? Number(text) : text
  if (schema.type === 'array') return text.split(',').map((item) => item.trim())
  return text
}

/**
 * The configuration that an environment asks for. A setting that is empty is a setting
 * that is not there, except a secret, where emptiness is most likely an accident.
 *
 * @throws {ConfigError} with every problem, each named after its setting; values are not repeated
 */
export function loadConfig (env: Record<string, string | undefined>): Config {
  const given: Record<string, unknown> = {}
  for (const [name, schema] of Object.entries(Settings.properties)) {
    const text = env[environmentName(name)]
    if (text === undefined || (text === '' && schema.format !== 'secret-key')) continue
    given[name] = parse(schema, text)
  }
  // Its type is unknown, but it is the object that was given, with defaults.
  const settings = Value.Default(Settings, given) as object
  if (Value.Check(Settings, settings)) return Object.freeze(settings)
  throw new ConfigError(problemsOf(Settings, settings, environmentName))
}
