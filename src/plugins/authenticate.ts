import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { asExpectedError } from '../database/faults.js'
import { isTokenId, isUserId, noTokenId } from '../lib/claims.js'
import { asGuard, type Guard, refusalsOf } from '../lib/guards.js'
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
     * @throws {ServiceUnavailable} 503: the database cannot serve now
     * @throws {InternalServerError} 500: it failed otherwise
     */
    authenticate: Guard
  }
  interface FastifyRequest {
    /** Who is asking. Set by `authenticate`; null before it has run and on routes without it. */
    currentUser: User
    /** The id (`jti`) of the token that the request came with. Set by `authenticate`. */
    currentTokenId: string
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

const plugin: FastifyPluginAsync<{ securityScheme?: string }> = async (app, { securityScheme }) => {
  app.decorateRequest('currentUser', null, [])
  app.decorateRequest('currentTokenId', '')

  const authenticate: Guard = async (request) => {
    const { authorization } = request.headers
    if (authorization === undefined) throw new AuthorizationMissing()
    const [, token] = credentials.exec(authorization) ?? []
    if (token === undefined || !hasOneAuthorization(request.raw.rawHeaders)) throw new TokenInvalid()

    const { user_id: userId, jti } = app.accessTokens.verify(token)
    if (!isUserId(userId)) throw new TokenClaimsInvalid()
    const tokenId = isTokenId(jti) ? jti : noTokenId
    // Wherever the guard stands, its host must not show what a database says.
    const owner = await app.tokens.findOwner(userId, tokenId).catch((error) => { throw asExpectedError(error) })
    if (owner === undefined) throw new UserNotFound()
    if (!owner.isLiving) throw new TokenRevoked()
    app.tokens.markUsed(tokenId, owner.lastUsedAt)
    request.currentUser = owner.user
    request.currentTokenId = tokenId
  }
  app.decorate('authenticate', asGuard(authenticate, authenticateErrors))

  // A guarded route cannot be undocumented: what is enforced is what is written down.
  app.addHook('onRoute', (route) => {
    const refusals = refusalsOf(route)
    if (refusals.length === 0) return
    if (securityScheme !== undefined) route.schema = { security: [{ [securityScheme]: [] }], ...route.schema }
    route.config = { ...route.config, errors: [...refusals, ...route.config?.errors ?? []] }
  })
}

export default fp(plugin, { name: 'latchkey-authenticate', dependencies: ['latchkey-jwt', 'latchkey-tokens'] })
