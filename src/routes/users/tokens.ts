import { Type } from '@sinclair/typebox'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { UserUnknown } from '../../errors.js'
import { runGuardsAgain } from '../../plugins/authenticate/guard.js'
import { actorOf } from '../../plugins/roles/actor.js'
import { adminRole } from '../../plugins/roles/role-name.js'
import { tokenBody, TokenList } from '../../plugins/tokens/token-body.js'
import { ref } from '../../schema-ref.js'
import { recordAction, requireUser } from './admin-action.js'
import { usernameParams } from './schemas.js'

const tokens: FastifyPluginAsyncTypebox = async (app) => {
  const onlyAdmins = app.requireRole(adminRole)

  app.get('/users/:username/tokens', {
    onRequest: [onlyAdmins],
    config: { errors: [UserUnknown] },
    schema: {
      operationId: 'listUserTokens',
      tags: ['Users'],
      summary: 'List the tokens of a user',
      description: 'Lists the active tokens of a user: logins and personal access tokens. The tokens themselves are never shown.',
      params: usernameParams,
      response: { 200: ref(TokenList) }
    }
  }, async ({ params: { username }, currentTokenId }) => {
    const { id } = await requireUser(app, username)
    return { tokens: (await app.tokens.list(id)).map((token) => tokenBody(token, currentTokenId)) }
  })

  app.delete('/users/:username/tokens', {
    onRequest: [onlyAdmins],
    config: { errors: [UserUnknown] },
    schema: {
      operationId: 'revokeUserTokens',
      tags: ['Users'],
      summary: 'Log a user out everywhere',
      description: 'Revokes all tokens of a user, personal access tokens as well. Succeeds if there are none.',
      params: usernameParams,
      response: { 204: Type.Null({ description: 'The user has no token any longer.' }) }
    }
  }, async (request, reply) => {
    const { id } = await requireUser(app, request.params.username)
    if (await app.tokens.revokeAll(id, undefined, actorOf(request))) recordAction(app, request, { kind: 'revocation', userId: id, detail: 'all' })
    else await runGuardsAgain(request, [onlyAdmins])
    reply.code(204)
    return null
  })
}

export default tokens
