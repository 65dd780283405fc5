import { and, eq, exists, inArray, sql } from 'drizzle-orm'
import type { FastifyInstance } from 'fastify'
import { valueOf } from '../../database/value-of.js'
import { canonicalEmail } from '../users/email.js'
import type { NewUser } from '../users/repository.js'
import type { User } from '../users/user.js'
import { canonicalUsername, usernameProblem } from '../users/username.js'
import type { Invite } from './invite.js'

/**
 * Creates the function that creates the account of an invitation, with those of its roles that
 * still exist, and uses the invitation: all of it or nothing. The email of the invitation counts
 * as verified.
 *
 * @param now the clock, in milliseconds since 1970
 */
export function invitedSignup ({ codes, store, users: { find } }: Pick<FastifyInstance, 'codes' | 'store' | 'users'>, now: () => number) {
  const { db, newUserId, shareLock, tables: { codes: codesTable, roles, userRoles, users } } = store

  /**
   * @returns `undefined`, and nothing changes, when the invitation is not open any longer, or the username or the email is taken
   * @throws {TypeError} the username is not permitted
   */
  return async function signUp (invite: Invite, { username, email, passwordHash }: NewUser): Promise<User | undefined> {
    const usernameKey = canonicalUsername(username)
    if (usernameKey === undefined || usernameProblem(username) !== undefined) throw new TypeError('not a username')
    const time = new Date(now())
    const row = {
      id: newUserId.as('id'),
      username: valueOf(username, users.username),
      usernameKey: valueOf(usernameKey, users.usernameKey),
      email: valueOf(email, users.email),
      emailKey: valueOf(email === null ? null : canonicalEmail(email), users.emailKey),
      passwordHash: valueOf(passwordHash, users.passwordHash),
      createdAt: valueOf(time, users.createdAt),
      updatedAt: valueOf(time, users.updatedAt),
      disabledAt: valueOf(null, users.disabledAt),
      emailVerifiedAt: valueOf(email !== null && email === invite.email ? time : null, users.emailVerifiedAt),
      secondFactorAt: valueOf(null, users.secondFactorAt)
    }
    // The salt of the hash is another one each time: no other account has this row.
    const isNew = and(eq(users.usernameKey, usernameKey), eq(users.passwordHash, passwordHash))
    const granted = db.select({ userId: users.id, roleName: roles.name }).from(users).innerJoin(roles, inArray(roles.name, invite.roles)).where(isNew)
    const [, created] = await store.batch([
      codes.lockQuery(invite.id),
      db.insert(users).select(db.select(row).from(codesTable).where(and(eq(codesTable.hash, invite.id), codes.isUsable('invite', invite.id)))).onConflictDoNothing(),
      // It waits for a role that is being deleted.
      db.insert(userRoles).select(sql`${granted.getSQL()}${shareLock}`),
      codes.deleteQuery(invite.id, exists(db.select({ id: users.id }).from(users).where(isNew)))
    ])
    return created === 0 ? undefined : await find(username)
  }
}
