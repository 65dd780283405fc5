import { Type } from '@sinclair/typebox'
import type { FastifyInstance } from 'fastify'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { LastAdmin, RoleNotFound, UserUnknown } from '../../errors.js'
import { runGuardsAgain } from '../../plugins/authenticate/guard.js'
import { actorOf } from '../../plugins/roles/actor.js'
import { adminRole, roleNameProblem } from '../../plugins/roles/role-name.js'
import type { User } from '../../plugins/users/user.js'

const url = '/users/:username/roles/:name'

const params = Type.Object({
  username: Type.String({ description: 'In any case.', examples: ['ada'] }),
  name: Type.String({ description: 'The name of the role.', examples: ['editor'] })
})

/**
 * The user and the role that a path names.
 *
 * @throws {UserUnknown}
 * @throws {RoleNotFound}
 */
async function lookUp (app: FastifyInstance, username: string, name: string): Promise<User> {
  const user = await app.users.find(username)
  if (user === undefined) throw new UserUnknown()
  if (roleNameProblem(name) !== undefined || !(await app.roles.has(name))) throw new RoleNotFound()
  return user
}

const assign: FastifyPluginAsyncTypebox = async (app) => {
  const onlyAdmins = app.requireRole(adminRole)

  app.put(url, {
    onRequest: [onlyAdmins],
    config: { errors: [UserUnknown, RoleNotFound] },
    schema: {
      operationId: 'grantRole',
      tags: ['Roles'],
      summary: 'Grant a role',
      description: 'Grants a role to a user. Succeeds if the user has the role already.',
      params,
      response: { 204: Type.Null({ description: 'The user has the role.' }) }
    }
  }, async (request, reply) => {
    const { username, name } = request.params
    const { id } = await lookUp(app, username, name)
    if (!(await app.roles.grant(id, name, actorOf(request)))) {
      await runGuardsAgain(request, [onlyAdmins])
      // If both still exist, the user had the role, and another admin is revoking it concurrently.
      await lookUp(app, username, name)
    }
    app.audit.record({ kind: 'role_change', userId: id, actorId: request.currentUser.id, detail: `granted ${name}` }, request)
    reply.code(204)
    return null
  })

  app.delete(url, {
    onRequest: [onlyAdmins],
    config: { errors: [UserUnknown, RoleNotFound, LastAdmin] },
    schema: {
      operationId: 'revokeRole',
      tags: ['Roles'],
      summary: 'Revoke a role',
      description: 'Revokes a role of a user. Succeeds if the user does not have the role. The last enabled admin cannot lose `admin`.',
      params,
      response: { 204: Type.Null({ description: 'The user does not have the role.' }) }
    }
  }, async (request, reply) => {
    const { username, name } = request.params
    const { id } = await lookUp(app, username, name)
    if (!(await app.roles.revoke(id, name, actorOf(request)))) {
      await runGuardsAgain(request, [onlyAdmins])
      // Otherwise another admin is granting the role again concurrently.
      if (name === adminRole && await app.roles.isLastAdmin(id)) throw new LastAdmin()
    }
    app.audit.record({ kind: 'role_change', userId: id, actorId: request.currentUser.id, detail: `revoked ${name}` }, request)
    reply.code(204)
    return null
  })
}

export default assign
