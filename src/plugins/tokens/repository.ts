import { and, desc, eq, gt, inArray, isNotNull, isNull, lte, ne, or, type SQL, sql } from 'drizzle-orm'
import type { Store } from '../../database/store.js'
import { rowsPerCleanup } from '../../lib/background.js'
import { type Actor, adminLocks, isStillAdmin } from '../roles/admin-conditions.js'
import { revocationRetryMs } from '../roles/lock-admins.js'
import type { User } from '../users/user.js'
import { isEmailVerified } from '../users/user-columns.js'
import { tokenCreation } from './creation.js'
import type { Token, TokenIds } from './token.js'

/** Separates the names of roles, in which it cannot occur: the unit separator of ASCII. */
const separator = '\x1f'

/** The user that a token names, and the state of its row: `tokenUserId` is null when the token was revoked. */
export interface TokenOwner extends Omit<User, 'id' | 'emailVerified'> {
  /** As the database writes a truth value. */
  emailVerified: boolean | number
  tokenUserId: number | null
  lastUsedAt: Date | null
  /** When it was renewed: null for almost all. */
  renewedAt: Date | null
}

/** The kind of a token, and the age of the login with a password that it goes back to, in seconds. */
export type LoginAge = Pick<Store['tables']['tokens']['$inferSelect'], 'kind'> & { ageSeconds: number }

/** Every query on tokens. */
export type TokensRepository = ReturnType<typeof tokensRepository>

/**
 * Every query on tokens.
 *
 * @param options.now the clock, in milliseconds since 1970
 * @param options.pendingLastUsed the last-used times that are not written yet, by token id
 */
export function tokensRepository (store: Store, { now, pendingLastUsed }: { now: () => number, pendingLastUsed: () => ReadonlyMap<string, Date> }) {
  const { batch, db, lockUser, prepareGet, tables: { tokens, userRoles, users } } = store
  // The queries of guarded requests: one statement each, by primary key.
  const owner = { username: users.username, email: users.email, emailVerified: isEmailVerified(users), createdAt: users.createdAt, tokenUserId: tokens.userId, lastUsedAt: tokens.lastUsedAt, renewedAt: tokens.renewedAt }
  const ids = { userId: users.id, tokenId: tokens.id }
  const userIdMatches = eq(users.id, sql.placeholder('userId'))
  const ownedByUser = and(eq(tokens.id, sql.placeholder('tokenId')), eq(tokens.userId, users.id))
  const findOwner = prepareGet('token_owner', owner, db.select(owner).from(users).leftJoin(tokens, ownedByUser).where(userIdMatches), ids)
  const roleNames = db.select({ names: sql`string_agg(${userRoles.roleName}, ${sql.raw(`'${separator}'`)})` }).from(userRoles).where(eq(userRoles.userId, users.id))
  const ownerWithRoles = { ...owner, roleNames: sql<string | null>`(${roleNames})`, secondFactorAt: users.secondFactorAt }
  const findOwnerWithRoles = prepareGet('token_owner_roles', ownerWithRoles, db.select(ownerWithRoles).from(users).leftJoin(tokens, ownedByUser).where(userIdMatches), ids)

  const isActive = () => gt(tokens.expiresAt, new Date(now()))
  const tokenOfUser = (userId: number, id: string) => and(eq(tokens.userId, userId), eq(tokens.id, id))

  return {
    ...tokenCreation(store, now),

    /** The user and the row that a token names; `undefined` when the user does not exist. */
    findOwner: (ids: TokenIds): Promise<TokenOwner | undefined> => findOwner(ids),

    /** The same, with the names of the user's roles, sorted, and when the second factor was switched on. */
    async findOwnerWithRoles (ids: TokenIds): Promise<TokenOwner & { roles: string[], secondFactorAt: Date | null } | undefined> {
      const row = await findOwnerWithRoles(ids)
      // Not spread: V8 takes twenty times as long for it, and many requests come here.
      return row && Object.assign(row, { roles: row.roleNames?.split(separator).sort() ?? [] })
    },

    /** A user's active tokens, newest first. In place of one that was renewed there is its successor. */
    async list (userId: number): Promise<Token[]> {
      // Copied before the rows are read: times that are written concurrently may not be in the rows yet.
      const pending = pendingLastUsed()
      const rows = await db
        .select({ id: tokens.id, description: tokens.description, createdAt: tokens.createdAt, expiresAt: tokens.expiresAt, lastUsedAt: tokens.lastUsedAt })
        .from(tokens)
        .where(and(eq(tokens.userId, userId), isActive(), isNull(tokens.renewedAt)))
        .orderBy(desc(tokens.createdAt), desc(tokens.id))
      return rows.map((row) => ({ ...row, lastUsedAt: pending.get(row.id) ?? row.lastUsedAt }))
    },

    /** The kind of a user's token, and how old its login is; `undefined` when the user has no such token. */
    async findLoginAge (userId: number, id: string): Promise<LoginAge | undefined> {
      const [row] = await db.select({ kind: tokens.kind, createdAt: tokens.createdAt, loggedInAt: tokens.loggedInAt }).from(tokens).where(tokenOfUser(userId, id))
      return row && { kind: row.kind, ageSeconds: (now() - (row.loggedInAt ?? row.createdAt).getTime()) / 1_000 }
    },

    /**
     * Revokes one token of a user, and what renewals have put beside it: the tokens of the same
     * login that are valid only for their grace, which could be renewed again; and if it was
     * renewed itself, its successors. False when the user has no such token.
     */
    async revoke (userId: number, id: string): Promise<boolean> {
      const loggedInAt = sql`coalesce(${tokens.loggedInAt}, ${tokens.createdAt})`
      const loginOf = (condition?: SQL) => db.select({ loggedInAt }).from(tokens).where(and(tokenOfUser(userId, id), eq(tokens.kind, 'login'), condition))
      const isReplaced = and(isNotNull(tokens.renewedAt), inArray(loggedInAt, loginOf()))
      const isSuccessor = inArray(tokens.loggedInAt, loginOf(isNotNull(tokens.renewedAt)))
      const isRevoked = and(eq(tokens.userId, userId), or(eq(tokens.id, id), isReplaced, isSuccessor))
      const written = await batch([...lockUser(userId), db.delete(tokens).where(isRevoked)], { retryBusyMs: revocationRetryMs })
      return written.at(-1) !== 0
    },

    /**
     * Revokes all tokens of a user, or all but one, including those that are being created concurrently.
     *
     * @param actor the admin who acts; undefined where the user or the operator does
     * @returns false when there were none, or the actor is not an admin any longer
     */
    async revokeAll (userId: number, exceptId?: string, actor?: Actor): Promise<boolean> {
      const isRevoked = and(eq(tokens.userId, userId), exceptId === undefined ? undefined : ne(tokens.id, exceptId), isStillAdmin(store, actor))
      const locks = actor === undefined ? lockUser(userId) : adminLocks(store, actor, userId)
      const written = await batch([...locks, db.delete(tokens).where(isRevoked)], { retryBusyMs: revocationRetryMs })
      return written.at(-1) !== 0
    },

    /** Deletes expired rows, at most `rowsPerCleanup` of them, and returns how many. Expired tokens are rejected anyway: this only bounds the table. */
    async deleteExpired (): Promise<number> {
      const expired = db.select({ id: tokens.id }).from(tokens).where(lte(tokens.expiresAt, new Date(now()))).limit(rowsPerCleanup)
      const rows = await db.delete(tokens).where(inArray(tokens.id, expired)).returning({ id: tokens.id })
      return rows.length
    }
  }
}
