import type { SQL } from 'drizzle-orm'
import type { FastifyInstance } from 'fastify'
import { EmailTaken } from '../../errors.js'
import { emailChangedMail, emailVerificationMail } from '../mail/messages.js'
import { notifyOwner } from '../mail/notes.js'
import type { User } from '../users/user.js'
import { CodeInvalid } from './errors.js'
import type { CodeRow } from './repository.js'

/** How long the code that proves an address is valid, in seconds. */
const verificationLifetimeSeconds = 86_400

/** The address that a code proves. */
export function verifiedAddressOf ({ data }: Pick<CodeRow, 'data'>): string {
  // Written by `mailVerification` alone.
  return (JSON.parse(String(data)) as { email: string }).email
}

/**
 * Mails a user the code that proves an address, where there is a mailer. Older codes are not
 * valid any longer.
 *
 * @param email the address: that of the account, or the one that it is to get
 * @param options.pauseMs mails none if there is a younger code
 * @param options.condition must hold for the user's row
 * @returns whether one was mailed
 */
export async function mailVerification ({ codes, mail }: Pick<FastifyInstance, 'codes' | 'mail'>, { id: userId, username }: Pick<User, 'id' | 'username'>, email: string, options: { pauseMs?: number, condition?: SQL } = {}): Promise<boolean> {
  if (!mail.isEnabled) return false
  const issued = await codes.issue({ kind: 'email_verification', userId, data: { email }, lifetimeSeconds: verificationLifetimeSeconds }, options)
  if (issued === undefined) return false
  mail.send(emailVerificationMail({ to: email, username }, { code: issued.code, url: codes.urlOf('email_verification', issued.code) }))
  return true
}

/**
 * Uses the code that proves an address: from now on the account has it, verified. The verified
 * address that it had before is told.
 *
 * @returns the account as it was before, and its email
 * @throws {CodeInvalid} the code is not valid, or not any longer
 * @throws {EmailTaken} another account has the address; the code stays usable
 */
export async function useVerification ({ codes, mail, users }: Pick<FastifyInstance, 'codes' | 'mail' | 'users'>, code: string): Promise<{ before: User, email: string }> {
  const row = await codes.find('email_verification', code)
  const before = await users.findById(Number(row?.userId))
  if (row === undefined || before === undefined) throw new CodeInvalid()
  const email = verifiedAddressOf(row)
  const { kind, hash } = row
  if (!(await users.verifyEmail(before.id, email, { lock: codes.lockQuery(hash), isUsable: codes.isUsable(kind, hash) }))) {
    throw await users.isEmailTaken(email, before.id) ? new EmailTaken() : new CodeInvalid()
  }
  if (before.email !== email) notifyOwner({ mail }, before, emailChangedMail)
  return { before, email }
}
