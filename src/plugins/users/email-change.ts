import { and, eq, exists, isNotNull, isNull, ne, notExists, or } from 'drizzle-orm'
import { isConflict } from '../../database/errors.js'
import type { Store } from '../../database/store.js'
import { codesRepository } from '../codes/repository.js'
import { canonicalEmail } from './email.js'

/** Every query that changes emails. */
export type EmailChange = ReturnType<typeof emailChangeRepository>

/**
 * Every query that changes emails.
 *
 * @param now the clock, in milliseconds since 1970
 */
export function emailChangeRepository (store: Store, now: () => number) {
  const { db, tables: { users } } = store
  const { deleteOfUserQuery } = codesRepository(store, now)

  return {
    /**
     * Gives an account another email, which has been validated, or none. Codes that were mailed
     * to the old one are not valid any longer.
     *
     * @param options.verified whether the email is known to be its owner's
     * @returns undefined, and nothing changes, when the email is taken, or there is no such account
     */
    async setEmail (id: number, email: string | null, { verified }: { verified: boolean }): Promise<'changed' | undefined> {
      const emailKey = email === null ? null : canonicalEmail(email)
      const time = new Date(now())
      const isFree = emailKey === null ? undefined : notExists(db.select({ id: users.id }).from(users).where(and(eq(users.emailKey, emailKey), ne(users.id, id))))
      const isAnother = email === null ? isNotNull(users.email) : or(isNull(users.email), ne(users.email, email))
      const changes = exists(db.select({ id: users.id }).from(users).where(and(eq(users.id, id), isAnother, isFree)))
      try {
        const written = await store.batch([
          ...store.lockUser(id),
          deleteOfUserQuery(id, ['password_reset', 'email_verification'], changes),
          db.update(users).set({ email, emailKey, emailVerifiedAt: verified ? time : null, updatedAt: time }).where(and(eq(users.id, id), isFree))
        ])
        return written.at(-1) === 0 ? undefined : 'changed'
      } catch (error) {
        // A concurrent signup took it.
        if (isConflict(error)) return undefined
        throw error
      }
    }
  }
}
