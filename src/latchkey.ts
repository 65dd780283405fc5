import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { createHostApi } from './host-api.js'
import type { ResolvedOptions } from './options.js'
import guardedRoutes from './plugins/authenticate/guarded-routes.js'
import errors from './plugins/errors/index.js'
import { type PasswordPolicy, passwordPolicyOf } from './plugins/passwords/policy.js'
import signingKeys from './plugins/tokens/signing-keys.js'
import validation from './plugins/validation/index.js'
import accounts from './routes/accounts/index.js'
import addresses from './routes/addresses/index.js'
import events from './routes/events/index.js'
import invites from './routes/invites/index.js'
import passwordReset from './routes/password-reset/index.js'
import roles from './routes/roles/index.js'
import secondFactor from './routes/second-factor/index.js'
import sessions from './routes/sessions/index.js'
import users from './routes/users/index.js'
import services, { exposeServices, type ServicesOptions } from './services.js'

/** The largest body that is read, in bytes: every request is a few short strings. */
const bodyLimitBytes = 16_384

/** The routes, under their prefix. Error handler, validation and limits hold for them alone. */
const routes: FastifyPluginAsync<Pick<ResolvedOptions, 'signup' | 'loginErrors' | 'tokenTtlSeconds' | 'sessionMaxSeconds'> & { passwordPolicy: PasswordPolicy }> = async (app, { signup, loginErrors, tokenTtlSeconds, sessionMaxSeconds, passwordPolicy }) => {
  await app.register(errors)
  await app.register(validation, { passwordPolicy })
  app.addHook('onRoute', (route) => { route.bodyLimit = bodyLimitBytes })
  // Answers carry tokens and users (RFC 9111, section 5.2.2.5).
  app.addHook('onRequest', (request, reply, done) => {
    reply.header('cache-control', 'no-store')
    done()
  })

  await app.register(accounts, { signup })
  await app.register(sessions, { loginErrors, tokenTtlSeconds, sessionMaxSeconds })
  await app.register(secondFactor)
  await app.register(passwordReset)
  await app.register(users)
  await app.register(roles)
  await app.register(invites)
  await app.register(addresses)
  await app.register(events)
}

/** What an app gets of the services: the guards and `app.latchkey`. */
function decorateHost (app: FastifyInstance, services: FastifyInstance, policy: PasswordPolicy): void {
  const { authenticate, authenticateWithRoles, requireRecentLogin, requireRole } = services
  const api = createHostApi(services, policy)
  exposeServices(api, services)
  app.decorate('authenticate', authenticate)
  app.decorate('authenticateWithRoles', authenticateWithRoles)
  app.decorate('requireRole', requireRole)
  app.decorate('requireRecentLogin', requireRecentLogin)
  app.decorate('latchkey', api)
}

/**
 * Latchkey on an app. Services and routes live in a scope of their own; the app gets the guards,
 * `app.latchkey` and the request's properties, and nothing else.
 */
const plugin: FastifyPluginAsync<ResolvedOptions & ServicesOptions> = async (app, options) => {
  const { prefix, signup, loginErrors, tokenTtlSeconds, sessionMaxSeconds, securityScheme } = options
  const passwordPolicy = passwordPolicyOf(options)
  await app.register(guardedRoutes, { securityScheme })
  await app.register(async (scope) => {
    await scope.register(services, options)
    await scope.register(signingKeys, options)
    await scope.register(routes, { prefix, signup, loginErrors, tokenTtlSeconds, sessionMaxSeconds, passwordPolicy })
    decorateHost(app, scope, passwordPolicy)
  })
}

export default fp(plugin, { name: 'latchkey-on-app', fastify: '5.x' })
