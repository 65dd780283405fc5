import { Type } from '@sinclair/typebox'
import type { FastifyRequest } from 'fastify'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { isTokenId } from '../../plugins/tokens/claims.js'
import { Overloaded, PasswordIncorrect, TooManyAttempts, TooManyTokens } from '../../errors.js'
import { runGuardsAgain } from '../../plugins/authenticate/guard.js'
import type { HashJob } from '../../plugins/passwords/hash-limiter.js'
import { isOwnPassword, turnOf } from '../../plugins/login-throttle/own-password.js'
import { ref } from '../../schema-ref.js'
import { personalTokenLifetimeSeconds, personalTokensPerUser, recentLoginSeconds } from '../../plugins/tokens/limits.js'
import { LoginRequired, LoginTooOld, TokenNotFound } from './errors.js'
import { Message, NewTokenBody, TokenList, TokenRequest } from './schemas.js'
import { tokenBody } from './token-body.js'

const tokens: FastifyPluginAsyncTypebox = async (app) => {
  app.get('/tokens', {
    onRequest: [app.authenticate],
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

  /**
   * Makes sure that the owner is asking: whoever has found a token must not get others from it,
   * which live on when that one expires or is revoked.
   */
  async function requireOwner (request: FastifyRequest, turn: HashJob, password?: string): Promise<void> {
    const { currentUser: { id: userId }, currentTokenId } = request
    const asking = await app.tokens.findAge(userId, currentTokenId)
    // For a login that is gone none will be made.
    if (asking === undefined) return
    if (asking.kind === 'personal') throw new LoginRequired()
    if (password === undefined) {
      if (asking.ageSeconds > recentLoginSeconds) throw new LoginTooOld()
    } else if (!(await isOwnPassword(app, request, await app.users.findHash(userId), password, turn))) {
      app.audit.record({ kind: 'token_creation', outcome: 'password_incorrect', userId }, request)
      throw new PasswordIncorrect()
    }
  }

  app.post('/tokens', {
    onRequest: [app.authenticate],
    config: { errors: [PasswordIncorrect, LoginTooOld, LoginRequired, TooManyTokens, TooManyAttempts, Overloaded] },
    schema: {
      operationId: 'createToken',
      tags: ['Sessions'],
      summary: 'Make a personal access token',
      description: `For a script or another program: a token with a name and a life of its own. It is shown this once. An account can have ${personalTokensPerUser}; after many in an hour the next ones have to wait. A personal access token makes no others, and a login that is older than ${recentLoginSeconds / 60} minutes needs the password as well.`,
      body: ref(TokenRequest),
      response: { 201: ref(NewTokenBody) }
    }
  }, async (request, reply) => {
    const { currentUser: { id: userId }, currentTokenId, body: { description, expires_in: lifetimeSeconds = personalTokenLifetimeSeconds, password } } = request
    await requireOwner(request, turnOf(request, reply), password)
    const issued = await app.throttle.makeToken(request, userId, () => app.accessTokens.issue({ userId, kind: 'personal', description, lifetimeSeconds, askingId: currentTokenId }))
    if (issued === undefined) {
      // Either what asked is gone by now, which the guard says, or there are too many.
      await runGuardsAgain(request, [app.authenticate])
      throw new TooManyTokens()
    }
    app.audit.record({ kind: 'token_creation', userId, detail: issued.id }, request)
    reply.code(201)
    return { ...tokenBody({ ...issued, description, lastUsedAt: null }, currentTokenId), token: issued.token }
  })

  app.delete('/tokens', {
    onRequest: [app.authenticate],
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
    if (hasTaken) app.audit.record({ kind: 'revocation', userId, detail: scope }, request)
    return { msg: scope === 'others' ? 'you are now disconnected on every other device' : 'you are now disconnected for every device' }
  })

  app.delete('/tokens/:id', {
    onRequest: [app.authenticate],
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
    app.audit.record({ kind: 'revocation', userId, detail: id }, request)
    return { msg: 'the token has been deleted' }
  })
}

export default tokens
