import { Type } from '@sinclair/typebox'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { LastAdmin, UserUnknown } from '../../errors.js'
import { runGuardsAgain } from '../../plugins/authenticate/guard.js'
import { actorOf } from '../../plugins/roles/actor.js'
import { adminRole } from '../../plugins/roles/role-name.js'
import { recordAction, rejectRemoval, requireUser } from './admin-action.js'
import { usernameParams } from './schemas.js'

const disabled: FastifyPluginAsyncTypebox = async (app) => {
  const onlyAdmins = app.requireRole(adminRole)

  app.put('/users/:username/disabled', {
    onRequest: [onlyAdmins],
    config: { errors: [UserUnknown, LastAdmin] },
    schema: {
      operationId: 'disableUser',
      tags: ['Users'],
      summary: 'Disable a user',
      description: 'Disables an account: its tokens are revoked at once, on every server, and nobody can log in to it. Its data stay. Succeeds if the account is disabled already. The last enabled admin cannot be disabled.',
      params: usernameParams,
      response: { 204: Type.Null({ description: 'The account is disabled.' }) }
    }
  }, async (request, reply) => {
    const user = await requireUser(app, request.params.username)
    const wasEnabled = await app.users.findDisabledAt(user.id) === null
    if (!(await app.users.disable(user.id, actorOf(request)))) await rejectRemoval(app, request, user, onlyAdmins)
    if (wasEnabled) recordAction(app, request, { kind: 'disabling', userId: user.id })
    else await runGuardsAgain(request, [onlyAdmins])
    reply.code(204)
    return null
  })

  app.delete('/users/:username/disabled', {
    onRequest: [onlyAdmins],
    config: { errors: [UserUnknown] },
    schema: {
      operationId: 'enableUser',
      tags: ['Users'],
      summary: 'Enable a user',
      description: 'Enables an account that was disabled: its user can log in again. The tokens that were revoked stay revoked. Succeeds if the account is enabled already.',
      params: usernameParams,
      response: { 204: Type.Null({ description: 'The account is enabled.' }) }
    }
  }, async (request, reply) => {
    const { id } = await requireUser(app, request.params.username)
    if (await app.users.enable(id, actorOf(request))) recordAction(app, request, { kind: 'enabling', userId: id })
    else await runGuardsAgain(request, [onlyAdmins])
    reply.code(204)
    return null
  })
}

export default disabled
