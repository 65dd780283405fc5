import type { FastifyPluginAsync, FastifyRequest, RouteOptions } from 'fastify'
import fp from 'fastify-plugin'
import { isTokenId, isUserId, noTokenId } from '../lib/claims.js'
import { AuthorizationMissing, ServiceUnavailable, TokenClaimsInvalid, TokenExpired, TokenInvalid, TokenRevoked, UserNotFound } from '../lib/errors.js'
import type { User } from './users.js'

declare module 'fastify' {
  interface FastifyInstance {
    /**
     * The guard: a preHandler (or onRequest) hook that lets a request through when its
     * `Authorization` header carries a living token of ours, and sets `request.currentUser`.
     *
     * @throws {AuthorizationMissing} 400: no Authorization header
     * @throws {TokenInvalid} 401: not a token of ours
     * @throws {TokenExpired} 401: its time has passed
     * @throws {TokenClaimsInvalid} 400: ours, but it names no user
     * @throws {UserNotFound} 400: its user is gone
     * @throws {TokenRevoked} 401: it was taken back
     */
    authenticate: (request: FastifyRequest) => Promise<void>
  }
  interface FastifyRequest {
    /** Who is asking. Set by `authenticate`; null before it has run and on routes without it. */
    currentUser: User
  }
}

const authenticateErrors = [AuthorizationMissing, TokenClaimsInvalid, UserNotFound, TokenInvalid, TokenExpired, TokenRevoked, ServiceUnavailable]

// `Bearer`, in any case and followed by spaces (RFC 6750, section 2.1; RFC 9110, section
// 11.1), or, as in the course, nothing; then the JWS Compact Serialization (RFC 7515,
// section 7.1).
const credentials = /^(?:Bearer +)?([\w-]+\.[\w-]+\.[\w-]+)$/i

/** Two Authorization headers are an attack or a mistake; Node silently keeps the first. */
function hasOneAuthorization (rawHeaders: string[]): boolean {
  let count = 0
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]
    if (name?.length === 13 && name.toLowerCase() === 'authorization') count++
  }
  return count < 2
}

function isGuardedBy (guard: unknown, { preHandler, onRequest }: RouteOptions): boolean {
  return [preHandler, onRequest].flat().some((hook) => hook === guard)
}

const plugin: FastifyPluginAsync = async (app) => {
  app.decorateRequest('currentUser', null, [])

  app.decorate('authenticate', async (request: FastifyRequest) => {
    const { authorization } = request.headers
    if (authorization === undefined) throw new AuthorizationMissing()
    const [, token] = credentials.exec(authorization) ?? []
    if (token === undefined || !hasOneAuthorization(request.raw.rawHeaders)) throw new TokenInvalid()

    const { user_id: userId, jti } = app.accessTokens.verify(token)
    if (!isUserId(userId)) throw new TokenClaimsInvalid()
    const owner = await app.tokens.findOwner(userId, isTokenId(jti) ? jti : noTokenId)
    if (owner === undefined) throw new UserNotFound()
    if (!owner.isLiving) throw new TokenRevoked()
    request.currentUser = owner.user
  })

  // A guarded route cannot be undocumented: what is enforced is what is written down.
  app.addHook('onRoute', (route) => {
    if (!isGuardedBy(app.authenticate, route)) return
    route.schema = { ...route.schema, security: [{ bearerAuth: [] }] }
    route.config = { ...route.config, errors: [...authenticateErrors, ...route.config?.errors ?? []] }
  })
}

export default fp(plugin, { name: 'latchkey-authenticate', dependencies: ['latchkey-jwt', 'latchkey-tokens'] })
