import type { Static } from '@sinclair/typebox'
import type { User } from '../../plugins/users/user.js'
import type { UserBody } from './schemas.js'

/** An account in the form of the API. */
export function userBody ({ id, username, email, emailVerified, createdAt }: User): Static<typeof UserBody> {
  return { id, username, email, email_verified: emailVerified, created_at: createdAt.toISOString() }
}
