import type { Static } from '@sinclair/typebox'
import type { User } from '../../plugins/users/user.js'
import type { UserBody } from './schemas.js'

/** An account as it is shown. */
export function userBody ({ id, username, email, createdAt }: User): Static<typeof UserBody> {
  return { id, username, email, created_at: createdAt.toISOString() }
}
