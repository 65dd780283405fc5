import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { causeOf } from '../../database/faults.js'
import { ServiceUnavailable } from '../../lib/errors.js'
import { ref } from '../../lib/ref.js'
import { CredentialsIncorrect, PasswordIncorrect, UsernameUnknown } from './errors.js'
import { LoginRequest, LoginResponse } from './schemas.js'

const login: FastifyPluginAsyncTypebox<{ loginErrors: 'detailed' | 'uniform' }> = async (app, { loginErrors }) => {
  const isUniform = loginErrors === 'uniform'
  const UnknownUsername = isUniform ? CredentialsIncorrect : UsernameUnknown
  const WrongPassword = isUniform ? CredentialsIncorrect : PasswordIncorrect

  app.post('/login', {
    config: { errors: [PasswordIncorrect, CredentialsIncorrect, UsernameUnknown, ServiceUnavailable] },
    schema: {
      operationId: 'logIn',
      tags: ['Sessions'],
      summary: 'Log in',
      description: 'Gives a token for a username and its password. A server with `LOGIN_ERRORS=uniform` does not tell an unknown username from a wrong password: both are `CREDENTIALS_INCORRECT`.',
      security: [],
      body: ref(LoginRequest),
      response: { 200: ref(LoginResponse) }
    }
  }, async (request) => {
    const { username, password } = request.body
    const log = request.log.child({ address: request.ip })

    const credentials = await app.users.findCredentials(username)
    if (credentials === undefined && !isUniform) {
      log.info({ outcome: 'username unknown' }, 'login failed')
      throw new UnknownUsername()
    }
    const isCorrect = await app.passwords.verify(credentials?.passwordHash, password)
    if (credentials === undefined) {
      log.info({ outcome: 'username unknown' }, 'login failed')
      throw new UnknownUsername()
    }
    const { id: userId, passwordHash } = credentials
    if (!isCorrect) {
      log.info({ userId, outcome: 'password incorrect' }, 'login failed')
      throw new WrongPassword()
    }

    const issued = await app.accessTokens.issue({ userId, description: '' })
    if (issued === undefined) {
      log.info({ userId, outcome: 'user deleted meanwhile' }, 'login failed')
      throw new UnknownUsername()
    }
    log.info({ userId, outcome: 'success' }, 'logged in')
    if (app.passwords.needsRehash(passwordHash)) {
      try {
        await app.users.upgradeHash(userId, passwordHash, await app.passwords.hash(password))
      } catch (error) {
        // The login has succeeded; the next one tries again.
        log.error({ err: causeOf(error) }, 'a password hash could not be upgraded')
      }
    }
    return { token: issued.token, token_type: 'Bearer', expires_in: issued.expiresInSeconds }
  })
}

export default login
