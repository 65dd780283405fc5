import { isIP } from 'node:net'
import { FormatRegistry, type Static, type TSchema, Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { attemptLimitMax, defaultAttemptLimits } from './lib/attempt-limits.js'
import { tokenMaxLifetimeSeconds } from './lib/claims.js'
import { parsePostgresUrl } from './lib/database-urls.js'
import { defaultAuditRetentionDays } from './lib/events.js'
import { defaultHashConcurrency, defaultHashDeadlineMs, defaultHashQueue } from './lib/hash-gate.js'
import { defaultPasswordPolicy } from './lib/password-rules.js'
import { isSecretKey, secretKeyRule } from './lib/secret-keys.js'
import { loginTokenLifetimeSeconds } from './lib/token-limits.js'

/** Settings that are wrong or missing; `problems` has one sentence for each, and `message` has them all. */
export class ConfigError extends Error {
  override name = 'ConfigError'
  constructor (readonly problems: string[]) {
    super(problems.join('; '))
  }
}

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

/** The environment. A description is the end of a sentence that starts with the setting's name. */
const Settings = Type.Object({
  HOST: Type.String({ default: '127.0.0.1', description: 'must be an address or a host name' }),
  PORT: Type.Integer({ default: 3_000, minimum: 0, maximum: 65_535, description: 'must be an integer from 0 to 65535' }),
  DATABASE_URL: Type.String({ default: 'sqlite:///data/latchkey.sqlite', format: 'database-url', description: 'must be like sqlite:///relative/path, sqlite:////absolute/path, sqlite:// or postgres://user:password@host:port/database' }),
  DATABASE_POOL_SIZE: Type.Integer({ default: 10, minimum: 1, maximum: 1_000, description: 'must be an integer from 1 to 1000' }),
  DATABASE_CONNECT_TIMEOUT_MS: Milliseconds(2_000),
  DATABASE_STATEMENT_TIMEOUT_MS: Milliseconds(3_000),
  SECRET_KEY: SecretKey({}),
  SECRET_KEY_PREVIOUS: Type.Optional(SecretKey({})),
  TOKEN_TTL_SECONDS: Type.Integer({ default: loginTokenLifetimeSeconds, minimum: 1, maximum: tokenMaxLifetimeSeconds, description: `must be an integer from 1 to ${tokenMaxLifetimeSeconds}` }),
  PASSWORD_MIN_LENGTH: Type.Integer({ default: defaultPasswordPolicy.minLength, minimum: 8, maximum: 64, description: 'must be an integer from 8 to 64' }),
  PASSWORD_BLOCKLIST: Type.Union([Type.Literal('on'), Type.Literal('off')], { default: 'on', description: 'must be on or off' }),
  HASH_CONCURRENCY: Type.Integer({ default: defaultHashConcurrency, minimum: 1, maximum: 64, description: 'must be an integer from 1 to 64' }),
  HASH_QUEUE: Type.Integer({ default: defaultHashQueue, minimum: 0, maximum: 10_000, description: 'must be an integer from 0 to 10000' }),
  HASH_DEADLINE_MS: Milliseconds(defaultHashDeadlineMs),
  LOGIN_FAILURES_PER_ADDRESS_MINUTE: AttemptLimit(defaultAttemptLimits.loginFailuresPerAddressMinute),
  LOGIN_FAILURES_PER_ADDRESS_HOUR: AttemptLimit(defaultAttemptLimits.loginFailuresPerAddressHour),
  LOGIN_FAILURES_PER_ACCOUNT: AttemptLimit(defaultAttemptLimits.loginFailuresPerAccount),
  SIGNUPS_PER_ADDRESS_HOUR: AttemptLimit(defaultAttemptLimits.signupsPerAddressHour),
  AUDIT_RETENTION_DAYS: Type.Integer({ default: defaultAuditRetentionDays, minimum: 0, maximum: 3_650, description: 'must be an integer from 0 (nothing is kept) to 3650 (days)' }),
  SIGNUP: Type.Union([Type.Literal('open'), Type.Literal('closed')], { default: 'open', description: 'must be open or closed' }),
  LOGIN_ERRORS: Type.Union([Type.Literal('detailed'), Type.Literal('uniform')], { default: 'detailed', description: 'must be detailed or uniform' }),
  TRUST_PROXY: Type.Array(Type.String({ format: 'address-range' }), { default: [], description: 'must be a comma-separated list of addresses or CIDR ranges' }),
  CORS_ORIGIN: Type.Array(Type.String({ format: 'origin' }), { default: [], description: 'must be a comma-separated list of origins like https://app.example.com' }),
  METRICS_HOST: Type.String({ default: '127.0.0.1', description: 'must be an address or a host name' }),
  METRICS_PORT: Type.Optional(Type.Integer({ minimum: 0, maximum: 65_535, description: 'must be an integer from 0 to 65535' })),
  LOG_LEVEL: Type.Union((['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const).map((level) => Type.Literal(level)), { default: 'info', description: 'must be fatal, error, warn, info, debug, trace or silent' })
})

function toConfig (settings: Static<typeof Settings>) {
  return Object.freeze({
    host: settings.HOST,
    port: settings.PORT,
    databaseUrl: settings.DATABASE_URL,
    databasePoolSize: settings.DATABASE_POOL_SIZE,
    databaseConnectTimeoutMs: settings.DATABASE_CONNECT_TIMEOUT_MS,
    databaseStatementTimeoutMs: settings.DATABASE_STATEMENT_TIMEOUT_MS,
    secretKey: settings.SECRET_KEY,
    secretKeyPrevious: settings.SECRET_KEY_PREVIOUS,
    tokenTtlSeconds: settings.TOKEN_TTL_SECONDS,
    passwordMinLength: settings.PASSWORD_MIN_LENGTH,
    passwordBlocklist: settings.PASSWORD_BLOCKLIST,
    hashConcurrency: settings.HASH_CONCURRENCY,
    hashQueue: settings.HASH_QUEUE,
    hashDeadlineMs: settings.HASH_DEADLINE_MS,
    loginFailuresPerAddressMinute: settings.LOGIN_FAILURES_PER_ADDRESS_MINUTE,
    loginFailuresPerAddressHour: settings.LOGIN_FAILURES_PER_ADDRESS_HOUR,
    loginFailuresPerAccount: settings.LOGIN_FAILURES_PER_ACCOUNT,
    signupsPerAddressHour: settings.SIGNUPS_PER_ADDRESS_HOUR,
    auditRetentionDays: settings.AUDIT_RETENTION_DAYS,
    signup: settings.SIGNUP,
    loginErrors: settings.LOGIN_ERRORS,
    trustProxy: settings.TRUST_PROXY,
    corsOrigin: settings.CORS_ORIGIN,
    metricsHost: settings.METRICS_HOST,
    metricsPort: settings.METRICS_PORT,
    logLevel: settings.LOG_LEVEL
  })
}

/** The settings, checked and frozen. */
export type Config = ReturnType<typeof toConfig>

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
    const text = env[name]
    if (text === undefined || (text === '' && schema.format !== 'secret-key')) continue
    given[name] = parse(schema, text)
  }
  const settings = Value.Default(Settings, given)
  if (Value.Check(Settings, settings)) return toConfig(settings)

  const wrong = new Set([...Value.Errors(Settings, settings)].map(({ path }) => path.split('/')[1]))
  throw new ConfigError(Object.entries(Settings.properties)
    .filter(([name]) => wrong.has(name))
    .map(([name, { description }]) => `${name} ${name in given ? description : 'is not set'}`))
}
