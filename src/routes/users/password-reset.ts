import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { UserUnknown } from '../../errors.js'
import { runGuardsAgain } from '../../plugins/authenticate/guard.js'
import { issuePasswordReset } from '../../plugins/codes/password-reset.js'
import { actorOf } from '../../plugins/roles/actor.js'
import { isStillAdmin } from '../../plugins/roles/admin-conditions.js'
import { adminRole } from '../../plugins/roles/role-name.js'
import { ref } from '../../schema-ref.js'
import { recordAction, requireUser } from './admin-action.js'
import { resetCode } from './bodies.js'
import { ResetCode, ResetCodeRequest, usernameParams } from './schemas.js'

const passwordReset: FastifyPluginAsyncTypebox = async (app) => {
  const onlyAdmins = app.requireRole(adminRole)

  app.post('/users/:username/password-reset', {
    onRequest: [onlyAdmins],
    config: { errors: [UserUnknown] },
    schema: {
      operationId: 'startPasswordReset',
      tags: ['Users'],
      summary: 'Start a password reset',
      description: 'Creates a code with which the user sets another password. Hand the code or the link over: the server shows it only once. Older codes of the user are not valid any longer; the password and the tokens stay until the code is used.',
      params: usernameParams,
      body: ref(ResetCodeRequest),
      response: { 201: ref(ResetCode) }
    }
  }, async (request, reply) => {
    const { id } = await requireUser(app, request.params.username)
    const issued = await issuePasswordReset(app, id, { lifetimeSeconds: request.body.expires_in, condition: isStillAdmin(app.store, actorOf(request)) })
    if (issued === undefined) {
      await runGuardsAgain(request, [onlyAdmins])
      throw new UserUnknown()
    }
    recordAction(app, request, { kind: 'reset_request', userId: id })
    reply.code(201)
    return resetCode(issued)
  })
}

export default passwordReset
