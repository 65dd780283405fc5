import { isIP } from 'node:net'
import { FormatRegistry, type Static, Type } from '@sinclair/typebox'
import type { FastifyRequest } from 'fastify'
import { databaseUrlProblem, databaseUrlRule } from './database/urls.js'
import { isOrigin } from './lib/origin.js'
import { publicUrlProblem } from './lib/public-url.js'
import { isSecretKey, secretKeyRule } from './lib/secret-key.js'
import { defaultHashConcurrency } from './lib/thread-pool.js'
import { recommendedParameters } from './plugins/passwords/argon2-hash.js'
import type { SendMail } from './plugins/mail/mail.js'
import { mailFromRule, parseMailFrom, parseSmtpUrl, smtpUrlRule } from './plugins/mail/settings.js'
import { tokenMaxLifetimeSeconds } from './plugins/tokens/claims.js'

// Every option once: its schema, its default, its meaning. A `description` is the end of a
// sentence that begins with the option's name. The environment spells `databaseUrl` as
// DATABASE_URL. docs/settings.md is the page for operators.

FormatRegistry.Set('secret-key', isSecretKey)
FormatRegistry.Set('database-url', (url) => databaseUrlProblem(url) === undefined)
FormatRegistry.Set('address-range', (range) => {
  const address = range.replace(/\/.*$/, '')
  const family = isIP(address)
  const bits = range.slice(address.length)
  // A prefix of 0 would trust everybody, which is what `true` would say.
  return family !== 0 && (bits === '' || (/^\/[1-9]\d{0,2}$/.test(bits) && Number(bits.slice(1)) <= (family === 4 ? 32 : 128)))
})
FormatRegistry.Set('origin', isOrigin)
FormatRegistry.Set('public-url', (url) => publicUrlProblem(url) === undefined)
FormatRegistry.Set('smtp-url', (url) => parseSmtpUrl(url) !== undefined)
FormatRegistry.Set('mail-from', (text) => parseMailFrom(text) !== undefined)

const SecretKey = () => Type.String({ format: 'secret-key', description: secretKeyRule })

const Milliseconds = (milliseconds: number) =>
  Type.Integer({ default: milliseconds, minimum: 100, maximum: 60_000, description: 'must be an integer from 100 to 60000 (milliseconds)' })

/** The highest limit that can be set: so many times are remembered of each address. */
const attemptsMax = 10_000

const Attempts = (attempts: number) =>
  Type.Integer({ default: attempts, minimum: 0, maximum: attemptsMax, description: `must be an integer from 0 (no limit) to ${attemptsMax}` })

