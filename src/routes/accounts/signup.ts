import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyRequest } from 'fastify'
import { EmailTaken, Overloaded, ServiceUnavailable, TooManyAttempts, UsernameTaken } from '../../errors.js'
import { bestEffort } from '../../lib/background.js'
import type { ResolvedOptions } from '../../options.js'
import { publicRoute } from '../../plugins/authenticate/public-route.js'
import { mailVerification } from '../../plugins/codes/email-verification.js'
import { CodeInvalid } from '../../plugins/codes/errors.js'
import { hashJobOf } from '../../plugins/passwords/hash-job.js'
import type { User } from '../../plugins/users/user.js'
import { userBody } from '../../plugins/users/user-body.js'
import { requireOwnAddress } from '../../plugins/users/username-address.js'
import { ref } from '../../schema-ref.js'
import { InviteRequired, SignupClosed } from './errors.js'
import { findInvite, invitedEmail } from './invitation.js'
import { rejectPersonalPassword } from '../../plugins/passwords/personal-password.js'
import { SignupRequest, SignupResponse } from './schemas.js'

const signup: FastifyPluginAsyncTypebox<Pick<ResolvedOptions, 'signup'>> = async (app, options) => {
  /** Records the roles that an invitation has granted. */
  async function recordRoles (request: FastifyRequest, { id: userId }: User): Promise<void> {
    for (const name of await app.roles.ofUser(userId)) app.audit.record({ kind: 'role_change', userId, detail: `granted ${name}` }, request)
  }

  /** Mails a new user the code that verifies the email, unless too many were mailed there: the account stays. */
  async function mailCode (request: FastifyRequest, user: User, email: string): Promise<void> {
    try {
      await app.throttle.mailCode(request, { userId: user.id, email }, () => mailVerification(app, user, email))
    } catch (error) {
      if (!(error instanceof TooManyAttempts)) throw error
    }
  }

  app.post('/signup', {
    config: { [publicRoute]: true, errors: [SignupClosed, InviteRequired, CodeInvalid, UsernameTaken, EmailTaken, TooManyAttempts, ServiceUnavailable, Overloaded] },
    schema: {
      operationId: 'signUp',
      tags: ['Accounts'],
      summary: 'Sign up',
      description: 'Creates an account. Log in afterwards to get a token. Where signup is only for the invited, it needs an `invite`. After many signups from one address, the next ones have to wait: `TOO_MANY_ATTEMPTS`.',
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
    const { username, email: typedEmail = null, password, invite: code = null } = request.body
    if (options.signup === 'invite' && code === null) throw new InviteRequired()
    if (app.store.isNearlyFull()) throw new ServiceUnavailable({ cause: new Error('the disk is nearly full: the remaining space is reserved for existing accounts') })
    const job = hashJobOf(request, reply)
    const user = await app.throttle.signUp(request, { username, wait: job }, async () => {
      const invite = await findInvite(app, code)
      const email = requireOwnAddress(username, invitedEmail(invite, typedEmail))
      rejectPersonalPassword('password', password, { username, email })
      // The unique indexes decide; but a name or email that is taken already needs no hash.
      if (await app.users.find(username) !== undefined) throw new UsernameTaken()
      if (email !== null && await app.users.isEmailTaken(email)) throw new EmailTaken()
      const passwordHash = await app.passwords.hash(password, { ...job, lane: 'signup' })
      const newUser = { username, email, passwordHash }
      const created = invite === undefined ? await app.users.create(newUser) : await app.invites.signUp(invite, newUser)
      if (created !== undefined) return created
      // Another signup may have used the invitation concurrently.
      await findInvite(app, code)
      throw email !== null && await app.users.find(username) === undefined ? new EmailTaken() : new UsernameTaken()
    })
    await app.throttle.registerNewUser(request, user)
    app.audit.record({ kind: 'signup', userId: user.id, detail: code === null ? undefined : 'invited' }, request)
    if (code !== null) await bestEffort(app, { work: () => recordRoles(request, user), failure: 'the roles of a new user could not be recorded' })()
    const { email, emailVerified } = user
    if (email !== null && !emailVerified) await bestEffort(app, { work: () => mailCode(request, user, email), failure: 'the code that verifies an email could not be mailed' })()
    return { msg: 'welcome :-)', user: userBody(user) }
  })
}

export default signup
