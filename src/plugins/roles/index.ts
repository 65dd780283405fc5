import type { FastifyPluginAsync, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { toHttpError } from '../../database/errors.js'
import { RoleRequired } from '../../errors.js'
import { defineGuard, guardErrors } from '../authenticate/guard.js'
import { identityKey, requireIdentity } from '../authenticate/identity.js'
import { type Roles, rolesRepository } from './repository.js'

declare module 'fastify' {
  interface FastifyInstance {
    roles: Roles
  }
}

const plugin: FastifyPluginAsync = async (app) => {
  app.decorate('roles', rolesRepository(app.store))

  app.decorate('requireRole', (...names: string[]) => {
    if (names.length === 0) throw new TypeError('requireRole needs the name of at least one role')
    const requireOneOf = async (request: FastifyRequest) => {
      if (request[identityKey] == null) await app.authenticateWithRoles(request)
      const identity = requireIdentity(request)
      identity.roles ??= await app.roles.ofUser(identity.user.id).catch((error) => { throw toHttpError(error) })
      if (!identity.roles.some((role) => names.includes(role))) throw new RoleRequired()
    }
    return defineGuard(requireOneOf, [...guardErrors({ preHandler: [app.authenticate] }), RoleRequired])
  })
}

export default fp(plugin, { name: 'latchkey-roles', dependencies: ['latchkey-database', 'latchkey-authenticate'] })
