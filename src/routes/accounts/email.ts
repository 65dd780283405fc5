import { Type } from '@sinclair/typebox'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { EmailTaken, ValidationFailed } from '../../errors.js'
import { mailVerification } from '../../plugins/codes/email-verification.js'
import { emailChangedMail } from '../../plugins/mail/messages.js'
import { notifyOwner } from '../../plugins/mail/notes.js'
import type { User } from '../../plugins/users/user.js'
import { emailChangeProblem } from '../../plugins/users/username-address.js'
import { ref } from '../../schema-ref.js'
import { ownPasswordErrors, ownPasswordHooks, verifyOwnPassword } from '../../plugins/login-throttle/own-password.js'
import { rejectNameAsPassword } from '../../plugins/passwords/personal-password.js'
import { EmailChange } from './schemas.js'

/** @throws {ValidationFailed} the username of the account is its email */
function rejectOtherThanUsername (user: User, email: string | null): void {
  const problem = emailChangeProblem(user, email)
  if (problem !== undefined) throw new ValidationFailed([{ field: 'email', message: `email ${problem}` }])
}

const email: FastifyPluginAsyncTypebox = async (app) => {
  app.put('/me/email', {
    ...ownPasswordHooks(app),
    config: { errors: [...ownPasswordErrors, EmailTaken] },
    schema: {
      operationId: 'changeEmail',
      tags: ['Accounts'],
      summary: 'Change the email',
      description: 'Where the server sends mails, the email changes when the code that is mailed to it is used: `PUT /api/v1/email-verification`. Otherwise it changes at once, unverified. The verified email that the account had before is told. An account whose username is its email must change the username first.',
      body: ref(EmailChange),
      response: {
        202: Type.Unsafe<undefined>(Type.Null({ description: 'A code was mailed to the address.' })),
        204: Type.Null({ description: 'The account has this email, or none.' })
      }
    }
  }, async (request, reply) => {
    const { currentUser, currentTokenId: tokenId, body: { email, password, code } } = request
    const { id } = currentUser
    if (email !== null) rejectNameAsPassword('email', email, password)
    rejectOtherThanUsername(currentUser, email)
    const own = await verifyOwnPassword(app, request, reply, { kind: 'email_change', password, code })
    const rejectTaken = async () => {
      rejectOtherThanUsername(currentUser, email)
      if (email !== null && await app.users.isEmailTaken(email, id)) throw new EmailTaken()
    }

    const isMailed = email !== null && app.mail.isEnabled
    if (email !== null && email === currentUser.email && (currentUser.emailVerified || !isMailed)) {
      reply.code(204)
      return null
    }
    await app.throttle.claimName(request, own.job, async () => {
      await rejectTaken()
      if (!isMailed) return await own.act((verifiedHash) => app.users.setEmail(id, email, { verifiedHash, tokenId }), rejectTaken)
      await app.throttle.mailCode(request, { userId: id, email }, async () => {
        await own.act((verifiedHash) => mailVerification(app, currentUser, email, { condition: app.users.mayChangeEmail(id, email, { verifiedHash, tokenId }) }), rejectTaken)
        return true
      })
    })
    if (isMailed) {
      // A null would be sent, as JSON.
      return reply.code(202).send(undefined)
    }
    own.record('success')
    notifyOwner(app, currentUser, emailChangedMail)
    reply.code(204)
    return null
  })
}

export default email
