import { Type } from '@sinclair/typebox'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { LastAdmin, UserUnknown } from '../../errors.js'
import { actorOf } from '../../plugins/roles/actor.js'
import { adminRole } from '../../plugins/roles/role-name.js'
import { ref } from '../../schema-ref.js'
import { recordAction, rejectRemoval, requireUser } from './admin-action.js'
import { userDetails } from './bodies.js'
import { UserDetailsBody, usernameParams } from './schemas.js'

const user: FastifyPluginAsyncTypebox = async (app) => {
  const onlyAdmins = app.requireRole(adminRole)

  app.get('/users/:username', {
    onRequest: [onlyAdmins],
    config: { errors: [UserUnknown] },
    schema: {
      operationId: 'getUser',
      tags: ['Users'],
      summary: 'Show a user',
      description: 'The account of a user, with its roles, its last login and the number of its tokens. The last login is accurate to about a day.',
      params: usernameParams,
      response: { 200: ref(UserDetailsBody) }
    }
  }, async (request) => {
    const details = await app.users.findDetails(request.params.username)
    if (details === undefined) throw new UserUnknown()
    return userDetails(details)
  })

  app.delete('/users/:username', {
    onRequest: [onlyAdmins],
    config: { errors: [UserUnknown, LastAdmin] },
    schema: {
      operationId: 'deleteUser',
      tags: ['Users'],
      summary: 'Delete a user',
      description: 'Deletes the account of a user and its data, such as its tokens and its roles. The last enabled admin cannot be deleted.',
      params: usernameParams,
      response: { 204: Type.Null({ description: 'The account was deleted.' }) }
    }
  }, async (request, reply) => {
    const found = await requireUser(app, request.params.username)
    if (!(await app.users.delete(found.id, { actor: actorOf(request) }))) await rejectRemoval(app, request, found, onlyAdmins)
    recordAction(app, request, { kind: 'deletion', userId: found.id })
    reply.code(204)
    return null
  })
}

export default user
