import type { FastifyRequest, RouteOptions } from 'fastify'
import type { ErrorClass } from './error-responses.js'

/** A hook that lets only some requests through; usable as preHandler and as onRequest. */
export type Guard = (request: FastifyRequest) => Promise<void>

const refusals = new WeakMap<object, ErrorClass[]>()

/** Marks a hook as a guard, and notes what it refuses with, for the contract. */
export function asGuard (hook: Guard, errors: ErrorClass[]): Guard {
  refusals.set(hook, errors)
  return hook
}

/** What the guards of a route refuse with; empty for a route without a guard. */
export function refusalsOf ({ preHandler, onRequest }: Pick<RouteOptions, 'preHandler' | 'onRequest'>): ErrorClass[] {
  return [preHandler, onRequest].flat().flatMap((hook) => refusals.get(Object(hook)) ?? [])
}
