import { randomUUID } from 'node:crypto'
import { and, count, desc, eq, exists, gt, inArray, lt, lte, ne, notInArray, type Placeholder, sql } from 'drizzle-orm'
import { isForeignKeyViolation } from '../../database/errors.js'
import type { Store } from '../../database/store.js'
import { rowsPerCleanup } from '../../lib/background.js'
import { revocationRetryMs } from '../roles/lock-admins.js'
import type { User } from '../users/user.js'
import { lastUsedTimes } from './last-used.js'
import { personalTokensPerUser, tokensPerUser } from './limits.js'
import type { Token } from './token.js'

/** What no name of a role can have in it: the unit separator of ASCII. */
const separator = '\x1f'

type TokenRow = Store['tables']['tokens']['$inferSelect']

/** What a new row is made of. */
export type NewToken = Pick<TokenRow, 'userId' | 'kind' | 'description' | 'createdAt' | 'expiresAt'> & {
  /** Of a personal token: the id of the login's token that asks for it; undefined where the operator asks. */
  askingId?: string
}

/** The user that a token names, and what is known of the token: `tokenUserId` is null where its row is gone. */
export interface TokenOwner extends Omit<User, 'id'> {
  tokenUserId: number | null
  lastUsedAt: Date | null
}

/** Every query on token rows. */
export type Tokens = ReturnType<typeof tokensRepository>

