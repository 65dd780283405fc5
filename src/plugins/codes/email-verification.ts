import type { FastifyInstance } from 'fastify'
import { emailVerificationMail } from '../mail/messages.js'
import type { User } from '../users/user.js'

/** How long the code that proves an address is valid, in seconds. */
const verificationLifetimeSeconds = 86_400

/**
 * Mails a user the code that proves an address, where there is a mailer. Older codes are not
 * valid any longer.
 *
 * @param email the address: that of the account, or the one that it is to get
 * @param options.pauseMs mails none if there is a younger code
 */
export async function mailVerification ({ codes, mail }: Pick<FastifyInstance, 'codes' | 'mail'>, { id: userId, username }: Pick<User, 'id' | 'username'>, email: string, options: { pauseMs?: number } = {}): Promise<void> {
  if (!mail.isEnabled) return
  const issued = await codes.issue({ kind: 'email_verification', userId, data: { email }, lifetimeSeconds: verificationLifetimeSeconds }, options)
  if (issued === undefined) return
  mail.send(emailVerificationMail({ to: email, username }, { code: issued.code, url: codes.urlOf('email_verification', issued.code) }))
}
