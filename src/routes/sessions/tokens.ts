import { Type } from '@sinclair/typebox'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { isTokenId } from '../../lib/claims.js'
import { TokenRevoked, UserNotFound } from '../../lib/errors.js'
import { ref } from '../../lib/ref.js'
import { personalTokenLifetimeSeconds, personalTokensPerUser } from '../../lib/token-limits.js'
import { TokenNotFound, TooManyTokens } from './errors.js'
import { Message, NewTokenBody, TokenList, TokenRequest } from './schemas.js'
import { tokenBody } from './token-body.js'

const tokens: FastifyPluginAsyncTypebox = async (app) => {
  app.get('/tokens', {
    onRequest: app.authenticate,
    schema: {
      operationId: 'listTokens',
      tags: ['Sessions'],
      summary: 'List my tokens',
      description: 'Where you are logged in, and your personal access tokens.',
      response: { 200: ref(TokenList) }
    }
  }, async ({ currentUser, currentTokenId }) => {
    const list = await app.tokens.list(currentUser.id)
    return { tokens: list.map((token) => tokenBody(token, currentTokenId)) }
  })

  app.post('/tokens', {
    onRequest: app.authenticate,
    config: { errors: [TooManyTokens] },
    schema: {
      operationId: 'createToken',
      tags: ['Sessions'],
      summary: 'Make a personal access token',
      description: `For a script or another program: a token with a name and a life of its own. It is shown this once. An account can have ${personalTokensPerUser}.`,
      body: ref(TokenRequest),
      response: { 201: ref(NewTokenBody) }
    }
  }, async (request, reply) => {
    const { currentUser: { id: userId }, currentTokenId, body: { description, expires_in: lifetimeSeconds = personalTokenLifetimeSeconds } } = request
    const issued = await app.accessTokens.issue({ userId, kind: 'personal', description, lifetimeSeconds })
    if (issued === undefined) throw new UserNotFound()
    // Whoever revokes all tokens must not miss one that is just being made: what asked must still live.
    const owner = await app.tokens.findOwner({ userId, tokenId: currentTokenId })
    if (owner === undefined || owner.tokenUserId === null) {
      await app.tokens.revoke(userId, issued.id)
      throw new TokenRevoked()
    }
    // Counted with the new one in it: of two that are made at once, neither can slip through.
    if (await app.tokens.countPersonal(userId) > personalTokensPerUser) {
      await app.tokens.revoke(userId, issued.id)
      throw new TooManyTokens()
    }
    await app.tokens.makeRoom(userId, [issued.id, currentTokenId])
    app.events.note({ kind: 'token_creation', userId, detail: issued.id }, request)
    reply.code(201)
    return { ...tokenBody({ ...issued, description, lastUsedAt: null }, currentTokenId), token: issued.token }
  })

  app.delete('/tokens', {
    onRequest: app.authenticate,
    schema: {
      operationId: 'revokeTokens',
      tags: ['Sessions'],
      summary: 'Log out everywhere',
      description: 'Takes all my tokens back, or all others than the one of this request.',
      querystring: Type.Object({
        scope: Type.String({ enum: ['all', 'others'], default: 'all', description: '`others` spares the token of this request.' })
      }),
      response: { 200: ref(Message) }
    }
  }, async (request) => {
    const { currentUser: { id: userId }, currentTokenId, query: { scope } } = request
    const hasTaken = await app.tokens.revokeAll(userId, scope === 'others' ? currentTokenId : undefined)
    if (hasTaken) app.events.note({ kind: 'revocation', userId, detail: scope }, request)
    return { msg: 'you are now disconnected for every device' }
  })

  app.delete('/tokens/:id', {
    onRequest: app.authenticate,
    config: { errors: [TokenNotFound] },
    schema: {
      operationId: 'revokeToken',
      tags: ['Sessions'],
      summary: 'Take one token back',
      description: 'Only your own; those of others are not there.',
      params: Type.Object({
        id: Type.String({ description: 'The `id` of the token.', examples: ['4e808214-e320-4173-bb6c-b75fbdd51003'] })
      }),
      response: { 200: ref(Message) }
    }
  }, async (request) => {
    const { currentUser: { id: userId }, params: { id } } = request
    // What is no id never reaches the database: all databases answer alike.
    if (!isTokenId(id) || !(await app.tokens.revoke(userId, id))) throw new TokenNotFound()
    app.events.note({ kind: 'revocation', userId, detail: id }, request)
    return { msg: 'the token has been deleted' }
  })
}

export default tokens
