import { type Static, Type } from '@sinclair/typebox'
import type { User } from './user.js'

/** An account in the form of the API. */
export const UserBody = Type.Object({
  id: Type.Integer({ minimum: 1, description: 'Never reused, not even after the account is deleted.', examples: [1] }),
  username: Type.String({ description: 'As written at signup.', examples: ['ada'] }),
  email: Type.Unsafe<string | null>({ type: ['string', 'null'], description: 'As written at signup; null if there is none.', examples: ['ada@example.com'] }),
  email_verified: Type.Boolean({ description: 'Whether the owner has proven that the email is theirs.', examples: [false] }),
  created_at: Type.String({ format: 'date-time', description: 'When the account was created (RFC 3339, UTC).', examples: ['2026-11-23T20:44:00.000Z'] })
}, { $id: 'latchkey.User', description: 'An account.' })

/** Puts an account into the form of the API. */
export function userBody ({ id, username, email, emailVerified, createdAt }: User): Static<typeof UserBody> {
  return { id, username, email, email_verified: emailVerified, created_at: createdAt.toISOString() }
}
