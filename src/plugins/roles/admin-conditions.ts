import { and, eq, exists, type SQL } from 'drizzle-orm'
import type { Query, Store } from '../../database/store.js'
import { lockAdmins } from './lock-admins.js'
import { adminRole } from './role-name.js'

/** An admin who acts, and the token of the request. */
export interface Actor {
  userId: number
  tokenId: string
}

/** For the start of a batch that an admin causes: the actor's rights and the number of admins change before it or after it. */
export function adminLocks (store: Store, actor: Actor | undefined): Query[] {
  return [lockAdmins(store), ...actor === undefined ? [] : store.lockUser(actor.userId)]
}

/** Whether an actor is still an admin, with a token that is not revoked. Without an actor the operator acts. */
export function isStillAdmin ({ db, tables: { tokens, userRoles } }: Store, actor: Actor | undefined): SQL | undefined {
  return actor && and(
    exists(db.select({ id: tokens.id }).from(tokens).where(and(eq(tokens.id, actor.tokenId), eq(tokens.userId, actor.userId)))),
    exists(db.select({ userId: userRoles.userId }).from(userRoles).where(and(eq(userRoles.userId, actor.userId), eq(userRoles.roleName, adminRole))))
  )
}
