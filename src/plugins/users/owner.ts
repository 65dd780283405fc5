import { and, eq, exists, type SQL } from 'drizzle-orm'
import type { Store } from '../../database/store.js'

/** How the owner of an account has proven who they are; empty where the operator acts. */
export interface Owner {
  /** The hash that the password was verified with. */
  verifiedHash?: string
  /** The token of the request. */
  tokenId?: string
}

/** The conditions that the owner must still meet when something is written. */
export function ownerConditions ({ db, tables: { tokens, users } }: Store) {
  /** Whether the token of the request is not revoked. Without a token the operator acts. */
  const isActive = (userId: number, tokenId: string | undefined): SQL | undefined => tokenId === undefined
    ? undefined
    : exists(db.select({ id: tokens.id }).from(tokens).where(and(eq(tokens.id, tokenId), eq(tokens.userId, userId))))

  return {
    isActive,

    /** Selects the row of a user whose password is still the verified one, and whose token is not revoked. */
    isOwner: (id: number, { verifiedHash, tokenId }: Owner): SQL | undefined =>
      and(eq(users.id, id), verifiedHash === undefined ? undefined : eq(users.passwordHash, verifiedHash), isActive(id, tokenId))
  }
}
