import { setTimeout as delay } from 'node:timers/promises'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { unwrapDatabaseError } from '../../lib/unwrap-error.js'
import { describeUserAgent } from '../../lib/single-line.js'
import { Overloaded, PasswordIncorrect, ServiceUnavailable, TooManyAttempts } from '../../errors.js'
import type { EventOutcome } from '../../plugins/audit/event.js'
import { clientNetwork } from '../../lib/client-network.js'
import { turnOf } from '../../plugins/login-throttle/own-password.js'
import { ref } from '../../schema-ref.js'
import { CredentialsIncorrect, UsernameUnknown } from './errors.js'
import { LoginRequest, LoginResponse } from './schemas.js'

/**
 * How long a login takes at the least before it fails, in milliseconds from the start of its
 * hash, where nobody may tell one failure from another: longer than any hash that is likely.
 */
const uniformFailureMs = 400

const login: FastifyPluginAsyncTypebox<{ loginErrors: 'detailed' | 'uniform' }> = async (app, { loginErrors }) => {
  const isUniform = loginErrors === 'uniform'
  const UnknownUsername = isUniform ? CredentialsIncorrect : UsernameUnknown
  const WrongPassword = isUniform ? CredentialsIncorrect : PasswordIncorrect

  app.post('/login', {
    config: { errors: [PasswordIncorrect, CredentialsIncorrect, UsernameUnknown, TooManyAttempts, ServiceUnavailable, Overloaded] },
    onRequest: [app.throttle.refuseAddress('login'), app.passwords.rejectWhenFull('login')],
    preValidation: app.throttle.refuseAddress('login'),
    onSend: app.throttle.countMalformed('login'),
    schema: {
      operationId: 'logIn',
      tags: ['Sessions'],
      summary: 'Log in',
      description: 'Gives a token for a username and its password. A server with `LOGIN_ERRORS=uniform` does not tell an unknown username from a wrong password: both are `CREDENTIALS_INCORRECT`. After some failures from one address or for one username the next attempts have to wait: `TOO_MANY_ATTEMPTS`.',
      security: [],
      body: ref(LoginRequest),
      response: { 200: ref(LoginResponse) }
    }
  }, async (request, reply) => {
    const { username, password } = request.body
    const turn = turnOf(request, reply)
    // Once the password is known to be right, the login ends also where its client has left.
    const continued = { network: turn.network, isContinued: true }
    const credentials = await app.users.findCredentials(username, clientNetwork(request.ip))
    const userId = credentials?.id
    if (userId !== undefined) app.throttle.refuseAccount(request, userId)
    let hashStartedMs = performance.now()
    const fail = async (outcome: EventOutcome): Promise<Error> => {
      app.audit.record({ kind: 'login_failure', outcome, userId }, request)
      if (isUniform) await delay(hashStartedMs + uniformFailureMs - performance.now())
      return outcome === 'username_unknown' || outcome === 'user_deleted_concurrently' ? new UnknownUsername() : new WrongPassword()
    }

    const isCorrect = await app.throttle.guess(request, { username, userId, lastLoginAt: credentials?.lastLoginAt ?? null }, async () =>
      // Nobody's password need not be looked at, unless nobody may notice.
      (credentials !== undefined || isUniform) && app.passwords.verify(credentials?.passwordHash, password, { ...turn, onStart: () => { hashStartedMs = performance.now() } }))
    if (credentials === undefined || userId === undefined) throw await fail('username_unknown')
    if (!isCorrect) throw await fail('password_incorrect')
    const { passwordHash } = credentials

    const issued = await app.throttle.logIn(request, userId, () => app.accessTokens.issue({ userId, kind: 'login', description: describeUserAgent(request.headers['user-agent']) }))
    if (issued === undefined) throw await fail('user_deleted_concurrently')
    // Whoever changes a password revokes every token after the change. A token made between
    // the check and the change would outlive it: what was checked must still be the password.
    const presentHash = await app.users.findHash(userId)
    if (presentHash !== passwordHash && !(await app.passwords.verify(presentHash, password, continued))) {
      await app.tokens.revoke(userId, issued.id)
      throw await fail('password_changed_concurrently')
    }
    await app.tokens.evictLeastRecentlyUsed(userId, issued.id)
    app.audit.record({ kind: 'login', userId }, request)
    if (app.passwords.needsRehash(passwordHash, password)) {
      try {
        await app.users.replaceHash(userId, passwordHash, await app.passwords.hash(password, continued))
      } catch (error) {
        // The login has succeeded; the next one tries again.
        request.log.error({ err: unwrapDatabaseError(error) }, 'a password hash could not be upgraded')
      }
    }
    return { token: issued.token, token_type: 'Bearer', expires_in: issued.lifetimeSeconds }
  })
}

export default login
