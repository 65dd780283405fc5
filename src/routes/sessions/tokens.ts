import { Type } from '@sinclair/typebox'
import type { FastifyRequest } from 'fastify'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { isTokenId } from '../../plugins/tokens/claims.js'
import { CodeIncorrect, CodeRequired, LoginTooOld, Overloaded, PasswordIncorrect, TooManyAttempts, TooManyTokens } from '../../errors.js'
import { runGuardsAgain } from '../../plugins/authenticate/guard.js'
import { rejectOldLogin } from '../../plugins/authenticate/recent-login.js'
import type { HashJob } from '../../plugins/passwords/hash-limiter.js'
import { checkOwnPassword, type OwnCredentials } from '../../plugins/login-throttle/check-own-password.js'
import { hashJobOf } from '../../plugins/passwords/hash-job.js'
import { tokenBody, TokenList } from '../../plugins/tokens/token-body.js'
import { ref } from '../../schema-ref.js'
import { personalTokenLifetimeSeconds, personalTokensPerUser, recentLoginSeconds } from '../../plugins/tokens/limits.js'
import { LoginRequired, TokenNotFound } from './errors.js'
import { Message, NewTokenBody, TokenRequest } from './schemas.js'

const tokens: FastifyPluginAsyncTypebox = async (app) => {
  app.get('/tokens', {
    onRequest: [app.authenticate],
    schema: {
      operationId: 'listTokens',
      tags: ['Sessions'],
      summary: 'List my tokens',
      description: 'Lists the active tokens of your account: logins and personal access tokens.',
      response: { 200: ref(TokenList) }
    }
  }, async ({ currentUser, currentTokenId }) => {
    const list = await app.tokens.list(currentUser.id)
    return { tokens: list.map((token) => tokenBody(token, currentTokenId)) }
  })

  /**
   * Requires a recent login or the password: a stolen token must not create others, which
   * would stay valid after it expires or is revoked.
   *
   * @returns the hash that the password was verified with; undefined where none was
   */
  async function requireOwner (request: FastifyRequest, job: HashJob, { password, code }: Partial<OwnCredentials>): Promise<string | undefined> {
    const { currentUser: { id: userId }, currentTokenId } = request
    const current = await app.tokens.findLoginAge(userId, currentTokenId)
    // A token that was revoked concurrently: inserting the new one fails.
    if (current === undefined) return undefined
    if (current.kind === 'personal') throw new LoginRequired()
    if (password !== undefined) return await checkOwnPassword(app, request, { kind: 'token_creation', password, code, job })
    rejectOldLogin(current, recentLoginSeconds)
  }

  app.post('/tokens', {
    onRequest: [app.authenticate],
    config: { errors: [PasswordIncorrect, CodeRequired, CodeIncorrect, LoginTooOld, LoginRequired, TooManyTokens, TooManyAttempts, Overloaded] },
    schema: {
      operationId: 'createToken',
      tags: ['Sessions'],
      summary: 'Create a personal access token',
      description: `Creates a token for a script or another program, with its own description and lifetime. The server shows it only once. An account can have ${personalTokensPerUser}; after many in an hour, the next ones have to wait. A personal access token cannot create others. A login that is older than ${recentLoginSeconds / 60} minutes must send the password as well, and with a second factor a code.`,
      body: ref(TokenRequest),
      response: { 201: ref(NewTokenBody) }
    }
  }, async (request, reply) => {
    const { currentUser: { id: userId }, currentTokenId, body: { description, expires_in: lifetimeSeconds = personalTokenLifetimeSeconds } } = request
    const job = hashJobOf(request, reply)
    const verifiedHash = await requireOwner(request, job, request.body)
    const issue = (passwordHash?: string) => app.throttle.createToken(request, userId, () => app.accessTokens.issue({ userId, kind: 'personal', description, lifetimeSeconds, passwordHash, requestingTokenId: currentTokenId }))
    let issued = await issue(verifiedHash)
    if (issued === undefined) {
      // Either the current token was revoked concurrently, which the guard reports, or the stored hash is another one now, or there are too many.
      await runGuardsAgain(request, [app.authenticate])
      const currentHash = await app.users.findHash(userId)
      if (verifiedHash !== undefined && currentHash !== verifiedHash) {
        if (!(await app.passwords.verify(currentHash, String(request.body.password), job))) throw new PasswordIncorrect()
        issued = await issue(currentHash)
      }
    }
    if (issued === undefined) throw new TooManyTokens()
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
      description: 'Revokes all tokens of your account, or all except the token of this request.',
      querystring: Type.Object({
        scope: Type.Optional(Type.String({ enum: ['all', 'others'], default: 'all', description: '`others` keeps the token of this request.' }))
      }),
      response: { 200: ref(Message) }
    }
  }, async (request) => {
    const { currentUser: { id: userId }, currentTokenId, query: { scope } } = request
    const hasRevoked = await app.tokens.revokeAll(userId, scope === 'others' ? currentTokenId : undefined)
    if (hasRevoked) app.audit.record({ kind: 'revocation', userId, detail: scope }, request)
    return { msg: scope === 'others' ? 'you are now disconnected on every other device' : 'you are now disconnected for every device' }
  })

  app.delete('/tokens/:id', {
    onRequest: [app.authenticate],
    config: { errors: [TokenNotFound] },
    schema: {
      operationId: 'revokeToken',
      tags: ['Sessions'],
      summary: 'Revoke a token',
      description: 'Revokes a token of your account. Other ids are `TOKEN_NOT_FOUND`.',
      params: Type.Object({
        id: Type.String({ description: 'The `id` of the token.', examples: ['4e808214-e320-4173-bb6c-b75fbdd51003'] })
      }),
      response: { 200: ref(Message) }
    }
  }, async (request) => {
    const { currentUser: { id: userId }, params: { id } } = request
    // An invalid id does not reach the database: PostgreSQL would fail on it, SQLite would not.
    if (!isTokenId(id) || !(await app.tokens.revoke(userId, id))) throw new TokenNotFound()
    app.audit.record({ kind: 'revocation', userId, detail: id }, request)
    return { msg: 'the token has been deleted' }
  })
}

export default tokens
