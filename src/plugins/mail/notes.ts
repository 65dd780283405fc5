import type { FastifyInstance } from 'fastify'
import type { User } from '../users/user.js'
import type { Mail } from './mail.js'

/**
 * Mails a note to the owner of an account, at its verified address: whoever named another one has
 * not proven that it is theirs. Without one, or without a mailer, it does nothing.
 *
 * @param user the account as it was when the address was verified
 */
export function notifyOwner ({ mail }: Pick<FastifyInstance, 'mail'>, { username, email, emailVerified }: Pick<User, 'username' | 'email' | 'emailVerified'>, note: (recipient: { to: string, username: string }) => Mail): void {
  if (email !== null && emailVerified) mail.send(note({ to: email, username }))
}
