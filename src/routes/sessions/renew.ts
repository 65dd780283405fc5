import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { LoginTooOld, TokenRevoked, TooManyAttempts } from '../../errors.js'
import type { ResolvedOptions } from '../../options.js'
import { runGuardsAgain } from '../../plugins/authenticate/guard.js'
import { renewalGraceMs } from '../../plugins/tokens/limits.js'
import { ref } from '../../schema-ref.js'
import { LoginRequired } from './errors.js'
import { LoginResponse } from './schemas.js'

const renew: FastifyPluginAsyncTypebox<Pick<ResolvedOptions, 'tokenTtlSeconds' | 'sessionMaxSeconds'>> = async (app, { tokenTtlSeconds, sessionMaxSeconds }) => {
  app.post('/renew', {
    onRequest: [app.authenticate],
    config: { errors: [LoginTooOld, LoginRequired, TooManyAttempts] },
    schema: {
      operationId: 'renewToken',
      tags: ['Sessions'],
      summary: 'Renew the token',
      description: `Issues another token in place of that of this request, without the password. The old one stays valid for ${renewalGraceMs / 1_000} seconds, in which it can be renewed again. \`SESSION_MAX_SECONDS\` after the login with the password nothing is renewed any more: \`LOGIN_TOO_OLD\`. A personal access token cannot be renewed.`,
      response: { 200: ref(LoginResponse) }
    }
  }, async (request) => {
    const { currentUser: { id: userId }, currentTokenId } = request
    const login = await app.tokens.findLoginAge(userId, currentTokenId)
    if (login?.kind === 'personal') throw new LoginRequired()
    // Of a token that was revoked concurrently nothing is known: it is not renewed.
    const leftSeconds = Math.floor(sessionMaxSeconds - (login?.ageSeconds ?? 0))
    if (leftSeconds < 1) throw new LoginTooOld(sessionMaxSeconds)
    app.throttle.countRenewal(request, userId)
    const issued = await app.accessTokens.issue({ userId, kind: 'renewal', renewedTokenId: currentTokenId, lifetimeSeconds: Math.min(tokenTtlSeconds, leftSeconds) })
    if (issued === undefined) {
      await runGuardsAgain(request, [app.authenticate])
      throw new TokenRevoked()
    }
    app.audit.record({ kind: 'renewal', userId, detail: issued.id }, request)
    return { token: issued.token, token_type: 'Bearer', expires_in: issued.lifetimeSeconds }
  })
}

export default renew
