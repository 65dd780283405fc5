import { type SQL, sql } from 'drizzle-orm'
import type { Store } from '../../database/store.js'

/** An account, without its secrets. */
export interface User {
  /** Never given to another user, not even after the account is deleted. */
  id: number
  username: string
  email: string | null
  /** Whether its owner has proven that the email is theirs. */
  emailVerified: boolean
  createdAt: Date
}

/** Whether the email of a row is verified, as an expression. SQLite writes a truth value as a number. */
export function isEmailVerified ({ emailVerifiedAt }: Pick<Store['tables']['users'], 'emailVerifiedAt'>): SQL<boolean> {
  return sql`(${emailVerifiedAt} is not null)`.mapWith(Boolean)
}
