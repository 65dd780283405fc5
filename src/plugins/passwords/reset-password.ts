import type { FastifyInstance } from 'fastify'
import type { User } from '../users/user.js'

/**
 * Sets another password of a user, for the operator or the embedding app: it revokes every token,
 * deletes the known networks, which an attacker may have used, and ends the wait after failed logins.
 */
export async function resetPassword ({ audit, loginFailures, users }: Pick<FastifyInstance, 'audit' | 'loginFailures' | 'users'>, { id, username }: Pick<User, 'id' | 'username'>, passwordHash: string): Promise<void> {
  await users.replacePassword(id, passwordHash)
  await loginFailures.deleteNetworks(id)
  await loginFailures.reset(username)
  audit.record({ kind: 'password_change', userId: id })
}
