import { setTimeout as delay } from 'node:timers/promises'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { unwrapDatabaseError } from '../../lib/unwrap-error.js'
import { describeUserAgent } from '../../lib/single-line.js'
import { AccountDisabled, CodeIncorrect, CodeRequired, Overloaded, PasswordIncorrect, ServiceUnavailable, TooManyAttempts } from '../../errors.js'
import type { EventOutcome } from '../../plugins/audit/event.js'
import { publicRoute } from '../../plugins/authenticate/public-route.js'
import { networkOf } from '../../plugins/login-throttle/network.js'
import { hashJobOf } from '../../plugins/passwords/hash-job.js'
import { ref } from '../../schema-ref.js'
import { CredentialsIncorrect, UsernameUnknown } from './errors.js'
import { LoginRequest, LoginResponse } from './schemas.js'

/**
 * The minimum duration of a failed login with uniform errors, in milliseconds from the start of
 * its hash: longer than any likely hash, so that the failures cannot be told apart.
 */
const uniformFailureMs = 400

const login: FastifyPluginAsyncTypebox<{ loginErrors: 'detailed' | 'uniform' }> = async (app, { loginErrors }) => {
  const isUniform = loginErrors === 'uniform'
  const UnknownUsername = isUniform ? CredentialsIncorrect : UsernameUnknown
  const WrongPassword = isUniform ? CredentialsIncorrect : PasswordIncorrect

  app.post('/login', {
    config: { [publicRoute]: true, errors: [PasswordIncorrect, CredentialsIncorrect, CodeRequired, CodeIncorrect, AccountDisabled, UsernameUnknown, TooManyAttempts, ServiceUnavailable, Overloaded] },
    onRequest: [app.passwords.rejectWhenFull('login')],
    preHandler: app.throttle.rejectAddress('login'),
    errorHandler: app.throttle.rejectMalformedLogin,
    schema: {
      operationId: 'logIn',
      tags: ['Sessions'],
      summary: 'Log in',
      description: 'Issues a token for a username, or the email of an account, and its password. If the account has a second factor, the right password without a `code` is `CODE_REQUIRED`: send the same request with one. With `LOGIN_ERRORS=uniform`, the server answers an unknown username and a wrong password alike: `CREDENTIALS_INCORRECT`. After several failures from one address or for one username, the next attempts have to wait: `TOO_MANY_ATTEMPTS`.',
      security: [],
      body: ref(LoginRequest),
      response: { 200: ref(LoginResponse) }
    }
  }, async (request, reply) => {
    const { username, password, code } = request.body
    const job = hashJobOf(request, reply)
    const credentials = await app.users.findCredentials(username, networkOf(request))
    const userId = credentials?.id
    const lastLoginAt = credentials?.lastLoginAt ?? null
    if (userId !== undefined) await app.throttle.rejectAccount(request, userId)
    let hashStartedMs = performance.now()
    const fail = async (outcome: EventOutcome): Promise<Error> => {
      app.audit.record({ kind: 'login_failure', outcome, userId }, request)
      if (isUniform) await delay(hashStartedMs + uniformFailureMs - performance.now())
      if (outcome === 'code_incorrect') return new CodeIncorrect()
      return outcome === 'username_unknown' || outcome === 'user_deleted_concurrently' ? new UnknownUsername() : new WrongPassword()
    }

    const rejectDisabled = (disabledAt: Date | null) => {
      if (disabledAt === null) return
      app.audit.record({ kind: 'login_failure', outcome: 'account_disabled', userId }, request)
      throw new AccountDisabled()
    }

    // Failures count for the account, whether its username or its email was typed.
    const account = credentials?.username ?? username
    const checked = { isPasswordCorrect: false }
    const isCorrect = await app.throttle.checkPassword(request, { username: account, userId, verifiedHash: credentials?.passwordHash, lastLoginAt, wait: job }, async () => {
      // An unknown username needs no hash, unless its failure must take as long as others.
      checked.isPasswordCorrect = (credentials !== undefined || isUniform) && await app.passwords.verify(credentials?.passwordHash, password, { ...job, onStart: () => { hashStartedMs = performance.now() } })
      if (!checked.isPasswordCorrect || credentials === undefined) return false
      // Before a code is used up. It is no success either: only both together are.
      if (credentials.secondFactorAt !== null) rejectDisabled(credentials.disabledAt)
      return await app.secondFactor.accepts(credentials, code)
    })
    if (credentials === undefined || userId === undefined) throw await fail('username_unknown')
    if (!isCorrect) throw await fail(checked.isPasswordCorrect ? 'code_incorrect' : 'password_incorrect')
    rejectDisabled(credentials.disabledAt)
    const { passwordHash, secondFactorAt } = credentials
    // After a correct password the login completes, even if its client disconnects.
    const nextJob = { network: job.network, hasPriority: true }

    const issued = await app.throttle.logIn(request, { userId, lastLoginAt }, async () => {
      const description = describeUserAgent(request.headers['user-agent'])
      const issue = (hash: string) => app.accessTokens.issue({ userId, kind: 'login', passwordHash: hash, secondFactorAt, description })
      let token = await issue(passwordHash)
      while (token === undefined) {
        // The stored hash is another one now: an upgrade of the same password, or another password. Or the account was disabled, or its second factor switched on.
        const current = await app.users.findCredentialsById(userId)
        if (current === undefined) throw await fail('user_deleted_concurrently')
        const { passwordHash: currentHash, disabledAt, secondFactorAt: currentFactorAt } = current
        if (!(await app.passwords.verify(currentHash, password, nextJob))) throw await fail('password_changed_concurrently')
        rejectDisabled(disabledAt)
        // A code of before proves nothing of the new one.
        if (currentFactorAt !== null && currentFactorAt.getTime() !== secondFactorAt?.getTime()) throw new CodeRequired()
        token = await issue(currentHash)
      }
      return token
    })
    app.audit.record({ kind: 'login', userId }, request)
    if (app.passwords.needsRehash(passwordHash, password)) {
      try {
        await app.users.replaceHash(userId, passwordHash, await app.passwords.hash(password, nextJob))
      } catch (error) {
        // The login has succeeded; the next one tries again.
        request.log.error({ err: unwrapDatabaseError(error) }, 'a password hash could not be upgraded')
      }
    }
    return { token: issued.token, token_type: 'Bearer', expires_in: issued.lifetimeSeconds }
  })
}

export default login
