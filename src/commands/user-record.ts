import type { FastifyInstance } from 'fastify'
import type { User } from '../plugins/users/user.js'

/** When an account was disabled; null while it is enabled. */
export async function findDisabledAt ({ users }: Pick<FastifyInstance, 'users'>, { id }: Pick<User, 'id'>): Promise<Date | null> {
  return (await users.findCredentialsById(id))?.disabledAt ?? null
}

/** An account as commands print it. */
export function userRecord ({ id, username, email, emailVerified, disabledAt, createdAt }: User & { disabledAt: Date | null }, roles: string[]) {
  return { id, username, email, email_verified: emailVerified, disabled_at: disabledAt === null ? null : disabledAt.toISOString(), created_at: createdAt.toISOString(), roles }
}
