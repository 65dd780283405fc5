import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import type { ResolvedOptions } from './options.js'
import audit from './plugins/audit/index.js'
import authenticate from './plugins/authenticate/index.js'
import cleanup from './plugins/cleanup/index.js'
import codes from './plugins/codes/index.js'
import database from './plugins/database.js'
import invites from './plugins/invites/index.js'
import loginThrottle from './plugins/login-throttle/index.js'
import mail from './plugins/mail/index.js'
import passwordReset from './plugins/password-reset/index.js'
import passwords from './plugins/passwords/index.js'
import roles from './plugins/roles/index.js'
import jwt from './plugins/tokens/jwt.js'
import tokens from './plugins/tokens/index.js'
import users from './plugins/users/index.js'

/** The options of the services: those of an embedding app, and those that only our own process sets. */
export interface ServicesOptions extends Omit<ResolvedOptions, 'prefix' | 'signup' | 'loginErrors'> {
  /** Rejects a database that does not exist, instead of creating it. */
  databaseMustExist?: boolean
  /** Keeps a ballast file of 16 MiB next to a SQLite database, so that logins go on when the disk is full. For the stand-alone server only; false by default. */
  databaseKeepsBallast?: boolean
  /** The source of audit events that no request caused: `app` by default. */
  auditSource?: 'app' | 'cli'
}

/**
 * All services, without a route: what the plugin, the server and the command line share. The
 * options must be valid: they are not checked here.
 *
 * @throws {StoreError} the database cannot be opened
 */
const services: FastifyPluginAsync<ServicesOptions> = async (app, options) => {
  const { databaseUrl, databaseMustExist, databaseKeepsBallast, databasePoolSize, databaseConnectTimeoutMs, databaseStatementTimeoutMs, databasePrepare, auditSource = 'app', auditRetentionDays, now } = options
  await app.register(database, { url: databaseUrl, mustExist: databaseMustExist, keepsBallast: databaseKeepsBallast, poolSize: databasePoolSize, connectTimeoutMs: databaseConnectTimeoutMs, statementTimeoutMs: databaseStatementTimeoutMs, preparesStatements: databasePrepare === 'on', now })
  await app.register(cleanup, { now })
  await app.register(users, { now })
  await app.register(tokens, { now })
  await app.register(codes, options)
  await app.register(mail, options)
  await app.register(audit, { auditRetentionDays, source: auditSource, now })
  await app.register(loginThrottle, options)
  await app.register(passwords, options)
  await app.register(jwt, options)
  await app.register(authenticate, options)
  await app.register(roles)
  await app.register(invites, { now })
  await app.register(passwordReset, { now })
}

export default fp(services, { name: 'latchkey-services', fastify: '5.x' })

const scopes = new WeakMap<object, FastifyInstance>()

/** Records in which scope the services of an app are, for `servicesOf`. */
export function exposeServices (api: object, scope: FastifyInstance): void {
  scopes.set(api, scope)
}

/**
 * The scope of an app's services, for the parts of Latchkey outside of it, such as metrics and
 * the test kit.
 *
 * @throws {Error} Latchkey is not registered on the app
 */
export function servicesOf ({ latchkey }: Pick<FastifyInstance, 'latchkey'>): FastifyInstance {
  const scope = scopes.get(latchkey)
  if (scope === undefined) throw new Error('this app has no Latchkey: register it first, and await the registration')
  return scope
}
