import { eq } from 'drizzle-orm'
import { adminRole } from './role-name.js'
import type { Query, Store } from '../../database/store.js'

/**
 * For a batch whose next query depends on how many admins there are: one such batch at a
 * time. Writing the row of the role, unchanged, locks it until the batch is over, in every
 * dialect; without it two last admins could leave at once, each seeing the other stay.
 */
export function lockAdmins ({ db, tables: { roles } }: Pick<Store, 'db' | 'tables'>): Query {
  return db.update(roles).set({ name: adminRole }).where(eq(roles.name, adminRole))
}

/**
 * For how long what takes access away (revocation, demotion, deletion, another password) is
 * tried again while another process holds the database, in milliseconds: an attacker who writes
 * all the time must not keep an owner from it.
 */
export const revocationRetryMs = 5_000
