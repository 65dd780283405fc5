import { and, eq, exists, inArray, isNotNull, isNull, ne, or, type SQL, sql } from 'drizzle-orm'
import { isConflict } from '../../database/errors.js'
import type { Query, Store } from '../../database/store.js'
import { revocationRetryMs } from '../roles/lock-admins.js'
import { canonicalEmail } from './email.js'
import { type Owner, ownerConditions } from './owner.js'
import { canonicalUsername, usernameProblem } from './username.js'

/** The changes of what an account is called: its username and its email. */
export function userNames (store: Store, now: () => number) {
  const { db, tables: { codes, loginFailures, users } } = store
  const { isOwner } = ownerConditions(store)
  const userExists = (condition: SQL | undefined) => exists(db.select({ id: users.id }).from(users).where(condition))

  /** Whether a user has another email than this one, or none. */
  const hasOther = (email: string | null) => email === null ? isNotNull(users.email) : or(isNull(users.email), ne(users.email, email))

  /** Selects the row of a user who may get an email: a username that is the email needs it. */
  const mayChangeEmail = (id: number, email: string | null, owner: Owner): SQL | undefined => and(
    isOwner(id, owner),
    or(isNull(users.emailKey), ne(users.usernameKey, users.emailKey), email === null ? undefined : eq(users.usernameKey, canonicalEmail(email)))
  )

  /** Runs a batch whose last query changes something if it is allowed; false when it is not, or the name or the email is taken. */
  async function change (id: number, queries: Query[]): Promise<boolean> {
    try {
      const written = await store.batch([...store.lockUser(id), ...queries], { retryBusyMs: revocationRetryMs })
      return written.at(-1) !== 0
    } catch (error) {
      if (isConflict(error)) return false
      throw error
    }
  }

  return {
    mayChangeEmail,

    /**
     * Gives an account another username. One that contains @ must be its email, and becomes its
     * email where it has none. Failed logins for the name, from before it had this owner, are deleted.
     *
     * @returns false, and nothing changes, when the username or the email is taken, the email is
     * another one, or the owner has not the verified password or the token any longer
     * @throws {TypeError} the username is not permitted
     */
    async rename (id: number, username: string, owner: Owner = {}): Promise<boolean> {
      const usernameKey = canonicalUsername(username)
      if (usernameKey === undefined || usernameProblem(username) !== undefined) throw new TypeError('not a username')
      const isAddress = username.includes('@')
      const isAllowed = and(isOwner(id, owner), isAddress ? or(isNull(users.emailKey), eq(users.emailKey, usernameKey)) : undefined)
      return await change(id, [
        db.delete(loginFailures).where(and(eq(loginFailures.usernameKey, usernameKey), userExists(and(isAllowed, ne(users.usernameKey, usernameKey))))),
        // A pending change of the email would leave the address in the username to others.
        ...isAddress ? [db.delete(codes).where(and(eq(codes.userId, id), eq(codes.kind, 'email_verification'), userExists(isAllowed)))] : [],
        db.update(users).set({
          username,
          usernameKey,
          ...isAddress ? { email: sql`coalesce(${users.email}, ${username})`, emailKey: sql`coalesce(${users.emailKey}, ${usernameKey})` } : {},
          updatedAt: new Date(now())
        }).where(isAllowed)
      ])
    },

    /**
     * Gives an account an email, or none. If it is another one, the codes that were mailed to the
     * one before are not valid any longer.
     *
     * @param options.isVerified whether its owner has proven that the email is theirs
     * @returns false, and nothing changes, when the email is taken, the username needs the one
     * before, or the owner has not the verified password or the token any longer
     */
    async setEmail (id: number, email: string | null, { isVerified = false, ...owner }: Owner & { isVerified?: boolean } = {}): Promise<boolean> {
      const time = new Date(now())
      const isAllowed = mayChangeEmail(id, email, owner)
      return await change(id, [
        db.delete(codes).where(and(eq(codes.userId, id), inArray(codes.kind, ['password_reset', 'email_verification']), userExists(and(isAllowed, hasOther(email))))),
        db.update(users)
          .set({ email, emailKey: email === null ? null : canonicalEmail(email), emailVerifiedAt: isVerified ? time : null, updatedAt: time })
          .where(isAllowed)
      ])
    },

    /**
     * Gives an account an email that its owner has proven with a code, and deletes the code and
     * its like. Where it is another one, the codes that were mailed to the one before are not
     * valid any longer.
     *
     * @param code.lock locks the code
     * @param code.isUsable whether it is usable
     * @returns false, and nothing changes, when the code is not usable any longer, or the email is taken
     */
    async verifyEmail (id: number, email: string, { lock, isUsable }: { lock: Query, isUsable: SQL }): Promise<boolean> {
      const time = new Date(now())
      const isOther = userExists(and(eq(users.id, id), hasOther(email)))
      return await change(id, [
        lock,
        db.delete(codes).where(and(eq(codes.userId, id), eq(codes.kind, 'password_reset'), isUsable, isOther)),
        db.update(users).set({ email, emailKey: canonicalEmail(email), emailVerifiedAt: time, updatedAt: time }).where(and(eq(users.id, id), isUsable)),
        db.delete(codes).where(and(eq(codes.userId, id), eq(codes.kind, 'email_verification'), isUsable))
      ])
    }
  }
}
