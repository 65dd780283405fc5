import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Overloaded, ServiceUnavailable } from '../../lib/errors.js'
import { clientGone } from '../../lib/client-gone.js'
import { ref } from '../../lib/ref.js'
import { EmailTaken, SignupClosed, UsernameTaken } from './errors.js'
import { refusePersonalPassword } from './personal-password.js'
import { SignupRequest, SignupResponse } from './schemas.js'
import { userBody } from './user-body.js'

const signup: FastifyPluginAsyncTypebox<{ signup: 'open' | 'closed' }> = async (app, options) => {
  app.post('/signup', {
    config: { errors: [SignupClosed, UsernameTaken, EmailTaken, ServiceUnavailable, Overloaded] },
    schema: {
      operationId: 'signUp',
      tags: ['Accounts'],
      summary: 'Sign up',
      description: 'Makes an account. Log in afterwards to get a token.',
      security: [],
      body: ref(SignupRequest),
      response: { 200: ref(SignupResponse) }
    },
    onRequest: [
      async () => { if (options.signup === 'closed') throw new SignupClosed() },
      app.passwords.refuseWhenFull('signup')
    ]
  }, async (request, reply) => {
    const { username, email = null, password } = request.body
    refusePersonalPassword('password', password, { username, email })
    const passwordHash = await app.passwords.hash(password, { share: 'signup', signal: clientGone(reply) })
    const user = await app.users.create({ username, email, passwordHash })
    if (user === undefined) {
      throw email !== null && await app.users.find(username) === undefined ? new EmailTaken() : new UsernameTaken()
    }
    request.log.info({ userId: user.id, address: request.ip }, 'signed up')
    return { msg: 'welcome :-)', user: userBody(user) }
  })
}

export default signup
