import { Type } from '@sinclair/typebox'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { UserUnknown } from '../../errors.js'
import { runGuardsAgain } from '../../plugins/authenticate/guard.js'
import { actorOf } from '../../plugins/roles/actor.js'
import { adminRole } from '../../plugins/roles/role-name.js'
import { recordAction, requireUser } from './admin-action.js'
import { usernameParams } from './schemas.js'

const failures: FastifyPluginAsyncTypebox = async (app) => {
  const onlyAdmins = app.requireRole(adminRole)

  app.delete('/users/:username/failures', {
    onRequest: [onlyAdmins],
    config: { errors: [UserUnknown] },
    schema: {
      operationId: 'unlockUser',
      tags: ['Users'],
      summary: 'Unlock a user',
      description: 'Forgets the failed logins of a user, who then does not have to wait before the next one. Succeeds if there are none.',
      params: usernameParams,
      response: { 204: Type.Null({ description: 'The failed logins are forgotten.' }) }
    }
  }, async (request, reply) => {
    const { id, username } = await requireUser(app, request.params.username)
    if (await app.loginFailures.reset(username, actorOf(request))) recordAction(app, request, { kind: 'unlock', userId: id })
    else await runGuardsAgain(request, [onlyAdmins])
    reply.code(204)
    return null
  })
}

export default failures
