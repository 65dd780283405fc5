import { Type } from '@sinclair/typebox'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { EmailTaken, TooManyAttempts } from '../../errors.js'
import { publicRoute } from '../../plugins/authenticate/public-route.js'
import { mailVerification, useVerification, verifiedAddressOf } from '../../plugins/codes/email-verification.js'
import { CodeInvalid } from '../../plugins/codes/errors.js'
import type { User } from '../../plugins/users/user.js'
import { ref } from '../../schema-ref.js'
import { EmailMissing, EmailVerified, MailNotConfigured } from './errors.js'
import { EmailVerification } from './schemas.js'

const url = '/email-verification'
/** For so long after a code, no other one is mailed, in milliseconds. */
const pauseMs = 60_000

const emailVerification: FastifyPluginAsyncTypebox = async (app) => {
  /** The address that a user has to verify: the one that the account is to get, or the one that it has. */
  async function addressToVerify ({ id, email, emailVerified }: User): Promise<string> {
    const pending = await app.codes.newestOfUser('email_verification', id)
    if (pending !== undefined) return verifiedAddressOf(pending)
    if (email === null) throw new EmailMissing()
    if (emailVerified) throw new EmailVerified()
    return email
  }

  app.post(url, {
    onRequest: [app.authenticate],
    config: { errors: [EmailMissing, EmailVerified, MailNotConfigured, TooManyAttempts] },
    schema: {
      operationId: 'mailEmailVerification',
      tags: ['Accounts'],
      summary: 'Mail the code that verifies the email',
      description: 'Mails it to the email that the account is to get, or to the one that it has. Older codes are not valid any longer. Within a minute of the last code none is mailed, and the answer is the same.',
      response: { 202: Type.Unsafe<undefined>(Type.Null({ description: 'A code was mailed, now or in the last minute.' })) }
    }
  }, async (request, reply) => {
    const { currentUser, currentTokenId: tokenId } = request
    const { id } = currentUser
    if (!app.mail.isEnabled) throw new MailNotConfigured()
    const email = await addressToVerify(currentUser)
    await app.throttle.mailCode(request, { userId: id, email }, () => mailVerification(app, currentUser, email, { pauseMs, condition: app.users.mayChangeEmail(id, email, { tokenId }) }))
    // A null would be sent, as JSON.
    return reply.code(202).send(undefined)
  })

  app.put(url, {
    config: { [publicRoute]: true, errors: [CodeInvalid, EmailTaken] },
    schema: {
      operationId: 'verifyEmail',
      tags: ['Accounts'],
      summary: 'Verify the email',
      description: 'Uses a code that was mailed. The account then has the address that it was mailed to, verified. Nobody is logged in. The code works once; where another account has the address, it stays usable.',
      security: [],
      body: ref(EmailVerification),
      response: { 204: Type.Null({ description: 'The email is verified.' }) }
    }
  }, async (request, reply) => {
    const { before: { id: userId, email: emailBefore }, email } = await useVerification(app, request.body.code)
    if (emailBefore !== email) app.audit.record({ kind: 'email_change', userId }, request)
    app.audit.record({ kind: 'email_verification', userId }, request)
    reply.code(204)
    return null
  })
}

export default emailVerification
