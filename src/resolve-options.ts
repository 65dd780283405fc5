import type { TObject, TSchema } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { databaseUrlProblem } from './database/urls.js'
import { originProblem } from './lib/origin.js'
import { hasSpaceAround, printable } from './lib/printable.js'
import { publicUrlProblem } from './lib/public-url.js'
import { EmbeddingOptions, type LatchkeyOptions, type ResolvedOptions } from './options.js'

/** What Fastify itself takes at every registration. */
const registerOptions = ['logLevel', 'logSerializers']

/** Settings with these formats can contain a key or a password. */
const secretFormats = ['secret-key', 'database-url', 'smtp-url']

/** The end of a message that repeats the invalid value; nothing for an object, or for a URL with a password in it. */
function shownValue (value: unknown): string {
  if (typeof value === 'string') return value.includes('://') && value.includes('@') ? '' : `, not ${printable(value)}`
  return ['number', 'bigint', 'boolean'].includes(typeof value) || value === null ? `, not ${String(value)}` : ''
}

/**
 * What is wrong with a setting, as the end of a sentence that starts with its name.
 *
 * @param value the part that is invalid: of a list, the item
 */
function problemOf ({ items, format = items?.format, description }: TSchema, value: unknown): string {
  if (format === 'database-url' && typeof value === 'string') return String(databaseUrlProblem(value))
  const problem = format === 'origin' ? originProblem(String(value)) : format === 'public-url' ? publicUrlProblem(String(value)) : undefined
  return `${problem ?? description}${secretFormats.includes(String(format)) ? '' : shownValue(value)}`
}

/** What is wrong with the settings of mails together: each of them may be valid by itself. */
function mailProblems (settings: object, nameOf: (name: string) => string): string[] {
  const [hasServer, hasSender] = ['smtpUrl', 'mailFrom'].map((name) => name in settings)
  const [server, sender] = [nameOf('smtpUrl'), nameOf('mailFrom')]
  return [
    ...hasServer && !hasSender ? [`${sender} is not set: ${server} needs it`] : [],
    ...hasSender && !hasServer ? [`${server} is not set: ${sender} needs it`] : [],
    ...hasServer && 'sendMail' in settings ? [`${nameOf('sendMail')} and ${server} must not both be set`] : []
  ]
}

/**
 * What is wrong with settings, one sentence each, in the order of the documentation. Sentences
 * repeat invalid values, but neither secret keys nor URLs of databases.
 *
 * @param options.nameOf what the reader calls a setting
 * @param options.given the settings as they were given, where they are texts of another type
 */
export function problemsOf (schema: TObject, settings: object, { nameOf = (name: string) => name, given = settings }: { nameOf?: (name: string) => string, given?: object } = {}): string[] {
  const wrong = new Map([...Value.Errors(schema, settings)].reverse().map(({ path, value }) => [path.split('/')[1], value]))
  const spaced = new Set(Object.entries(given).filter(([, value]) => typeof value === 'string' && hasSpaceAround(value)).map(([name]) => name))
  const ofEach = Object.entries(schema.properties).flatMap(([name, property]) => {
    if (spaced.has(name)) return [`${nameOf(name)} must not begin or end with white space`]
    if (!wrong.has(name)) return []
    return [`${nameOf(name)} ${name in settings ? problemOf(property, wrong.get(name)) : 'is not set'}`]
  })
  return [...ofEach, ...mailProblems(settings, nameOf)]
}

/** What `String()` and templates make of a variable that is not set, and its like. */
const missingKeys: unknown[] = [undefined, null, '', 'undefined', 'null']
const missingKeyAdvice = 'is missing: `npx latchkey secret` prints one, and `node --env-file=.env` loads it from a line SECRET_KEY=… in .env'

/**
 * Checks the options of an embedding app, and fills in the defaults.
 *
 * @throws {TypeError} with everything that is wrong
 */
export function resolveOptions (options: LatchkeyOptions): ResolvedOptions {
  const given = Object.fromEntries(Object.entries(options).filter(([name, value]) => value !== undefined && !registerOptions.includes(name)))
  const unknown = Object.keys(given).filter((name) => !(name in EmbeddingOptions.properties)).map((name) => `${name} is no option`)
  if (missingKeys.includes(given.secretKey)) delete given.secretKey
  const problems = [...problemsOf(EmbeddingOptions, given), ...unknown].map((problem) => problem === 'secretKey is not set' ? `secretKey ${missingKeyAdvice}` : problem)
  if (problems.length > 0) throw new TypeError(`latchkey: ${problems.join('; ')}`)
  const { now = Date.now } = options
  // Checked just now, and complete: each option that is left out has a default.
  return { ...Value.Default(EmbeddingOptions, given) as Omit<ResolvedOptions, 'now'>, now }
}
