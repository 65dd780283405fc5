import type { FastifyReply, FastifyRequest, RawServerBase, RouteGenericInterface, RouteOptions } from 'fastify'
import type { ErrorClass } from '../errors/responses.js'
import { RoleRequired } from '../../errors.js'
import { identityKey, requireIdentity } from './identity.js'
import { isPublic } from './public-route.js'
import { awaitsBody } from '../../lib/request-body.js'

/** A hook that rejects some requests; usable as preHandler and as onRequest, also on an HTTP/2 server. */
export type Guard = (request: FastifyRequest<RouteGenericInterface, RawServerBase>) => Promise<void>

/** What a guard does. */
type GuardHook = (request: FastifyRequest) => Promise<unknown>

const errorsOfGuard = new WeakMap<object, ErrorClass[]>()

/** Guards that accepted a request before its body had arrived. */
const earlyGuards = new WeakMap<FastifyRequest, Guard[]>()

/**
 * Makes a guard of a hook, and records the errors it throws, for the API documentation. If it
 * runs before the body of the request has arrived, it runs again afterwards.
 *
 * @see {@link recheckGuards}
 */
export function defineGuard (hook: GuardHook, errors: ErrorClass[]): Guard {
  const guard: Guard = async (incoming) => {
    // Fastify's requests have the same members whatever the server speaks; those of `raw` that a guard reads as well.
    const request = incoming as FastifyRequest
    try {
      await hook(request)
    } catch (error) {
      if (isPublic(request)) return
      throw error
    }
    if (awaitsBody(request) && !isPublic(request)) earlyGuards.set(request, [...earlyGuards.get(request) ?? [], guard])
  }
  errorsOfGuard.set(guard, errors)
  return guard
}

/**
 * Runs guards again, without the identity that they found before.
 *
 * @throws {RoleRequired} a role was revoked that a handler may have relied on
 */
export async function runGuardsAgain (request: FastifyRequest, guards: Guard[]): Promise<void> {
  const before = requireIdentity(request)
  request[identityKey] = null
  for (const guard of guards) await guard(request)
  const identity = requireIdentity(request)
  // What the host has added to the user stays.
  identity.user = Object.assign(before.user, identity.user)
  if (before.roles?.every((role) => identity.roles?.includes(role)) === false) throw new RoleRequired()
}

/**
 * A preValidation hook for every route: once the body has arrived, it runs those guards again
 * that ran before. The client chooses when its body arrives; a revocation until then must count.
 */
export function recheckGuards (request: FastifyRequest, reply: FastifyReply, done: (error?: Error) => void): void {
  const guards = earlyGuards.get(request)
  if (guards === undefined) return done()
  earlyGuards.delete(request)
  runGuardsAgain(request, guards).then(() => done(), done)
}

/** The hooks that can be guards. */
export const guardHooks = ['onRequest', 'preParsing', 'preValidation', 'preHandler'] as const

/** The errors that a hook throws if it is a guard; none otherwise. */
export function errorsOf (hook: object | undefined): ErrorClass[] {
  return hook === undefined ? [] : errorsOfGuard.get(hook) ?? []
}

/** The errors that the guards of a route throw; empty for a route without a guard of its own. */
export function guardErrors (route: Pick<RouteOptions, typeof guardHooks[number]>): ErrorClass[] {
  return guardHooks.flatMap((name) => [route[name]].flat().flatMap(errorsOf))
}
