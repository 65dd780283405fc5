import { and, eq, not, type SQL, sql } from 'drizzle-orm'
import type { FastifyInstance } from 'fastify'
import { isConflict } from '../../database/errors.js'
import type { IssuedLink } from '../codes/issued-link.js'
import { resetLifetimeSeconds } from '../codes/password-reset.js'
import { createNoPassword } from '../passwords/stored-hash.js'
import { type Actor, adminLocks, isStillAdmin } from '../roles/admin-conditions.js'
import { canonicalEmail } from './email.js'
import type { User } from './user.js'
import { canonicalUsername } from './username.js'

/** An account that somebody else creates; its username and email have been validated. */
export interface NewAccount {
  username: string
  email: string | null
  /** The names of the roles that it gets. */
  roles: string[]
}

/**
 * Creates an account without a password, and the code with which its owner sets one. The account,
 * its roles and the code are created together, or nothing is.
 *
 * @param actor the admin who acts
 * @returns undefined when the username or the email is taken, a role does not exist, or the actor is not an admin any longer
 */
export async function createWithoutPassword ({ codes, store, users: accounts }: Pick<FastifyInstance, 'codes' | 'store' | 'users'>, { username, email, roles }: NewAccount, actor: Actor): Promise<{ user: User } & IssuedLink | undefined> {
  const { db, tables: { loginFailures, users, userRoles } } = store
  const usernameKey = String(canonicalUsername(username))
  const { code, expiresAt, row } = codes.prepare({ kind: 'password_reset', lifetimeSeconds: resetLifetimeSeconds })
  // No other account has the same: whatever follows cannot be given to one that had the username already.
  const passwordHash = createNoPassword()
  const isNew = (condition?: SQL) => and(eq(users.usernameKey, usernameKey), eq(users.passwordHash, passwordHash), condition)
  const isAllowed = isStillAdmin(store, actor)
  const roleRow = (name: string) => db.select({ userId: users.id, roleName: sql<string>`${sql.param(name, userRoles.roleName)}`.as('role_name') }).from(users).where(isNew())
  let written: number[]
  try {
    written = await store.batch([
      ...adminLocks(store, actor),
      db.insert(users).values({
        username,
        usernameKey,
        email,
        emailKey: email === null ? null : canonicalEmail(email),
        passwordHash,
        createdAt: row.createdAt,
        updatedAt: row.createdAt
      }),
      // The database gives the id, so the row is inserted first and judged then.
      db.delete(users).where(isNew(isAllowed && not(isAllowed))),
      // Failures for the name from before it had an owner.
      db.delete(loginFailures).where(and(eq(loginFailures.usernameKey, usernameKey), isAllowed)),
      ...roles.map((name) => db.insert(userRoles).select(roleRow(name))),
      codes.insertForQuery(row, isNew())
    ])
  } catch (error) {
    if (isConflict(error)) return undefined
    throw error
  }
  const user = written.at(-1) === 0 ? undefined : await accounts.find(username)
  return user && { user, code, url: codes.urlOf('password_reset', code), expiresAt }
}
