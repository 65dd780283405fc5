import type { FastifyRequest } from 'fastify'
import type { User } from '../users/user.js'

/** Who a request comes from. */
export interface Identity {
  user: User
  /** The `jti` of the token that the request came with. */
  tokenId: string
  /** The names of the user's roles, sorted; undefined until a guard has looked them up. */
  roles?: string[]
  /** Whether the second factor is on; known where the roles are. */
  hasSecondFactor?: boolean
}

/** Where a request keeps its identity: a symbol collides with no name of a host. */
export const identityKey: unique symbol = Symbol('latchkey.identity')

declare module 'fastify' {
  interface FastifyRequest {
    [identityKey]: Identity | null
  }
}

/**
 * The identity that a guard has found.
 *
 * @throws {Error} no guard has run yet
 */
export function requireIdentity (request: FastifyRequest): Identity {
  const identity = request[identityKey]
  if (identity == null) throw new Error('there is no current user yet: no guard has run. Give the route one: { preHandler: [app.authenticate] }')
  return identity
}

/**
 * The roles that a guard has looked up.
 *
 * @throws {Error} no guard has looked them up yet
 */
export function requireRoles (request: FastifyRequest): string[] {
  const { roles } = requireIdentity(request)
  if (roles === undefined) throw new Error('the roles are not known: app.authenticate does not look them up. Use app.authenticateWithRoles or app.requireRole(...)')
  return roles
}
