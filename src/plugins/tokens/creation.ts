import { randomUUID } from 'node:crypto'
import { and, count, desc, eq, exists, gt, inArray, isNull, lt, notInArray, or, type Placeholder, sql } from 'drizzle-orm'
import type { Store } from '../../database/store.js'
import { personalTokensPerUser, tokensPerUser } from './limits.js'

/** The values of a new row. */
export type NewToken = Pick<Store['tables']['tokens']['$inferSelect'], 'userId' | 'description' | 'createdAt' | 'expiresAt'> & ({
  kind: 'login'
  /** The hash of the password that was checked. */
  passwordHash: string
  /** When the second factor was switched on whose code was checked; undefined or null where none was. */
  secondFactorAt?: Date | null
} | {
  kind: 'personal'
  /** The id of the login token of the request; undefined if the operator creates the token. */
  requestingTokenId?: string
})

/** A time at which no second factor was switched on. */
const noTime = new Date(0)

/** The queries that insert tokens, and keep their number within the limits. */
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

  /** Deletes a user's oldest login tokens until no more than `tokensPerUser` tokens are left; `keepIds` stay. */
  const evictionQuery = (userId: number | Placeholder, time: Date | Placeholder, keepIds: Array<string | Placeholder>) => {
    const kept = db
      .select({ id: tokens.id })
      .from(tokens)
      .where(eq(tokens.userId, userId))
      // What must stay comes first: `keepIds`, then active personal access tokens, then the newest
      // active logins. Expired tokens are only the last: it is for the cleanup to judge the clock.
      .orderBy(desc(inArray(tokens.id, keepIds)), desc(gt(tokens.expiresAt, sql.param(time, tokens.expiresAt))), desc(tokens.kind), desc(tokens.createdAt))
      .limit(tokensPerUser)
    return db.delete(tokens).where(and(eq(tokens.userId, userId), eq(tokens.kind, 'login'), notInArray(tokens.id, kept)))
  }
  const evict = prepare('evict_tokens', evictionQuery(sql.placeholder('userId'), sql.placeholder('now'), [sql.placeholder('keepId')]))

  /** How many active personal access tokens a user has. */
  const personalTokenCount = (userId: number) => sql<number>`(${db.select({ count: count() }).from(tokens).where(and(eq(tokens.userId, userId), eq(tokens.kind, 'personal'), gt(tokens.expiresAt, new Date(now()))))})`

  /** Inserts a personal access token if that is permitted, in one transaction: revoking all of a user's tokens comes before it or after it. */
  async function insertPersonal (id: string, { userId, requestingTokenId = id, kind, description, createdAt, expiresAt }: NewToken & { kind: 'personal' }): Promise<boolean> {
    const requestingLogin = db.select({ id: tokens.id }).from(tokens).where(and(eq(tokens.userId, userId), eq(tokens.id, requestingTokenId), eq(tokens.kind, 'login')))
    const row = rowOf({ id, kind, description, createdAt, expiresAt })
    const isAllowed = and(eq(users.id, userId), isNull(users.disabledAt), lt(personalTokenCount(userId), personalTokensPerUser), requestingTokenId === id ? undefined : exists(requestingLogin))
    const written = await batch([
      ...lockUser(userId),
      db.insert(tokens).select(db.select(row).from(users).where(isAllowed)),
      evictionQuery(userId, new Date(now()), [id, requestingTokenId])
    ])
    return written.at(-2) !== 0
  }

  return {
    /**
     * Inserts a row and returns its id, a random UUID. `undefined` when the user does not exist or is disabled;
     * for a login also when the password or the second factor was changed since it was checked; for a personal access
     * token also when the login token of the request was revoked, or the user has
     * `personalTokensPerUser` already. If there are too many tokens, the oldest logins are deleted.
     */
    async create (token: NewToken): Promise<string | undefined> {
      const id = randomUUID()
      if (token.kind === 'personal') return await insertPersonal(id, token) ? id : undefined
      const { userId } = token
      const [inserted] = await insertLogin.execute({ ...token, id, secondFactorAt: token.secondFactorAt ?? noTime })
      if (inserted === undefined) return undefined
      if (Number(inserted.tokenCount) >= tokensPerUser) await evict.execute({ userId, now: new Date(now()), keepId: id })
      return id
    }
  }
}
