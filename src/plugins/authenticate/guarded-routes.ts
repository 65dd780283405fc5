import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { guardErrors, recheckGuards } from './guard.js'
import { identityKey, requireIdentity, requireRoles } from './identity.js'

/**
 * What every guarded route of an app needs: the request's properties, the second decision after
 * the body has arrived, and documentation.
 */
const plugin: FastifyPluginAsync<{ securityScheme?: string }> = async (app, { securityScheme }) => {
  app.decorateRequest(identityKey, null)
  app.decorateRequest('currentUser', {
    getter () { return requireIdentity(this).user },
    setter (user) { requireIdentity(this).user = user }
  })
  app.decorateRequest('currentTokenId', { getter () { return requireIdentity(this).tokenId } })
  app.decorateRequest('currentRoles', { getter () { return requireRoles(this) } })

  app.addHook('preValidation', recheckGuards)

  // A guarded route cannot be undocumented: what is enforced is what is written down.
  app.addHook('onRoute', (route) => {
    const errors = guardErrors(route)
    if (errors.length === 0) return
    if (securityScheme !== undefined) route.schema = { security: [{ [securityScheme]: [] }], ...route.schema }
    route.config = { ...route.config, errors: [...errors, ...route.config?.errors ?? []] }
  })
}

export default fp(plugin, { name: 'latchkey-guarded-routes', fastify: '5.x' })
