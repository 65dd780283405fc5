import type { FastifyInstance } from 'fastify'
import type { ListedUser } from '../plugins/users/directory.js'
import { isNoPassword } from '../plugins/passwords/stored-hash.js'
import type { User } from '../plugins/users/user.js'

/** An account, as commands know it. */
export interface KnownUser extends Omit<ListedUser, 'roles'> {
  hasPassword: boolean
}

/** When an account was disabled, null while it is enabled; whether it has a password, and a second factor. */
export async function findState ({ users }: Pick<FastifyInstance, 'users'>, { id }: Pick<User, 'id'>): Promise<Pick<KnownUser, 'disabledAt' | 'hasPassword' | 'secondFactor'>> {
  const credentials = await users.findCredentialsById(id)
  return {
    disabledAt: credentials?.disabledAt ?? null,
    hasPassword: credentials !== undefined && !isNoPassword(credentials.passwordHash),
    secondFactor: credentials?.secondFactorAt instanceof Date
  }
}

/** An account as commands print it. */
export function userRecord ({ id, username, email, emailVerified, hasPassword, secondFactor, disabledAt, createdAt }: KnownUser, roles: string[]) {
  return { id, username, email, email_verified: emailVerified, has_password: hasPassword, second_factor: secondFactor, disabled_at: disabledAt === null ? null : disabledAt.toISOString(), created_at: createdAt.toISOString(), roles }
}
