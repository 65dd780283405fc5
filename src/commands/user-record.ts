import type { FastifyInstance } from 'fastify'
import { isNoPassword } from '../plugins/passwords/stored-hash.js'
import type { User } from '../plugins/users/user.js'

/** When an account was disabled; null while it is enabled. */
export async function findDisabledAt ({ users }: Pick<FastifyInstance, 'users'>, { id }: Pick<User, 'id'>): Promise<Date | null> {
  return (await users.findCredentialsById(id))?.disabledAt ?? null
}

/** When an account was disabled, null while it is enabled; and whether it has a password. */
export async function findState ({ users }: Pick<FastifyInstance, 'users'>, { id }: Pick<User, 'id'>) {
  const credentials = await users.findCredentialsById(id)
  return { disabledAt: credentials?.disabledAt ?? null, hasPassword: credentials !== undefined && !isNoPassword(credentials.passwordHash) }
}

/** An account as commands print it. */
export function userRecord ({ id, username, email, emailVerified, hasPassword, disabledAt, createdAt }: User & { disabledAt: Date | null, hasPassword: boolean }, roles: string[]) {
  return { id, username, email, email_verified: emailVerified, has_password: hasPassword, disabled_at: disabledAt === null ? null : disabledAt.toISOString(), created_at: createdAt.toISOString(), roles }
}
