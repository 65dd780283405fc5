import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { ClientDisconnected, EmailTaken, Overloaded, ServiceUnavailable, TooManyAttempts, UsernameTaken } from '../../errors.js'
import { turnOf } from '../../plugins/login-throttle/own-password.js'
import { keyedMutex } from '../../lib/keyed-mutex.js'
import { ref } from '../../schema-ref.js'
import { canonicalUsername } from '../../plugins/users/username.js'
import { SignupClosed } from './errors.js'
import { refusePersonalPassword } from './personal-password.js'
import { SignupRequest, SignupResponse } from './schemas.js'
import { userBody } from './user-body.js'

const signup: FastifyPluginAsyncTypebox<{ signup: 'open' | 'closed' }> = async (app, options) => {
  // Of many who want one name at once one gets it, and only that one costs a hash.
  const inTurn = keyedMutex((error) => !(Object(error).statusCode < 500) && !(error instanceof ClientDisconnected))

  app.post('/signup', {
    config: { errors: [SignupClosed, UsernameTaken, EmailTaken, TooManyAttempts, ServiceUnavailable, Overloaded] },
    schema: {
      operationId: 'signUp',
      tags: ['Accounts'],
      summary: 'Sign up',
      description: 'Makes an account. Log in afterwards to get a token. After many accounts from one address the next ones have to wait: `TOO_MANY_ATTEMPTS`.',
      security: [],
      body: ref(SignupRequest),
      response: { 200: ref(SignupResponse) }
    },
    onRequest: [
      async () => { if (options.signup === 'closed') throw new SignupClosed() },
      app.throttle.refuseAddress('signup'),
      app.passwords.rejectWhenFull('signup')
    ],
    preValidation: app.throttle.refuseAddress('signup'),
    onSend: app.throttle.countMalformed('signup')
  }, async (request, reply) => {
    const { username, email = null, password } = request.body
    if (app.store.isNearlyFull()) throw new ServiceUnavailable({ cause: new Error('the disk is nearly full: what is left is for those who have an account') })
    refusePersonalPassword('password', password, { username, email })
    const user = await app.throttle.signUp(request, () => inTurn(String(canonicalUsername(username)), async () => {
      // The indexes decide; but what is taken already is not worth a hash.
      if (await app.users.find(username) !== undefined) throw new UsernameTaken()
      if (email !== null && await app.users.isEmailTaken(email)) throw new EmailTaken()
      const passwordHash = await app.passwords.hash(password, { lane: 'signup', ...turnOf(request, reply) })
      const made = await app.users.create({ username, email, passwordHash })
      if (made !== undefined) return made
      throw email !== null && await app.users.find(username) === undefined ? new EmailTaken() : new UsernameTaken()
    }))
    await app.throttle.welcome(request, user)
    app.audit.record({ kind: 'signup', userId: user.id }, request)
    return { msg: 'welcome :-)', user: userBody(user) }
  })
}

export default signup
