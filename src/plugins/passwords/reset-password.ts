import type { FastifyInstance } from 'fastify'
import { passwordChangedMail } from '../mail/messages.js'
import { notifyOwner } from '../mail/notes.js'
import type { User } from '../users/user.js'

/**
 * Sets another password of a user, for the operator or the embedding app: it revokes every token,
 * deletes the codes for a new password and for an email, and the known networks, which an attacker may have used, and
 * ends the wait after failed logins.
 */
export async function resetPassword ({ audit, loginFailures, mail, users }: Pick<FastifyInstance, 'audit' | 'loginFailures' | 'mail' | 'users'>, user: User, passwordHash: string): Promise<void> {
  const { id, username } = user
  await users.replacePassword(id, passwordHash)
  await loginFailures.deleteNetworks(id)
  await loginFailures.reset(username)
  audit.record({ kind: 'password_change', userId: id })
  notifyOwner({ mail }, user, passwordChangedMail)
}
