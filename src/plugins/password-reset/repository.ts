import { and, eq, exists, inArray, isNotNull, isNull, type SQL } from 'drizzle-orm'
import type { FastifyInstance } from 'fastify'
import { revocationRetryMs } from '../roles/lock-admins.js'
import { canonicalEmail } from '../users/email.js'
import type { User } from '../users/user.js'
import { isEmailVerified } from '../users/user-columns.js'

/** The account that an address belongs to. */
export type Recipient = Pick<User, 'id' | 'username' | 'email' | 'emailVerified'> & { disabledAt: Date | null }

/** A usable code of a user, by its hash. */
export interface ResetCode {
  hash: string
  userId: number
}

/** Every query on forgotten passwords. */
export type PasswordResetRepository = ReturnType<typeof passwordResetRepository>

/**
 * Every query on forgotten passwords.
 *
 * @param now the clock, in milliseconds since 1970
 */
export function passwordResetRepository ({ codes, store }: Pick<FastifyInstance, 'codes' | 'store'>, now: () => number) {
  const { db, tables: { knownNetworks, loginFailures, tokens, users } } = store
  const recipient = { id: users.id, username: users.username, email: users.email, emailVerified: isEmailVerified(users), disabledAt: users.disabledAt }

  return {
    /** The account that an address belongs to, in any case; `undefined` when there is none. */
    async findRecipient (email: string): Promise<Recipient | undefined> {
      const [found] = await db.select(recipient).from(users).where(eq(users.emailKey, canonicalEmail(email)))
      return found
    },

    /** For the batch that issues the code: whether the address is still that of the account, and verified, and the account is not disabled. */
    isRecipient: (to: string): SQL | undefined => and(eq(users.email, to), isNotNull(users.emailVerifiedAt), isNull(users.disabledAt)),

    /**
     * Uses a code: sets the password, revokes every token, deletes the other codes of the user,
     * the failed logins and the known networks, which an attacker may have used. All of it or nothing.
     *
     * @returns false when the code is not usable any longer
     */
    async setPassword ({ hash, userId }: ResetCode, passwordHash: string): Promise<boolean> {
      const ofUser = eq(users.id, userId)
      const isReplaced = exists(db.select({ id: users.id }).from(users).where(and(ofUser, eq(users.passwordHash, passwordHash))))
      const usernameKey = db.select({ usernameKey: users.usernameKey }).from(users).where(ofUser)
      // The user first, as in every batch on the codes of a user: two of them never wait for each other.
      const locks = [...store.lockUser(userId), codes.lockQuery(hash)]
      const written = await store.batch([
        ...locks,
        db.update(users).set({ passwordHash, updatedAt: new Date(now()) }).where(and(ofUser, codes.isUsable('password_reset', hash))),
        db.delete(tokens).where(and(eq(tokens.userId, userId), isReplaced)),
        codes.deleteOfUserQuery(userId, ['password_reset', 'email_verification'], isReplaced),
        db.delete(knownNetworks).where(and(eq(knownNetworks.userId, userId), isReplaced)),
        db.delete(loginFailures).where(and(inArray(loginFailures.usernameKey, usernameKey), isReplaced))
      ], { retryBusyMs: revocationRetryMs })
      return written[locks.length] !== 0
    }
  }
}
