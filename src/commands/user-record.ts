import type { User } from '../plugins/users/user.js'

/** An account as commands print it. */
export function userRecord ({ id, username, email, createdAt }: User, roles: string[]) {
  return { id, username, email, created_at: createdAt.toISOString(), roles }
}
