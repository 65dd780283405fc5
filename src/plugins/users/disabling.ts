import { and, eq, exists, isNotNull, isNull, ne, not, or, type SQL } from 'drizzle-orm'
import type { Store } from '../../database/store.js'
import { lockAdmins, revocationRetryMs } from '../roles/lock-admins.js'
import { adminRole } from '../roles/role-name.js'

/** Every query that disables accounts. */
export type Disabling = ReturnType<typeof disablingRepository>

/**
 * Every query that disables accounts.
 *
 * @param now the clock, in milliseconds since 1970
 */
export function disablingRepository (store: Store, now: () => number) {
  const { db, tables: { tokens, users, userRoles } } = store
  const adminExists = (condition: SQL | undefined) => exists(db
    .select({ id: userRoles.userId })
    .from(userRoles)
    .innerJoin(users, eq(users.id, userRoles.userId))
    .where(and(eq(userRoles.roleName, adminRole), condition)))
  const isDisabled = (id: number) => db.select({ id: users.id }).from(users).where(and(eq(users.id, id), isNotNull(users.disabledAt)))

  return {
    /**
     * Disables an account, which may be disabled already, and revokes its tokens.
     *
     * @returns false, and nothing changes, when it is that of the last admin who is not disabled, or there is none
     */
    async disable (id: number): Promise<boolean> {
      const time = new Date(now())
      await store.batch([
        lockAdmins(store),
        ...store.lockUser(id),
        db.update(users).set({ disabledAt: time, updatedAt: time }).where(and(
          eq(users.id, id),
          isNull(users.disabledAt),
          or(not(adminExists(eq(userRoles.userId, id))), adminExists(and(ne(userRoles.userId, id), isNull(users.disabledAt))))
        )),
        db.delete(tokens).where(and(eq(tokens.userId, id), exists(isDisabled(id))))
      ], { retryBusyMs: revocationRetryMs })
      return (await isDisabled(id)).length > 0
    },

    /** Enables an account; false when it was not disabled. */
    async enable (id: number): Promise<boolean> {
      const rows = await db
        .update(users)
        .set({ disabledAt: null, updatedAt: new Date(now()) })
        .where(and(eq(users.id, id), isNotNull(users.disabledAt)))
        .returning({ id: users.id })
      return rows.length > 0
    }
  }
}
