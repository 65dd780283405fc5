import { eq } from 'drizzle-orm'
import { adminRole } from './role-name.js'
import type { Query, Store } from '../../database/store.js'

/**
 * For the start of a batch that depends on how many admins there are: one such batch runs at a
 * time. In both dialects an update of the role's row, without a change, locks it until the batch
 * ends. Without it the last two admins could be removed concurrently, each because the other is
 * still there.
 */
export function lockAdmins ({ db, tables: { roles } }: Pick<Store, 'db' | 'tables'>): Query {
  return db.update(roles).set({ name: adminRole }).where(eq(roles.name, adminRole))
}

/**
 * For how long a batch that takes access away (revocation, demotion, deletion, new password) is
 * retried while another process locks the database, in milliseconds: an attacker who causes writes
 * all the time must not be able to prevent it.
 */
export const revocationRetryMs = 5_000
