import type { FastifyPluginAsync, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { toHttpError } from '../../database/errors.js'
import { defineGuard } from './guard.js'
import { identityKey, requireIdentity } from './identity.js'
import { AuthorizationMissing, LoginTooOld, ServiceUnavailable, TokenClaimsInvalid, TokenExpired, TokenInvalid, TokenRevoked, UserNotFound } from '../../errors.js'
import type { ResolvedOptions } from '../../options.js'
import { rejectOldLogin } from './recent-login.js'
import type { VerifiedToken } from '../tokens/jwt.js'
import { renewalGraceMs } from '../tokens/limits.js'
import type { TokenOwner } from '../tokens/repository.js'

const authenticateErrors = [AuthorizationMissing, TokenClaimsInvalid, UserNotFound, TokenInvalid, TokenExpired, TokenRevoked, ServiceUnavailable]

// `Bearer` in any case, followed by spaces (RFC 6750, section 2.1; RFC 9110, section 11.1). A bare
// token, without the scheme, is accepted too.
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

/**
 * The token in the Authorization header; undefined where there is no header.
 *
 * @throws {TokenInvalid} there are two headers
 */
function tokenFromHeader ({ headers: { authorization }, raw }: FastifyRequest): string | undefined {
  if (authorization === undefined) return undefined
  if (!hasOneAuthorization(raw.rawHeaders)) throw new TokenInvalid()
  return tokenIn(authorization)
}

const plugin: FastifyPluginAsync<Pick<ResolvedOptions, 'tokenFrom' | 'now'>> = async (app, { tokenFrom = tokenFromHeader, now }) => {
  /** Authenticates a request: verifies its token, and checks that the token is not revoked. */
  async function authenticate<Owner extends TokenOwner> (request: FastifyRequest, find: (ids: VerifiedToken) => Promise<Owner | undefined>): Promise<Owner> {
    const found = tokenFrom(request)
    // A host's own function is not held to its type.
    if (found == null) throw new AuthorizationMissing()
    if (typeof found !== 'string') {
      // The promise of an async function is no token; its rejection must not end the process.
      Promise.resolve(found).catch(() => {})
      throw new TokenInvalid()
    }
    const token = app.accessTokens.verify(found)
    let owner: Owner | undefined
    try {
      owner = await find(token)
    } catch (error) {
      // The host's error handler must not show the database's message.
      throw toHttpError(error)
    }
    if (owner === undefined) throw new UserNotFound()
    if (owner.tokenUserId === null) throw new TokenRevoked()
    const { username, email, emailVerified, createdAt, lastUsedAt, renewedAt } = owner
    // A clock that was set back must not prolong the grace.
    if (renewedAt !== null && Math.abs(now() - renewedAt.getTime()) >= renewalGraceMs) throw new TokenRevoked()
    app.tokens.touch(token.tokenId, lastUsedAt)
    request[identityKey] = { user: { id: token.userId, username, email, emailVerified: Boolean(emailVerified), createdAt }, tokenId: token.tokenId }
    return owner
  }

  const { findOwner, findOwnerWithRoles } = app.tokens
  app.decorate('authenticate', defineGuard((request) => authenticate(request, findOwner), authenticateErrors))
  app.decorate('authenticateWithRoles', defineGuard(async (request) => {
    const { roles, secondFactorAt } = await authenticate(request, findOwnerWithRoles)
    Object.assign(requireIdentity(request), { roles, hasSecondFactor: secondFactorAt !== null })
  }, authenticateErrors))

  app.decorate('requireRecentLogin', (maxAgeSeconds: number) => {
    if (!Number.isInteger(maxAgeSeconds) || maxAgeSeconds < 1) throw new TypeError('requireRecentLogin needs a number of seconds, a positive integer')
    return defineGuard(async (request) => {
      if (request[identityKey] == null) await app.authenticate(request)
      const { user, tokenId } = requireIdentity(request)
      const login = await app.tokens.findLoginAge(user.id, tokenId).catch((error) => { throw toHttpError(error) })
      if (login === undefined) throw new TokenRevoked()
      rejectOldLogin(login, maxAgeSeconds)
    }, [...authenticateErrors, LoginTooOld])
  })
}

export default fp(plugin, { name: 'latchkey-authenticate', dependencies: ['latchkey-jwt', 'latchkey-tokens'] })
