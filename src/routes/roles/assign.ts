import { Type } from '@sinclair/typebox'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { LastAdmin, RoleNotFound, UserUnknown } from '../../errors.js'
import { runGuardsAgain } from '../../plugins/authenticate/guard.js'
import { adminRole, roleNameProblem } from '../../plugins/roles/role-name.js'
import type { User } from '../../plugins/users/user.js'

const url = '/users/:username/roles/:name'

const params = Type.Object({
  username: Type.String({ description: 'In any case.', examples: ['bob'] }),
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

const actorOf = ({ currentUser: { id: userId }, currentTokenId: tokenId }: FastifyRequest) => ({ userId, tokenId })

const assign: FastifyPluginAsyncTypebox = async (app) => {
  const onlyAdmins = app.requireRole(adminRole)

  app.put(url, {
    onRequest: [onlyAdmins],
    config: { errors: [UserUnknown, RoleNotFound] },
    schema: {
      operationId: 'grantRole',
      tags: ['Roles'],
      summary: 'Give a role',
      description: 'Whoever has it already keeps it.',
      params,
      response: { 204: Type.Null({ description: 'The user has the role.' }) }
    }
  }, async (request, reply) => {
    const { username, name } = request.params
    const { id } = await lookUp(app, username, name)
    if (!(await app.roles.grant(id, name, actorOf(request)))) {
      await runGuardsAgain(request, [onlyAdmins])
      // Where both are still there, the user had the role, and somebody takes it at this moment.
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
      summary: 'Take a role',
      description: 'Whoever does not have it goes on without it. The last admin stays admin.',
      params,
      response: { 204: Type.Null({ description: 'The user does not have the role.' }) }
    }
  }, async (request, reply) => {
    const { username, name } = request.params
    const { id } = await lookUp(app, username, name)
    if (!(await app.roles.revoke(id, name, actorOf(request)))) {
      await runGuardsAgain(request, [onlyAdmins])
      // Otherwise somebody gives the role again at this moment.
      if (name === adminRole && await app.roles.isLastAdmin(id)) throw new LastAdmin()
    }
    app.audit.record({ kind: 'role_change', userId: id, actorId: request.currentUser.id, detail: `revoked ${name}` }, request)
    reply.code(204)
    return null
  })
}

export default assign
