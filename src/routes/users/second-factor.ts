import { Type } from '@sinclair/typebox'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { UserUnknown } from '../../errors.js'
import { runGuardsAgain } from '../../plugins/authenticate/guard.js'
import { secondFactorChangedMail } from '../../plugins/mail/messages.js'
import { notifyOwner } from '../../plugins/mail/notes.js'
import { actorOf } from '../../plugins/roles/actor.js'
import { adminRole } from '../../plugins/roles/role-name.js'
import { recordAction, requireUser } from './admin-action.js'
import { usernameParams } from './schemas.js'

const secondFactor: FastifyPluginAsyncTypebox = async (app) => {
  const onlyAdmins = app.requireRole(adminRole)

  app.delete('/users/:username/second-factor', {
    onRequest: [onlyAdmins],
    config: { errors: [UserUnknown] },
    schema: {
      operationId: 'disableSecondFactorOfUser',
      tags: ['Users'],
      summary: 'Switch the second factor of a user off',
      description: 'For a user who lost the authenticator app and the recovery codes: the password alone logs in again. The tokens of the user stay valid; to revoke them, log the user out everywhere. Succeeds if it is off already.',
      params: usernameParams,
      response: { 204: Type.Null({ description: 'The second factor is off.' }) }
    }
  }, async (request, reply) => {
    const user = await requireUser(app, request.params.username)
    if (await app.secondFactor.switchOff(user.id, { actor: actorOf(request) })) {
      recordAction(app, request, { kind: 'second_factor_change', userId: user.id, detail: 'disabled' })
      notifyOwner(app, user, (recipient) => secondFactorChangedMail(recipient, 'disabled'))
    } else await runGuardsAgain(request, [onlyAdmins])
    reply.code(204)
    return null
  })
}

export default secondFactor