/** What the stand-alone server and an embedding app can both set. */
const shared = {
  /** `sqlite:///relative/path`, `sqlite:////absolute/path`, `sqlite://` (in memory) or `postgres://user:password@host:port/database`. */
  databaseUrl: Type.String({ default: 'sqlite:///data/latchkey.sqlite', format: 'database-url', description: databaseUrlRule }),
  /** The most connections to PostgreSQL. */
  databasePoolSize: Type.Integer({ default: 10, minimum: 1, maximum: 1_000, description: 'must be an integer from 1 to 1000' }),
  /** How long a request waits for a connection to PostgreSQL, in milliseconds. */
  databaseConnectTimeoutMs: Milliseconds(2_000),
  /** How long PostgreSQL may take for a statement, in milliseconds. */
  databaseStatementTimeoutMs: Milliseconds(3_000),
  /** `off` works behind poolers that give each transaction another connection to PostgreSQL. */
  databasePrepare: Type.Union([Type.Literal('on'), Type.Literal('off')], { default: 'on', description: 'must be on or off' }),
  /** Signs and verifies tokens; at least 32 bytes. */
  secretKey: SecretKey(),
  /** Still verifies tokens, never signs: for rotation. */
  secretKeyPrevious: Type.Optional(SecretKey()),
  /** The lifetime of a login's token, in seconds: 48 hours by default. */
  tokenTtlSeconds: Type.Integer({ default: 172_800, minimum: 1, maximum: tokenMaxLifetimeSeconds, description: `must be an integer from 1 to ${tokenMaxLifetimeSeconds}` }),
  /** How long after the login with a password its token can be renewed, in seconds: 30 days by default. */
  sessionMaxSeconds: Type.Integer({ default: 2_592_000, minimum: 60, maximum: tokenMaxLifetimeSeconds, description: `must be an integer from 60 to ${tokenMaxLifetimeSeconds}` }),
  /** The fewest characters of a new password (NIST SP 800-63B, section 3.1.1.2). */
  passwordMinLength: Type.Integer({ default: 8, minimum: 8, maximum: 64, description: 'must be an integer from 8 to 64' }),
  /** `on` rejects the 3,000 most common passwords. */
  passwordBlocklist: Type.Union([Type.Literal('on'), Type.Literal('off')], { default: 'on', description: 'must be on or off' }),
  /** How many passwords are hashed at once: more than there are processors, or threads for them, make none faster. */
  hashConcurrency: Type.Integer({ default: defaultHashConcurrency, minimum: 1, maximum: 64, description: 'must be an integer from 1 to 64' }),
  /** How many hashes wait: at the end of the queue some two thirds of a second on two processors. */
  hashQueue: Type.Integer({ default: 32, minimum: 0, maximum: 10_000, description: 'must be an integer from 0 to 10000' }),
  /** How long a request waits for its hash to start, or for other checks of the same account, in milliseconds. */
  hashDeadlineMs: Milliseconds(3_000),
  // High enough for people with a bad memory and for offices behind one address, low enough that
  // guessing is hopeless (OWASP Authentication Cheat Sheet, "Login Throttling"; NIST SP 800-63B-4,
  // section 3.2.2). Logins that succeed cost as much to check as those that fail.
  /** Failed logins of one address in a minute. */
  loginFailuresPerAddressMinute: Attempts(30),
  /** Failed logins of one address in an hour. */
  loginFailuresPerAddressHour: Attempts(300),
  /** Failed logins for one username before its next attempts have to wait. */
  loginFailuresPerAccount: Attempts(10),
  /** Successful logins of one address in a minute. */
  loginsPerAddressMinute: Attempts(1_200),
  /** Successful logins of one account in a minute. */
  loginsPerAccountMinute: Attempts(300),
  /** Personal access tokens created by one account in an hour. */
  tokensPerAccountHour: Attempts(200),
  /** Accounts created from one address in an hour. */
  signupsPerAddressHour: Attempts(100),
  /** Requests for a new password by mail from one address in an hour. */
  resetsPerAddressHour: Attempts(20),
  /** Where people reach the app: the beginning of links in mails. */
  publicUrl: Type.Optional(Type.String({ format: 'public-url', description: 'must be a URL like https://login.example.com' })),
  /** The mail server: `smtp://` or `smtps://`. Without it, and without `sendMail`, the app sends no mails. */
  smtpUrl: Type.Optional(Type.String({ format: 'smtp-url', description: smtpUrlRule })),
  /** The sender of mails: `login@example.com` or `Example <login@example.com>`. */
  mailFrom: Type.Optional(Type.String({ format: 'mail-from', description: mailFromRule })),
  /** For how many days audit events are kept. */
  auditRetentionDays: Type.Integer({ default: 30, minimum: 0, maximum: 3_650, description: 'must be an integer from 0 (nothing is kept) to 3650 (days)' }),
  /** `invite`: only with an invitation; `closed`: nobody can sign up over HTTP. */
  signup: Type.Union([Type.Literal('open'), Type.Literal('invite'), Type.Literal('closed')], { default: 'open', description: 'must be open, invite or closed' }),
  /** `uniform`: a login does not tell an unknown username from a wrong password. */
  loginErrors: Type.Union([Type.Literal('detailed'), Type.Literal('uniform')], { default: 'detailed', description: 'must be detailed or uniform' })
}