export function tokensRepository (store: Store, now: () => number) {
  const { batch, db, lockUser, prepare, relaxed, prepareGet, tables: { tokens, userRoles, users } } = store
  // The queries of guarded requests: each one statement, look-ups by primary key.
  const owner = { username: users.username, email: users.email, createdAt: users.createdAt, tokenUserId: tokens.userId, lastUsedAt: tokens.lastUsedAt }
  const userIdMatches = eq(users.id, sql.placeholder('userId'))
  const ownedByUser = and(eq(tokens.id, sql.placeholder('tokenId')), eq(tokens.userId, users.id))
  const byToken = prepareGet('token_owner', owner, db.select(owner).from(users).leftJoin(tokens, ownedByUser).where(userIdMatches))
  const namesOfRoles = db.select({ names: sql`string_agg(${userRoles.roleName}, ${sql.raw(`'${separator}'`)})` }).from(userRoles).where(eq(userRoles.userId, users.id))
  const ownerAndRoles = { ...owner, roleNames: sql<string | null>`(${namesOfRoles})` }
  const byTokenWithRoles = prepareGet('token_owner_roles', ownerAndRoles, db.select(ownerAndRoles).from(users).leftJoin(tokens, ownedByUser).where(userIdMatches))

  const login = prepare('login_token', relaxed.insert(tokens).values({
    id: sql.placeholder('id'),
    userId: sql.placeholder('userId'),
    kind: 'login',
    description: sql.placeholder('description'),
    createdAt: sql.placeholder('createdAt'),
    expiresAt: sql.placeholder('expiresAt')
  }))

  /** Takes a user's oldest logins back until there are no more than `tokensPerUser` tokens; those in `spared` stay. */
  const evictionQuery = (userId: number | Placeholder, time: Date | Placeholder, keepIds: Array<string | Placeholder>) => {
    const staying = db
      .select({ id: tokens.id })
      .from(tokens)
      .where(and(eq(tokens.userId, userId), gt(tokens.expiresAt, sql.param(time, tokens.expiresAt))))
      // What must stay comes first: the spared, the personal, the newest.
      .orderBy(desc(inArray(tokens.id, keepIds)), desc(tokens.kind), desc(tokens.createdAt))
      .limit(tokensPerUser)
    return db.delete(tokens).where(and(eq(tokens.userId, userId), eq(tokens.kind, 'login'), notInArray(tokens.id, staying)))
  }
  const evictStatement = prepare('evict_tokens', evictionQuery(sql.placeholder('userId'), sql.placeholder('now'), [sql.placeholder('keepId')]))

  const lastUsed = lastUsedTimes(store, now)
  const isActive = () => gt(tokens.expiresAt, new Date(now()))
  const ownedBy = (userId: number, id: string) => and(eq(tokens.userId, userId), eq(tokens.id, id))
  /** How many living personal tokens a user has. */
  const personalTokensOf = (userId: number) => sql<number>`(${db.select({ count: count() }).from(tokens).where(and(eq(tokens.userId, userId), eq(tokens.kind, 'personal'), isActive()))})`

  /** Looks whether a personal token may be made, and makes it, in one transaction: revoking all of a user's tokens comes before it or after it. */
  async function addPersonal (id: string, { userId, askingId = id, kind, description, createdAt, expiresAt }: NewToken): Promise<boolean> {
    const asking = db.select({ id: tokens.id }).from(tokens).where(and(ownedBy(userId, askingId), eq(tokens.kind, 'login')))
    const row = {
      id: sql`${sql.param(id, tokens.id)}`.as('id'),
      userId: users.id,
      kind: sql`${sql.param(kind, tokens.kind)}`.as('kind'),
      description: sql`${sql.param(description, tokens.description)}`.as('description'),
      createdAt: sql`${sql.param(createdAt, tokens.createdAt)}`.as('created_at'),
      expiresAt: sql`${sql.param(expiresAt, tokens.expiresAt)}`.as('expires_at'),
      lastUsedAt: sql`null`.as('last_used_at')
    }
    const isAllowed = and(eq(users.id, userId), lt(personalTokensOf(userId), personalTokensPerUser), askingId === id ? undefined : exists(asking))
    const written = await batch([
      ...lockUser(userId),
      db.insert(tokens).select(db.select(row).from(users).where(isAllowed)),
      evictionQuery(userId, new Date(now()), [id, askingId])
    ])
    return written.at(-2) !== 0
  }

  return {
    /**
     * Adds a row and returns its id, a random UUID; `undefined`, and nothing happens, when the
     * user is gone. A personal token takes the place of the oldest logins where there are too
     * many tokens, and is not made either when the login that asks for it is gone, or the user
     * has `personalTokensPerUser` already.
     */
    async create (token: NewToken): Promise<string | undefined> {
      const id = randomUUID()
      try {
        if (token.kind === 'personal') return await addPersonal(id, token) ? id : undefined
        await login.execute({ ...token, id })
        return id
      } catch (error) {
        if (isForeignKeyViolation(error)) return undefined
        throw error
      }
    },

    /** Takes a user's oldest logins back until there are no more than `tokensPerUser` tokens; `spared` stays. */
    async evictLeastRecentlyUsed (userId: number, keepId: string): Promise<void> {
      await evictStatement.execute({ userId, now: new Date(now()), keepId })
    },

    /** Looks a token's user and row up; `undefined` when the user is gone. */
    findOwner: (ids: { userId: number, tokenId: string }): Promise<TokenOwner | undefined> => byToken(ids),

    /** The same, with the names of the user's roles, sorted. */
    async findOwnerWithRoles (ids: { userId: number, tokenId: string }): Promise<TokenOwner & { roles: string[] } | undefined> {
      const row = await byTokenWithRoles(ids)
      return row && { ...row, roles: row.roleNames?.split(separator).sort() ?? [] }
    },

    /** A user's living tokens, newest first. */
    async list (userId: number): Promise<Token[]> {
      // As they are before the rows are read: what is written meanwhile may not be in them yet.
      const noted = lastUsed.pending()
      const rows = await db
        .select({ id: tokens.id, description: tokens.description, createdAt: tokens.createdAt, expiresAt: tokens.expiresAt, lastUsedAt: tokens.lastUsedAt })
        .from(tokens)
        .where(and(eq(tokens.userId, userId), isActive()))
        .orderBy(desc(tokens.createdAt), desc(tokens.id))
      return rows.map((row) => ({ ...row, lastUsedAt: noted.get(row.id) ?? row.lastUsedAt }))
    },

    /** What kind of token it is, and how many seconds ago it was made; `undefined` when the user has no such token (any more). */
    async findAge (userId: number, id: string): Promise<Pick<TokenRow, 'kind'> & { ageSeconds: number } | undefined> {
      const [row] = await db.select({ kind: tokens.kind, createdAt: tokens.createdAt }).from(tokens).where(ownedBy(userId, id))
      return row && { kind: row.kind, ageSeconds: (now() - row.createdAt.getTime()) / 1_000 }
    },

    /** Takes one token of a user back; false when the user has no such token. */
    async revoke (userId: number, id: string): Promise<boolean> {
      const [revoked] = await batch([db.delete(tokens).where(ownedBy(userId, id))], { retryBusyMs: revocationRetryMs })
      return revoked !== 0
    },

    /** Takes all tokens of a user back, or all but one, and those that are just being made; false when there were none. */
    async revokeAll (userId: number, exceptId?: string): Promise<boolean> {
      const isRevoked = and(eq(tokens.userId, userId), exceptId === undefined ? undefined : ne(tokens.id, exceptId))
      const written = await batch([...lockUser(userId), db.delete(tokens).where(isRevoked)], { retryBusyMs: revocationRetryMs })
      return written.at(-1) !== 0
    },

    /** Removes rows whose time has passed, some at a time; answers how many. They are refused by their `exp` anyway: this only bounds the table. */
    async deleteExpired (): Promise<number> {
      const expired = db.select({ id: tokens.id }).from(tokens).where(lte(tokens.expiresAt, new Date(now()))).limit(rowsPerCleanup)
      const rows = await db.delete(tokens).where(inArray(tokens.id, expired)).returning({ id: tokens.id })
      return rows.length
    },

    touch: lastUsed.touch,
    flushLastUsed: lastUsed.flush
  }
}
