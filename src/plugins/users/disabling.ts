import { and, eq, exists, isNotNull, isNull } from 'drizzle-orm'
import type { Store } from '../../database/store.js'
import { type Actor, adminLocks, isStillAdmin, leavesAnAdmin } from '../roles/admin-conditions.js'
import { revocationRetryMs } from '../roles/lock-admins.js'

/** Every query that disables and enables accounts. */
export type Disabling = ReturnType<typeof disablingRepository>

/**
 * Every query that disables and enables accounts.
 *
 * @param now the clock, in milliseconds since 1970
 */
export function disablingRepository (store: Store, now: () => number) {
  const { db, tables: { tokens, users } } = store
  const isDisabled = (id: number) => exists(db.select({ id: users.id }).from(users).where(and(eq(users.id, id), isNotNull(users.disabledAt))))

  /** When an account was disabled; null while it is enabled, `undefined` when there is none. */
  async function findDisabledAt (id: number): Promise<Date | null | undefined> {
    const [user] = await db.select({ disabledAt: users.disabledAt }).from(users).where(eq(users.id, id))
    return user?.disabledAt
  }

  return {
    findDisabledAt,

    /**
     * Disables an account, which may be disabled already, and revokes its tokens, including those
     * that are being created concurrently.
     *
     * @param actor the admin who acts; undefined where the operator does
     * @returns false, and nothing changes, when it is the last enabled admin's, there is no such account, or the actor is not an admin any longer
     */
    async disable (id: number, actor?: Actor): Promise<boolean> {
      const time = new Date(now())
      const written = await store.batch([
        ...adminLocks(store, actor, id),
        db.update(users).set({ disabledAt: time, updatedAt: time })
          .where(and(eq(users.id, id), isNull(users.disabledAt), leavesAnAdmin(store, id), isStillAdmin(store, actor))),
        db.delete(tokens).where(and(eq(tokens.userId, id), isDisabled(id)))
      ], { retryBusyMs: revocationRetryMs })
      return written.at(-2) !== 0 || await findDisabledAt(id) instanceof Date
    },

    /**
     * Enables an account.
     *
     * @param actor the admin who acts; undefined where the operator does
     * @returns false, and nothing changes, when it was not disabled, or the actor is not an admin any longer
     */
    async enable (id: number, actor?: Actor): Promise<boolean> {
      const written = await store.batch([
        ...adminLocks(store, actor, id),
        db.update(users).set({ disabledAt: null, updatedAt: new Date(now()) })
          .where(and(eq(users.id, id), isNotNull(users.disabledAt), isStillAdmin(store, actor)))
      ])
      return written.at(-1) !== 0
    }
  }
}
