import { isIP } from 'node:net'
import { FormatRegistry, type Static, type TObject, Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { attemptLimitMax, defaultAttemptLimits } from './plugins/login-throttle/limits.js'
import { tokenMaxLifetimeSeconds } from './plugins/tokens/claims.js'
import { parsePostgresUrl } from './database/urls.js'
import { defaultAuditRetentionDays } from './plugins/audit/event.js'
import { defaultHashConcurrency, defaultHashDeadlineMs, defaultHashQueue } from './plugins/passwords/hash-limiter.js'
import { defaultPasswordPolicy } from './plugins/passwords/policy.js'
import { isSecretKey, secretKeyRule } from './lib/secret-key.js'
import { loginTokenLifetimeSeconds } from './plugins/tokens/limits.js'

FormatRegistry.Set('secret-key', isSecretKey)
FormatRegistry.Set('database-url', (url) => url.startsWith('sqlite://') || parsePostgresUrl(url) !== undefined)
FormatRegistry.Set('address-range', (range) => {
  const address = range.replace(/\/.*$/, '')
  const family = isIP(address)
  const bits = range.slice(address.length)
  // A prefix of 0 would trust everybody, which is what `true` would say.
  return family !== 0 && (bits === '' || (/^\/[1-9]\d{0,2}$/.test(bits) && Number(bits.slice(1)) <= (family === 4 ? 32 : 128)))
})
FormatRegistry.Set('origin', (origin) =>
  /^https?:\/\//.test(origin) && URL.canParse(origin) && new URL(origin).origin === origin)

const SecretKey = (options: object) => Type.String({
  format: 'secret-key',
  description: secretKeyRule,
  ...options
})

const Milliseconds = (milliseconds: number) =>
  Type.Integer({ default: milliseconds, minimum: 100, maximum: 60_000, description: 'must be an integer from 100 to 60000 (milliseconds)' })

const AttemptLimit = (attempts: number) =>
  Type.Integer({ default: attempts, minimum: 0, maximum: attemptLimitMax, description: `must be an integer from 0 (no limit) to ${attemptLimitMax}` })

// What can be set. A description is the end of a sentence that starts with the setting's name.

/** What an app that embeds Latchkey can set as well. */
const pluginSettings = {
  databaseUrl: Type.String({ default: 'sqlite:///data/latchkey.sqlite', format: 'database-url', description: 'must be like sqlite:///relative/path, sqlite:////absolute/path, sqlite:// or postgres://user:password@host:port/database' }),
  databasePoolSize: Type.Integer({ default: 10, minimum: 1, maximum: 1_000, description: 'must be an integer from 1 to 1000' }),
  databaseConnectTimeoutMs: Milliseconds(2_000),
  databaseStatementTimeoutMs: Milliseconds(3_000),
  secretKey: SecretKey({}),
  secretKeyPrevious: Type.Optional(SecretKey({})),
  tokenTtlSeconds: Type.Integer({ default: loginTokenLifetimeSeconds, minimum: 1, maximum: tokenMaxLifetimeSeconds, description: `must be an integer from 1 to ${tokenMaxLifetimeSeconds}` }),
  passwordMinLength: Type.Integer({ default: defaultPasswordPolicy.minLength, minimum: 8, maximum: 64, description: 'must be an integer from 8 to 64' }),
  passwordBlocklist: Type.Union([Type.Literal('on'), Type.Literal('off')], { default: 'on', description: 'must be on or off' }),
  hashConcurrency: Type.Integer({ default: defaultHashConcurrency, minimum: 1, maximum: 64, description: 'must be an integer from 1 to 64' }),
  hashQueue: Type.Integer({ default: defaultHashQueue, minimum: 0, maximum: 10_000, description: 'must be an integer from 0 to 10000' }),
  hashDeadlineMs: Milliseconds(defaultHashDeadlineMs),
  loginFailuresPerAddressMinute: AttemptLimit(defaultAttemptLimits.loginFailuresPerAddressMinute),
  loginFailuresPerAddressHour: AttemptLimit(defaultAttemptLimits.loginFailuresPerAddressHour),
  loginFailuresPerAccount: AttemptLimit(defaultAttemptLimits.loginFailuresPerAccount),
  loginsPerAddressMinute: AttemptLimit(defaultAttemptLimits.loginsPerAddressMinute),
  loginsPerAccountMinute: AttemptLimit(defaultAttemptLimits.loginsPerAccountMinute),
  tokensPerAccountHour: AttemptLimit(defaultAttemptLimits.tokensPerAccountHour),
  signupsPerAddressHour: AttemptLimit(defaultAttemptLimits.signupsPerAddressHour),
  auditRetentionDays: Type.Integer({ default: defaultAuditRetentionDays, minimum: 0, maximum: 3_650, description: 'must be an integer from 0 (nothing is kept) to 3650 (days)' }),
  signup: Type.Union([Type.Literal('open'), Type.Literal('closed')], { default: 'open', description: 'must be open or closed' }),
  loginErrors: Type.Union([Type.Literal('detailed'), Type.Literal('uniform')], { default: 'detailed', description: 'must be detailed or uniform' })
}

/** Everything that a server can set, in the order of the documentation. */
export const Settings = Type.Object({
  host: Type.String({ default: '127.0.0.1', description: 'must be an address or a host name' }),
  port: Type.Integer({ default: 3_000, minimum: 0, maximum: 65_535, description: 'must be an integer from 0 to 65535' }),
  ...pluginSettings,
  trustProxy: Type.Array(Type.String({ format: 'address-range' }), { default: [], description: 'must be a comma-separated list of addresses or CIDR ranges' }),
  corsOrigin: Type.Array(Type.String({ format: 'origin' }), { default: [], description: 'must be a comma-separated list of origins like https://app.example.com' }),
  metricsHost: Type.String({ default: '127.0.0.1', description: 'must be an address or a host name' }),
  metricsPort: Type.Optional(Type.Integer({ minimum: 0, maximum: 65_535, description: 'must be an integer from 0 to 65535' })),
  logLevel: Type.Union((['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const).map((level) => Type.Literal(level)), { default: 'info', description: 'must be fatal, error, warn, info, debug, trace or silent' })
})

/** What an app that embeds Latchkey can say, and what it must say. */
const PluginOptions = Type.Object({
  ...Type.Partial(Type.Object(pluginSettings)).properties,
  databaseUrl: pluginSettings.databaseUrl,
  secretKey: pluginSettings.secretKey,
  prefix: Type.Optional(Type.String({ pattern: '^(?:/.*[^/])?$', description: 'must begin with a slash and end without one' })),
  securityScheme: Type.Optional(Type.String({ description: 'must be the name of a security scheme' })),
  databaseKeepsReserve: Type.Optional(Type.Boolean({ description: 'must be true or false' })),
  hashParameters: Type.Optional(Type.Object({ memoryCost: Type.Integer({ minimum: 8 }), timeCost: Type.Integer({ minimum: 1 }), parallelism: Type.Integer({ minimum: 1 }) }, { description: 'must have memoryCost, timeCost and parallelism' })),
  now: Type.Optional(Type.Function([], Type.Number(), { description: 'must be a function that answers the time' })),
  // What every plugin of Fastify can be told where it is registered.
  logLevel: Type.Optional(Type.Unknown({ description: '' })),
  logSerializers: Type.Optional(Type.Unknown({ description: '' }))
}, { additionalProperties: false })

/** What is wrong with settings, one sentence each, in the order of the documentation. Values are not repeated. */
export function problemsOf (schema: TObject, settings: object, nameOf = (name: string) => name): string[] {
  const wrong = new Set([...Value.Errors(schema, settings)].map(({ path }) => path.split('/')[1]))
  return Object.entries(schema.properties)
    .filter(([name]) => wrong.has(name))
    .map(([name, { description }]) => `${nameOf(name)} ${name in settings ? description : 'is not set'}`)
}

/** Of all settings those that an app that embeds Latchkey has as well. */
export function pluginSettingsOf (settings: Static<typeof Settings>) {
  return Value.Parse(Type.Object(pluginSettings, { additionalProperties: false }), settings)
}

/** @throws {TypeError} with everything that is wrong */
export function checkOptions (options: object): void {
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
  const unknown = Object.keys(given).filter((name) => !(name in PluginOptions.properties)).map((name) => `${name} is no option`)
  const problems = [...problemsOf(PluginOptions, given), ...unknown]
  if (problems.length > 0) throw new TypeError(`latchkey: ${problems.join('; ')}`)
}
