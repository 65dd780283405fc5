import { randomUUID } from 'node:crypto'
import { and, count, eq, exists, gt, isNull, lt, or, sql } from 'drizzle-orm'
import type { Store } from '../../database/store.js'
import { personalTokensPerUser, renewalGraceMs, tokensPerUser } from './limits.js'

/** The values of a new row. */
export type NewToken = Pick<Store['tables']['tokens']['$inferSelect'], 'userId' | 'createdAt' | 'expiresAt'> & ({
  kind: 'login'
  description: string
  /** The hash of the password that was checked. */
  passwordHash: string
  /** When the second factor was switched on whose code was checked; undefined or null where none was. */
  secondFactorAt?: Date | null
} | {
  kind: 'personal'
  description: string
  /** The hash of the password that was checked; undefined where none was. */
  passwordHash?: string
  /** The id of the login token of the request; undefined if the operator creates the token. */
  requestingTokenId?: string
} | {
  /** A login's token in place of another one. */
  kind: 'renewal'
  renewedTokenId: string
})

type NewTokenOfKind<Kind> = NewToken & { kind: Kind }

/** A row that was inserted. */
export interface InsertedToken {
  id: string
  /** Whether the user may have more tokens than `tokensPerUser` now. */
  isSurplus: boolean
}

/** A time at which no second factor was switched on. */
const noTime = new Date(0)

/** The queries that insert tokens. */
export function tokenCreation ({ batch, db, lockUser, prepare, relaxed, shareLock, tables: { tokens, users } }: Store, now: () => number) {
  /** The values of a new row, as they are inserted while the user exists. */
  const rowOf = (values: Record<'id' | 'kind' | 'description' | 'createdAt' | 'expiresAt', unknown>) => ({
    id: sql`${sql.param(values.id, tokens.id)}`.as('id'),
    userId: users.id,
    kind: sql`${sql.param(values.kind, tokens.kind)}`.as('kind'),
    description: sql`${sql.param(values.description, tokens.description)}`.as('description'),
    createdAt: sql`${sql.param(values.createdAt, tokens.createdAt)}`.as('created_at'),
    expiresAt: sql`${sql.param(values.expiresAt, tokens.expiresAt)}`.as('expires_at'),
    lastUsedAt: sql`null`.as('last_used_at'),
    loggedInAt: sql`null`.as('logged_in_at'),
    renewedAt: sql`null`.as('renewed_at')
  })

  const loginRow = rowOf({ id: sql.placeholder('id'), kind: 'login', description: sql.placeholder('description'), createdAt: sql.placeholder('createdAt'), expiresAt: sql.placeholder('expiresAt') })
  const userWithPassword = db.select(loginRow).from(users).where(and(eq(users.id, sql.placeholder('userId')), eq(users.passwordHash, sql.placeholder('passwordHash')), isNull(users.disabledAt), or(isNull(users.secondFactorAt), eq(users.secondFactorAt, sql.param(sql.placeholder('secondFactorAt'), users.secondFactorAt)))))
  const tokenCount = sql<number>`(${db.select({ count: count() }).from(tokens).where(eq(tokens.userId, sql.placeholder('userId')))})`
  // After a power cut a user whose last login is lost logs in again.
  const insertLogin = prepare('login_token', relaxed.insert(tokens).select(sql`${userWithPassword.getSQL()}${shareLock}`).returning({ tokenCount }))

  /** How many active personal access tokens a user has. */
  const personalTokenCount = (userId: number) => sql<number>`(${db.select({ count: count() }).from(tokens).where(and(eq(tokens.userId, userId), eq(tokens.kind, 'personal'), gt(tokens.expiresAt, new Date(now()))))})`

  /** Inserts a personal access token if that is permitted, in one transaction: revoking all of a user's tokens comes before it or after it. */
  async function insertPersonal (id: string, { userId, passwordHash, requestingTokenId = id, kind, description, createdAt, expiresAt }: NewTokenOfKind<'personal'>): Promise<boolean> {
    const requestingLogin = db.select({ id: tokens.id }).from(tokens).where(and(eq(tokens.userId, userId), eq(tokens.id, requestingTokenId), eq(tokens.kind, 'login')))
    const row = rowOf({ id, kind, description, createdAt, expiresAt })
    const isVerified = passwordHash === undefined ? undefined : eq(users.passwordHash, passwordHash)
    const isAllowed = and(eq(users.id, userId), isVerified, isNull(users.disabledAt), lt(personalTokenCount(userId), personalTokensPerUser), requestingTokenId === id ? undefined : exists(requestingLogin))
    const written = await batch([...lockUser(userId), db.insert(tokens).select(db.select(row).from(users).where(isAllowed))])
    return written.at(-1) !== 0
  }

  /** Inserts a login token in place of another one that is active, in one transaction like the above. The other one stays active for its grace, which ends once. */
  async function insertRenewal (id: string, { userId, renewedTokenId, createdAt, expiresAt }: NewTokenOfKind<'renewal'>): Promise<boolean> {
    const row = {
      ...rowOf({ id, kind: 'login', description: null, createdAt, expiresAt }),
      description: tokens.description,
      loggedInAt: sql`coalesce(${tokens.loggedInAt}, ${tokens.createdAt})`.as('logged_in_at')
    }
    // Once it was renewed it expires with its grace.
    const isRenewable = and(eq(tokens.id, renewedTokenId), eq(tokens.userId, userId), eq(tokens.kind, 'login'), gt(tokens.expiresAt, createdAt), isNull(users.disabledAt))
    const inserted = db.select({ id: tokens.id }).from(tokens).where(eq(tokens.id, id))
    const graceEndsAt = sql.param(new Date(createdAt.getTime() + renewalGraceMs), tokens.expiresAt)
    const written = await batch([
      ...lockUser(userId),
      db.insert(tokens).select(db.select(row).from(tokens).innerJoin(users, eq(users.id, tokens.userId)).where(isRenewable)),
      db.update(tokens)
        .set({ renewedAt: createdAt, expiresAt: sql`case when ${tokens.expiresAt} < ${graceEndsAt} then ${tokens.expiresAt} else ${graceEndsAt} end` })
        .where(and(eq(tokens.id, renewedTokenId), isNull(tokens.renewedAt), exists(inserted)))
    ])
    return written.at(-2) !== 0
  }

  /** Inserts any token but a login's: those are inserted far more often. */
  async function insertInBatch (id: string, token: NewTokenOfKind<'personal' | 'renewal'>): Promise<InsertedToken | undefined> {
    const isInserted = token.kind === 'personal' ? await insertPersonal(id, token) : await insertRenewal(id, token)
    return isInserted ? { id, isSurplus: await db.$count(tokens, eq(tokens.userId, token.userId)) > tokensPerUser } : undefined
  }

  return {
    /**
     * Inserts a row with a random UUID. `undefined` when the user does not exist or is disabled;
     * for a login also when the password or the second factor was changed since it was checked; for a personal access
     * token also when the password was changed, the login token of the request was revoked, or the user has
     * `personalTokensPerUser` already; for a renewal also when the renewed token is not an active
     * login's.
     */
    async create (token: NewToken): Promise<InsertedToken | undefined> {
      const id = randomUUID()
      if (token.kind !== 'login') return await insertInBatch(id, token)
      const [inserted] = await insertLogin.execute({ ...token, id, secondFactorAt: token.secondFactorAt ?? noTime })
      return inserted && { id, isSurplus: Number(inserted.tokenCount) >= tokensPerUser }
    }
  }
}
