import { type SQL, sql } from 'drizzle-orm'
import type { Store } from '../../database/store.js'
import { noPasswordMark } from '../passwords/stored-hash.js'

/** Whether the email of a row is verified, as an expression. SQLite writes a truth value as a number. */
export function isEmailVerified ({ emailVerifiedAt }: Pick<Store['tables']['users'], 'emailVerifiedAt'>): SQL<boolean> {
  return sql`(${emailVerifiedAt} is not null)`.mapWith(Boolean)
}

/** Whether the account of a row has a password, as an expression. */
export function hasPassword ({ passwordHash }: Pick<Store['tables']['users'], 'passwordHash'>): SQL<boolean> {
  return sql`(substr(${passwordHash}, 1, 1) <> ${noPasswordMark})`.mapWith(Boolean)
}

/** Whether the second factor of a row is on, as an expression. */
export function hasSecondFactor ({ secondFactorAt }: Pick<Store['tables']['users'], 'secondFactorAt'>): SQL<boolean> {
  return sql`(${secondFactorAt} is not null)`.mapWith(Boolean)
}

/** The columns of an account, for a query on users. */
export function accountColumns (users: Store['tables']['users']) {
  return { id: users.id, username: users.username, email: users.email, emailVerified: isEmailVerified(users), createdAt: users.createdAt }
}
