import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { EmailTaken, Overloaded, ServiceUnavailable, TooManyAttempts, UsernameTaken } from '../../errors.js'
import type { ResolvedOptions } from '../../options.js'
import { publicRoute } from '../../plugins/authenticate/public-route.js'
import { hashJobOf } from '../../plugins/passwords/hash-job.js'
import { requireOwnAddress } from '../../plugins/users/username-address.js'
import { ref } from '../../schema-ref.js'
import { SignupClosed } from './errors.js'
import { rejectPersonalPassword } from './personal-password.js'
import { SignupRequest, SignupResponse } from './schemas.js'
import { userBody } from './user-body.js'

const signup: FastifyPluginAsyncTypebox<Pick<ResolvedOptions, 'signup'>> = async (app, options) => {
  app.post('/signup', {
    config: { [publicRoute]: true, errors: [SignupClosed, UsernameTaken, EmailTaken, TooManyAttempts, ServiceUnavailable, Overloaded] },
    schema: {
      operationId: 'signUp',
      tags: ['Accounts'],
      summary: 'Sign up',
      description: 'Creates an account. Log in afterwards to get a token. After many signups from one address, the next ones have to wait: `TOO_MANY_ATTEMPTS`.',
      security: [],
      body: ref(SignupRequest),
      response: { 200: ref(SignupResponse) }
    },
    onRequest: [
      async () => { if (options.signup === 'closed') throw new SignupClosed() },
      app.throttle.rejectAddress('signup'),
      app.passwords.rejectWhenFull('signup')
    ],
    preValidation: app.throttle.rejectAddress('signup'),
    onError: app.throttle.countMalformed('signup')
  }, async (request, reply) => {
    const { username, password } = request.body
    const email = requireOwnAddress(username, request.body.email ?? null)
    if (app.store.isNearlyFull()) throw new ServiceUnavailable({ cause: new Error('the disk is nearly full: the remaining space is reserved for existing accounts') })
    rejectPersonalPassword('password', password, { username, email })
    const job = hashJobOf(request, reply)
    const user = await app.throttle.signUp(request, { username, wait: job }, async () => {
      // The unique indexes decide; but a name or email that is taken already needs no hash.
      if (await app.users.find(username) !== undefined) throw new UsernameTaken()
      if (email !== null && await app.users.isEmailTaken(email)) throw new EmailTaken()
      const passwordHash = await app.passwords.hash(password, { ...job, lane: 'signup' })
      const created = await app.users.create({ username, email, passwordHash })
      if (created !== undefined) return created
      throw email !== null && await app.users.find(username) === undefined ? new EmailTaken() : new UsernameTaken()
    })
    await app.throttle.registerNewUser(request, user)
    app.audit.record({ kind: 'signup', userId: user.id }, request)
    return { msg: 'welcome :-)', user: userBody(user) }
  })
}

export default signup
