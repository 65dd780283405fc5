import type { FastifyInstance } from 'fastify'
import type { ListedUser } from '../plugins/users/directory.js'
import type { User } from '../plugins/users/user.js'

/** When an account was disabled, null while it is enabled, and whether its second factor is on. */
export async function findState ({ users }: Pick<FastifyInstance, 'users'>, { id }: Pick<User, 'id'>): Promise<Pick<ListedUser, 'disabledAt' | 'secondFactor'>> {
  const { disabledAt = null, secondFactorAt = null } = await users.findCredentialsById(id) ?? {}
  return { disabledAt, secondFactor: secondFactorAt !== null }
}

/** An account as commands print it. */
export function userRecord ({ id, username, email, emailVerified, secondFactor, disabledAt, createdAt }: Omit<ListedUser, 'roles'>, roles: string[]) {
  return { id, username, email, email_verified: emailVerified, second_factor: secondFactor, disabled_at: disabledAt === null ? null : disabledAt.toISOString(), created_at: createdAt.toISOString(), roles }
}
