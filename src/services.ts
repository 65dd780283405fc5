import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import type { AttemptLimits } from './plugins/login-throttle/limits.js'
import { loginTokenLifetimeSeconds } from './plugins/tokens/limits.js'
import authenticate from './plugins/authenticate/index.js'
import database from './plugins/database.js'
import events, { type AuditOptions } from './plugins/audit/index.js'
import jwt from './plugins/tokens/jwt.js'
import loginFailures from './plugins/login-throttle/repository.js'
import passwords, { type PasswordsOptions } from './plugins/passwords/index.js'
import roles from './plugins/roles/index.js'
import throttle from './plugins/login-throttle/index.js'
import tokens from './plugins/tokens/index.js'
import users from './plugins/users/index.js'

/** What the capabilities are told. */
export interface ServicesOptions extends PasswordsOptions, AttemptLimits, AuditOptions {
  /** `sqlite:///relative/path`, `sqlite:////absolute/path`, `sqlite://` (in memory) or `postgres://user:password@host:port/database`. */
  databaseUrl: string
  /** The most connections to PostgreSQL, 10 by default. */
  databasePoolSize?: number
  /** How long a request waits for a connection to PostgreSQL, in milliseconds: 2,000 by default. */
  databaseConnectTimeoutMs?: number
  /** How long PostgreSQL may take for a statement, in milliseconds: 3,000 by default. */
  databaseStatementTimeoutMs?: number
  /** Refuses a database that is not there, where it would be made otherwise. */
  databaseMustExist?: boolean
  /** Sets 16 MiB aside beside a SQLite database, so that logins go on where the disk is full: true by default. */
  databaseKeepsReserve?: boolean
  /** Signs and verifies tokens; at least 32 bytes. */
  secretKey: string
  /** Still verifies, never signs: for rotation. */
  secretKeyPrevious?: string
  /** The life of a login's token, in seconds: 172800 by default, at most a year. */
  tokenTtlSeconds?: number
  /** The name of the bearer scheme in the app's OpenAPI document, for guarded routes to refer to; without it they say nothing. */
  securityScheme?: string
  /** The time in milliseconds since 1970. Defaults to the system's clock. */
  now?: () => number
}

/**
 * All that Latchkey can do, without a route: what the server and the command line share.
 * Whoever registers it has checked the options.
 *
 * @throws {StoreError} the database cannot be opened
 */
const services: FastifyPluginAsync<ServicesOptions> = async (app, options) => {
  const { databaseUrl, databaseMustExist, databaseKeepsReserve = true, databasePoolSize, databaseConnectTimeoutMs, databaseStatementTimeoutMs, secretKey, secretKeyPrevious, tokenTtlSeconds = loginTokenLifetimeSeconds, securityScheme, now = Date.now } = options
  await app.register(database, { url: databaseUrl, mustExist: databaseMustExist, keepsReserve: databaseKeepsReserve, poolSize: databasePoolSize, connectTimeoutMs: databaseConnectTimeoutMs, statementTimeoutMs: databaseStatementTimeoutMs })
  await app.register(users, { now })
  await app.register(tokens, { now })
  await app.register(events, { auditRetentionDays: options.auditRetentionDays, now })
  await app.register(loginFailures, { now })
  await app.register(throttle, { ...options, now })
  await app.register(passwords, options)
  await app.register(jwt, { secretKey, secretKeyPrevious, tokenTtlSeconds, now })
  await app.register(authenticate, { securityScheme })
  await app.register(roles)
}

export default fp(services, { name: 'latchkey-capabilities', fastify: '5.x' })
