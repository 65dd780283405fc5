import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { causeOf } from '../../lib/causes.js'
import { clientGone } from '../../lib/client-gone.js'
import { describeUserAgent } from '../../lib/descriptions.js'
import { Overloaded, PasswordIncorrect, ServiceUnavailable } from '../../lib/errors.js'
import { ref } from '../../lib/ref.js'
import { CredentialsIncorrect, UsernameUnknown } from './errors.js'
import { LoginRequest, LoginResponse } from './schemas.js'

const login: FastifyPluginAsyncTypebox<{ loginErrors: 'detailed' | 'uniform' }> = async (app, { loginErrors }) => {
  const isUniform = loginErrors === 'uniform'
  const UnknownUsername = isUniform ? CredentialsIncorrect : UsernameUnknown
  const WrongPassword = isUniform ? CredentialsIncorrect : PasswordIncorrect

  app.post('/login', {
    config: { errors: [PasswordIncorrect, CredentialsIncorrect, UsernameUnknown, ServiceUnavailable, Overloaded] },
    onRequest: app.passwords.refuseWhenFull('login'),
    schema: {
      operationId: 'logIn',
      tags: ['Sessions'],
      summary: 'Log in',
      description: 'Gives a token for a username and its password. A server with `LOGIN_ERRORS=uniform` does not tell an unknown username from a wrong password: both are `CREDENTIALS_INCORRECT`.',
      security: [],
      body: ref(LoginRequest),
      response: { 200: ref(LoginResponse) }
    }
  }, async (request, reply) => {
    const { username, password } = request.body
    const log = request.log.child({ address: request.ip })

    const credentials = await app.users.findCredentials(username)
    if (credentials === undefined && !isUniform) {
      log.info({ outcome: 'username unknown' }, 'login failed')
      throw new UnknownUsername()
    }
    const isCorrect = await app.passwords.verify(credentials?.passwordHash, password, { signal: clientGone(reply) })
    if (credentials === undefined) {
      log.info({ outcome: 'username unknown' }, 'login failed')
      throw new UnknownUsername()
    }
    const { id: userId, passwordHash } = credentials
    if (!isCorrect) {
      log.info({ userId, outcome: 'password incorrect' }, 'login failed')
      throw new WrongPassword()
    }

    const issued = await app.accessTokens.issue({ userId, kind: 'login', description: describeUserAgent(request.headers['user-agent']) })
    if (issued === undefined) {
      log.info({ userId, outcome: 'user deleted meanwhile' }, 'login failed')
      throw new UnknownUsername()
    }
    // Whoever changes a password revokes every token after the change. A token made between
    // the check and the change would outlive it: what was checked must still be the password.
    const presentHash = await app.users.findHash(userId)
    if (presentHash !== passwordHash && !(await app.passwords.verify(presentHash, password, { isContinued: true }))) {
      await app.tokens.revoke(userId, issued.id)
      log.info({ userId, outcome: 'password changed meanwhile' }, 'login failed')
      throw new WrongPassword()
    }
    await app.tokens.makeRoom(userId, [issued.id])
    log.info({ userId, outcome: 'success' }, 'logged in')
    if (app.passwords.needsRehash(passwordHash, password)) {
      try {
        await app.users.replaceHash(userId, passwordHash, await app.passwords.hash(password, { isContinued: true }))
      } catch (error) {
        // The login has succeeded; the next one tries again.
        log.error({ err: causeOf(error) }, 'a password hash could not be upgraded')
      }
    }
    return { token: issued.token, token_type: 'Bearer', expires_in: issued.lifetimeSeconds }
  })
}

export default login
