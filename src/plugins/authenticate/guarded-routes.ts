import type { FastifyInstance, FastifyPluginAsync, RouteOptions } from 'fastify'
import fp from 'fastify-plugin'
import { type ErrorClass, errorResponses } from '../errors/responses.js'
import { guardErrors, recheckGuards } from './guard.js'
import { identityKey, requireIdentity, requireRoles } from './identity.js'
import { publicRoute } from './public-route.js'
import { scopeGuardErrors, watchScopeGuards } from './scope-guards.js'

/** Whether a schema of responses says something of a status: by its number, by a range such as `4xx`, or by default. */
function hasStatus (response: object, status: string): boolean {
  return Object.keys(response).some((name) => [status, `${status[0]}xx`, 'default'].includes(name.toLowerCase()))
}

/** Adds the answers of guards to the documentation of a route. What the route says itself stands. */
function addResponses (route: RouteOptions, errors: ErrorClass[]): void {
  const response = { ...route.schema?.response as object | undefined }
  const added = Object.entries(errorResponses(errors, { isSelfContained: true })).filter(([status]) => !hasStatus(response, status))
  route.schema = { ...route.schema, response: { ...response, ...Object.fromEntries(added) } }
}

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

  function addErrors (route: RouteOptions, errors: ErrorClass[]): void {
    if (errors.length === 0) return
    if (securityScheme !== undefined) route.schema = { security: [{ [securityScheme]: [] }], ...route.schema }
    route.config = { ...route.config, errors: [...errors, ...route.config?.errors ?? []] }
  }

  // A guarded route cannot be undocumented: what is enforced is what is written down.
  const routes: Array<{ scope: FastifyInstance, route: RouteOptions }> = []
  watchScopeGuards(app)
  app.addHook('onRoute', function (route) {
    addErrors(route, guardErrors(route))
    routes.push({ scope: this, route })
  })
  // By now each scope has all of its hooks, and Fastify has compiled the schemas: what is added
  // here is read by documents alone, and shapes no response of the host.
  app.addHook('onReady', async () => {
    for (const { scope, route } of routes) {
      if (route.config?.[publicRoute] === true || route.schema?.hide === true) continue
      const errors = scopeGuardErrors(scope)
      addErrors(route, errors)
      if (errors.length + guardErrors(route).length > 0) addResponses(route, [...errors, ...guardErrors(route)])
    }
  })
}

export default fp(plugin, { name: 'latchkey-guarded-routes', fastify: '5.x' })
