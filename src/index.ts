import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import services, { type ServicesOptions } from './services.js'
import { defaultPasswordPolicy } from './plugins/passwords/policy.js'
import { checkOptions } from './options.js'
import errors from './plugins/errors/index.js'
import validation from './plugins/validation/index.js'
import accounts from './routes/accounts/index.js'
import events from './routes/events/index.js'
import roles from './routes/roles/index.js'
import sessions from './routes/sessions/index.js'

// The types of what is decorated: `app.authenticate`, `request.currentUser` and the others.
export type * from './database/store.js'
export type * from './plugins/authenticate/guard.js'
export type * from './plugins/authenticate/index.js'
export type * from './plugins/database.js'
export type * from './plugins/audit/index.js'
export type * from './plugins/tokens/jwt.js'
export type * from './plugins/login-throttle/repository.js'
export type * from './plugins/passwords/index.js'
export type * from './plugins/roles/index.js'
export type * from './plugins/login-throttle/index.js'
export type * from './plugins/tokens/index.js'
export type * from './plugins/users/index.js'

/** What Latchkey is told by the app that registers it. */
export interface LatchkeyOptions extends Omit<ServicesOptions, 'databaseMustExist'> {
  /** Where the routes are: `/api/v1` by default. */
  prefix?: string
  /** The fewest characters of a new password: 8 by default. */
  passwordMinLength?: number
  /** `on` by default; `off`: the 3,000 most common passwords are allowed. */
  passwordBlocklist?: 'on' | 'off'
  /** `open` by default; `closed`: nobody can sign up over HTTP. */
  signup?: 'open' | 'closed'
  /** `detailed` by default; `uniform`: a login does not tell an unknown username from a wrong password. */
  loginErrors?: 'detailed' | 'uniform'
}

/** The largest body that is read, in bytes: all we accept are a few short strings. */
const bodyLimitBytes = 16_384

/**
 * Latchkey as a Fastify plugin: `app.authenticate` and `app.requireRole` for your routes,
 * accounts, sessions and roles under `/api/v1`. Its error handler, validation and limits
 * hold for its own routes only.
 *
 * @throws {StoreError} the database cannot be opened
 * @throws {TypeError} options are not what they must be; the message names them all
 */
const latchkey: FastifyPluginAsync<LatchkeyOptions> = async (app, options) => {
  checkOptions(options)
  const { prefix = '/api/v1', passwordMinLength: minLength = defaultPasswordPolicy.minLength, passwordBlocklist = 'on', signup = 'open', loginErrors = 'detailed' } = options
  await app.register(services, options)

  await app.register(async (scope) => {
    await scope.register(errors)
    await scope.register(validation, { passwordPolicy: { minLength, blocklist: passwordBlocklist === 'on' } })
    scope.addHook('onRoute', (route) => { route.bodyLimit = bodyLimitBytes })
    // What is answered here carries tokens and people (RFC 9111, section 5.2.2.5).
    scope.addHook('onRequest', (request, reply, done) => {
      reply.header('cache-control', 'no-store')
      done()
    })

    await scope.register(accounts, { signup })
    await scope.register(sessions, { loginErrors })
    await scope.register(roles)
    await scope.register(events)
  }, { prefix })
}

export default fp(latchkey, { name: 'latchkey', fastify: '5.x' })
