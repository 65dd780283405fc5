import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { canonicalEmail } from '../../lib/emails.js'
import { type FieldProblem, ServiceUnavailable, ValidationFailed } from '../../lib/errors.js'
import { canonicalPassword } from '../../lib/password-rules.js'
import { ref } from '../../lib/ref.js'
import { EmailTaken, SignupClosed, UsernameTaken } from './errors.js'
import { SignupRequest, SignupResponse } from './schemas.js'
import { userBody } from './user-body.js'

/** A password that is the username or the email is the first thing an attacker tries. */
function personalPasswordProblems (username: string, email: string | null, password: string): FieldProblem[] {
  const canonical = canonicalPassword(password).toLowerCase()
  if (canonical === username.toLowerCase()) return [{ field: 'password', message: 'password must not be the username' }]
  if (email !== null && canonical === canonicalEmail(email)) return [{ field: 'password', message: 'password must not be the email' }]
  return []
}

const signup: FastifyPluginAsyncTypebox<{ signup: 'open' | 'closed' }> = async (app, options) => {
  app.post('/signup', {
    config: { errors: [SignupClosed, UsernameTaken, EmailTaken, ServiceUnavailable] },
    schema: {
      operationId: 'signUp',
      tags: ['Accounts'],
      summary: 'Sign up',
      description: 'Makes an account. Log in afterwards to get a token.',
      security: [],
      body: ref(SignupRequest),
      response: { 200: ref(SignupResponse) }
    },
    async onRequest () {
      if (options.signup === 'closed') throw new SignupClosed()
    }
  }, async (request) => {
    const { username, email = null, password } = request.body
    const problems = personalPasswordProblems(username, email, password)
    if (problems.length > 0) throw new ValidationFailed(problems)

    const passwordHash = await app.passwords.hash(password)
    const user = await app.users.create({ username, email, passwordHash })
    if (user === undefined) {
      throw await app.users.findCredentials(username) === undefined ? new EmailTaken() : new UsernameTaken()
    }
    request.log.info({ userId: user.id, address: request.ip }, 'signed up')
    return { msg: 'welcome :-)', user: userBody(user) }
  })
}

export default signup
