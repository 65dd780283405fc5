import { and, eq, exists, isNull, ne, not, or, type SQL } from 'drizzle-orm'
import type { Query, Store } from '../../database/store.js'
import { lockAdmins } from './lock-admins.js'
import { adminRole } from './role-name.js'

/** An admin who acts, and the token of the request. */
export interface Actor {
  userId: number
  tokenId: string
}

/**
 * For the start of a batch that an admin causes: the actor's rights, the number of admins and the
 * state of the accounts change before it or after it. Accounts are locked in the order of their ids,
 * so that two batches do not wait for each other.
 */
export function adminLocks (store: Store, actor: Actor | undefined, ...userIds: number[]): Query[] {
  const ids = new Set(actor === undefined ? userIds : [...userIds, actor.userId])
  return [lockAdmins(store), ...[...ids].sort((a, b) => a - b).flatMap((id) => store.lockUser(id))]
}

/** Whether an actor is still an admin, with a token that is not revoked. Without an actor the operator acts. */
export function isStillAdmin ({ db, tables: { tokens, userRoles } }: Store, actor: Actor | undefined): SQL | undefined {
  return actor && and(
    exists(db.select({ id: tokens.id }).from(tokens).where(and(eq(tokens.id, actor.tokenId), eq(tokens.userId, actor.userId)))),
    exists(db.select({ userId: userRoles.userId }).from(userRoles).where(and(eq(userRoles.userId, actor.userId), eq(userRoles.roleName, adminRole))))
  )
}

/** Whether an enabled account other than this one has the role `admin`, or this one is no enabled admin: it may then be deleted, disabled or demoted. */
export function leavesAnAdmin ({ db, tables: { userRoles, users } }: Store, userId: number): SQL | undefined {
  const enabledAdmin = (condition: SQL) => exists(db
    .select({ userId: userRoles.userId })
    .from(userRoles)
    .innerJoin(users, eq(users.id, userRoles.userId))
    .where(and(eq(userRoles.roleName, adminRole), isNull(users.disabledAt), condition)))
  return or(not(enabledAdmin(eq(userRoles.userId, userId))), enabledAdmin(ne(userRoles.userId, userId)))
}
