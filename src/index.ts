import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import type { HashParameters } from './lib/password-hashes.js'
import type { PasswordPolicy } from './lib/password-rules.js'
import authenticate from './plugins/authenticate.js'
import database from './plugins/database.js'
import errors from './plugins/errors.js'
import jwt from './plugins/jwt.js'
import passwords from './plugins/passwords.js'
import tokens from './plugins/tokens.js'
import users from './plugins/users.js'
import validation from './plugins/validation.js'
import accounts from './routes/accounts/index.js'
import sessions from './routes/sessions/index.js'

export type { User } from './plugins/users.js'

/** What Latchkey is told by the app that registers it. */
export interface LatchkeyOptions {
  /** `sqlite:///relative/path`, `sqlite:////absolute/path` or `sqlite://` (in memory). */
  databaseUrl: string
  /** Signs and verifies tokens; at least 32 bytes. */
  secretKey: string
  /** Still verifies, never signs: for rotation. */
  secretKeyPrevious?: string
  /** The life of a login's token, in seconds. */
  tokenTtlSeconds: number
  /** What a new password must meet. */
  passwordPolicy: PasswordPolicy
  /** `closed`: nobody can sign up over HTTP. */
  signup: 'open' | 'closed'
  /** `uniform`: a login does not tell an unknown username from a wrong password. */
  loginErrors: 'detailed' | 'uniform'
  /** What a password hash costs. Defaults to OWASP's recommendation. */
  hashParameters?: HashParameters
  /** The time in milliseconds since 1970. Defaults to the system's clock. */
  now?: () => number
}

/** The largest body that is read, in bytes: all we accept are a few short strings. */
const bodyLimitBytes = 16_384

/**
 * Latchkey as a Fastify plugin: `app.authenticate` for your routes, signup and login
 * under `/api/v1`. Its error handler, validation and limits hold for its own routes only.
 *
 * @throws {StoreError} the database cannot be opened
 * @throws {TypeError} a secret key is too short or too well known
 */
const latchkey: FastifyPluginAsync<LatchkeyOptions> = async (app, options) => {
  const { now = Date.now } = options

  await app.register(database, { databaseUrl: options.databaseUrl })
  await app.register(users, { now })
  await app.register(tokens, { now })
  await app.register(passwords, { hashParameters: options.hashParameters })
  await app.register(jwt, { ...options, now })
  await app.register(authenticate)

  await app.register(async (scope) => {
    await scope.register(errors)
    await scope.register(validation, { passwordPolicy: options.passwordPolicy })
    scope.addHook('onRoute', (route) => { route.bodyLimit = bodyLimitBytes })
    // What is answered here carries tokens and people (RFC 9111, section 5.2.2.5).
    scope.addHook('onRequest', async (request, reply) => { reply.header('cache-control', 'no-store') })

    await scope.register(accounts, { signup: options.signup })
    await scope.register(sessions, { loginErrors: options.loginErrors })
  }, { prefix: '/api/v1' })
}

export default fp(latchkey, { name: 'latchkey', fastify: '5.x' })
