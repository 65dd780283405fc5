import type { FastifyPluginAsync, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { toHttpError } from '../../database/errors.js'
import { defineGuard, recheckGuards, type Guard, guardErrors } from './guard.js'
import { AuthorizationMissing, ServiceUnavailable, TokenClaimsInvalid, TokenExpired, TokenInvalid, TokenRevoked, UserNotFound } from '../../errors.js'
import type { VerifiedToken } from '../tokens/jwt.js'
import type { TokenOwner } from '../tokens/index.js'
import type { User } from '../users/index.js'

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
    /** The same, and it sets `request.currentRoles` as well, with no second query. */
    authenticateWithRoles: Guard
  }
  interface FastifyRequest {
    /** Who is asking. Set by `authenticate`; null before it has run and on routes without it. */
    currentUser: User
    /** The id (`jti`) of the token that the request came with. Set by `authenticate`. */
    currentTokenId: string
    /** The names of the user's roles, sorted. Set by `authenticateWithRoles`, and by `requireRole`; null where neither has run. */
    currentRoles: string[]
  }
}

const authenticateErrors = [AuthorizationMissing, TokenClaimsInvalid, UserNotFound, TokenInvalid, TokenExpired, TokenRevoked, ServiceUnavailable]

// `Bearer`, in any case and followed by spaces (RFC 6750, section 2.1; RFC 9110, section
// 11.1), or, as in the course, nothing; then the token.
const scheme = /^Bearer +/i

/** The token in the header. It is mostly written as every client writes it, and begins as every JWT does. */
function tokenIn (authorization: string): string {
  return authorization.startsWith('Bearer ey') ? authorization.slice(7) : authorization.replace(scheme, '')
}

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
  app.decorateRequest('currentRoles', null, [])

  /** Finds out who is asking, where their token lives. */
  async function identify<Owner extends TokenOwner> (request: FastifyRequest, find: (ids: VerifiedToken) => Promise<Owner | undefined>, note?: (owner: Owner) => void): Promise<void> {
    const { authorization } = request.headers
    if (authorization === undefined) throw new AuthorizationMissing()
    if (!hasOneAuthorization(request.raw.rawHeaders)) throw new TokenInvalid()

    const token = app.accessTokens.verify(tokenIn(authorization))
    let owner: Owner | undefined
    try {
      owner = await find(token)
    } catch (error) {
      // Wherever the guard stands, its host must not show what a database says.
      throw toHttpError(error)
    }
    if (owner === undefined) throw new UserNotFound()
    if (owner.tokenUserId === null) throw new TokenRevoked()
    const { username, email, createdAt, lastUsedAt } = owner
    app.tokens.markUsed(token.tokenId, lastUsedAt)
    request.currentUser = { id: token.userId, username, email, createdAt }
    request.currentTokenId = token.tokenId
    note?.(owner)
  }

  const { findOwner, findOwnerWithRoles } = app.tokens
  app.decorate('authenticate', defineGuard((request) => identify(request, findOwner), authenticateErrors))
  app.decorate('authenticateWithRoles', defineGuard((request) => identify(request, findOwnerWithRoles, ({ roles }) => {
    request.currentRoles = roles
  }), authenticateErrors))

  app.addHook('preValidation', recheckGuards)

  // A guarded route cannot be undocumented: what is enforced is what is written down.
  app.addHook('onRoute', (route) => {
    const refusals = guardErrors(route)
    if (refusals.length === 0) return
    if (securityScheme !== undefined) route.schema = { security: [{ [securityScheme]: [] }], ...route.schema }
    route.config = { ...route.config, errors: [...refusals, ...route.config?.errors ?? []] }
  })
}

export default fp(plugin, { name: 'latchkey-authenticate', dependencies: ['latchkey-jwt', 'latchkey-tokens'] })
