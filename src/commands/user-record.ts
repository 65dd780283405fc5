import type { User } from '../plugins/users/user.js'

/** An account as commands print it. */
export function userRecord ({ id, username, email, emailVerified, createdAt }: User, roles: string[]) {
  return { id, username, email, email_verified: emailVerified, created_at: createdAt.toISOString(), roles }
}