/** Everything that an operator can set, in the order of the documentation. */
export const Settings = Type.Object({
  host: Type.String({ default: '127.0.0.1', description: 'must be an address or a host name' }),
  port: Type.Integer({ default: 3_000, minimum: 0, maximum: 65_535, description: 'must be an integer from 0 to 65535' }),
  ...shared,
  trustProxy: Type.Array(Type.String({ format: 'address-range' }), { default: [], description: 'must be a comma-separated list of addresses or CIDR ranges' }),
  /** How long a kept-alive connection waits for its next request, in milliseconds: longer than the 60 s for which proxies keep theirs. */
  keepAliveTimeoutMs: Type.Integer({ default: 72_000, minimum: 1_000, maximum: 3_600_000, description: 'must be an integer from 1000 to 3600000 (milliseconds)' }),
  corsOrigin: Type.Array(Type.String({ format: 'origin' }), { default: [], description: 'must be a comma-separated list of origins like https://app.example.com' }),
  metricsHost: Type.String({ default: '127.0.0.1', description: 'must be an address or a host name' }),
  metricsPort: Type.Optional(Type.Integer({ minimum: 0, maximum: 65_535, description: 'must be an integer from 0 to 65535' })),
  logLevel: Type.Union((['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const).map((level) => Type.Literal(level)), { default: 'info', description: 'must be fatal, error, warn, info, debug, trace or silent' })
})

/** Everything that an embedding app can set, and the two options that it must set. */
export const EmbeddingOptions = Type.Object({
  ...Type.Partial(Type.Object(shared)).properties,
  databaseUrl: shared.databaseUrl,
  secretKey: shared.secretKey,
  /** Where the routes are. */
  prefix: Type.Optional(Type.String({ default: '/api/v1', pattern: '^(?:/.*[^/])?$', description: 'must begin with a slash and end without one' })),
  /** The name of the bearer scheme in the app's OpenAPI document, for guarded routes to refer to. Without it they say nothing. */
  securityScheme: Type.Optional(Type.String({ description: 'must be the name of a security scheme' })),
  /**
   * Finds the token of a request: undefined where there is none. The `Authorization` header by
   * default. For clients that cannot set headers, such as WebSockets in browsers.
   */
  tokenFrom: Type.Optional(Type.Unsafe<(request: FastifyRequest) => string | undefined>(Type.Function([], Type.Unknown(), { description: 'must be a function that returns the token of a request' }))),
  /** Sends a mail, instead of a mail server. */
  sendMail: Type.Optional(Type.Unsafe<SendMail>(Type.Function([], Type.Unknown(), { description: 'must be a function that sends a mail' }))),
  /** What a password hash costs: for tests. */
  hashParameters: Type.Optional(Type.Object({ memoryCost: Type.Integer({ minimum: 8 }), timeCost: Type.Integer({ minimum: 1 }), parallelism: Type.Integer({ minimum: 1 }) }, { default: recommendedParameters, description: 'must have memoryCost, timeCost and parallelism' })),
  /** The time in milliseconds since 1970: for tests. The system's clock by default. */
  now: Type.Optional(Type.Function([], Type.Number(), { description: 'must be a function that returns the time' }))
}, { additionalProperties: false })

/** The options of `app.register(latchkey, options)`. */
export interface LatchkeyOptions extends Static<typeof EmbeddingOptions> {}

/** The options without a default. */
type OptionalName = 'secretKeyPrevious' | 'publicUrl' | 'smtpUrl' | 'mailFrom' | 'securityScheme' | 'tokenFrom' | 'sendMail'

/** The same with every default filled in. */
export type ResolvedOptions = Required<Omit<LatchkeyOptions, OptionalName>> & Pick<LatchkeyOptions, OptionalName>
