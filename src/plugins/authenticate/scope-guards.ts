import type { FastifyInstance } from 'fastify'
import type { ErrorClass } from '../errors/responses.js'
import { errorsOf, guardHooks } from './guard.js'

/** The errors of the guards that each scope got by `addHook`. */
const errorsOfScope = new WeakMap<object, ErrorClass[]>()

/**
 * Notes the guards that an app and its scopes get by `addHook` from now on: Fastify does not say
 * which hooks a scope has. Nothing else changes.
 */
export function watchScopeGuards (app: FastifyInstance): void {
  // One of the overloads stands for all of them.
  const addHook = app.addHook as (name: string, hook: object) => FastifyInstance
  Object.assign(app, {
    addHook (this: FastifyInstance, name: string, hook: object) {
      const errors = guardHooks.some((each) => each === name) ? errorsOf(hook) : []
      errorsOfScope.set(this, [...errorsOfScope.get(this) ?? [], ...errors])
      return addHook.call(this, name, hook)
    }
  })
}

/** The errors of the guards that apply to all routes of a scope: its own, and those of the scopes around it. */
export function scopeGuardErrors (scope: object): ErrorClass[] {
  // Fastify makes each scope an heir of the one around it.
  const outer: object | null = Object.getPrototypeOf(scope)
  return [...outer === null ? [] : scopeGuardErrors(outer), ...errorsOfScope.get(scope) ?? []]
}
