import { randomUUID } from 'node:crypto'
import { and, desc, eq, gt, inArray, lte, ne, notInArray, sql } from 'drizzle-orm'
import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { isForeignKeyViolation } from '../database/faults.js'
import { beside, rowsPerSweep, sweep } from '../lib/chores.js'
import type { Store } from '../database/store.js'
import { tokensPerUser } from '../lib/token-limits.js'
import type { User } from './users.js'

/** How coarse `last_used_at` is: at most one write a token in this time. */
const lastUsedGrainMs = 300_000
/** How long uses are collected before one statement writes them all. */
const lastUsedDelayMs = 1_000
/** How many uses one statement writes. */
const usesPerStatement = 1_000

/** What no name of a role can have in it: the unit separator of ASCII. */
const separator = '\x1f'

type TokenRow = Store['tables']['tokens']['$inferSelect']

/** What a new row is made of. */
export type NewToken = Pick<TokenRow, 'userId' | 'kind' | 'description' | 'createdAt' | 'expiresAt'>

/** A living token, as its owner sees it. */
export type Token = Pick<TokenRow, 'id' | 'description' | 'createdAt' | 'expiresAt' | 'lastUsedAt'>

/** The user that a token names, and what is known of the token: `tokenUserId` is null where its row is gone. */
export interface TokenOwner extends Omit<User, 'id'> {
  tokenUserId: number | null
  lastUsedAt: Date | null
}

declare module 'fastify' {
  interface FastifyInstance {
    /** Every query on token rows. */
    tokens: ReturnType<typeof tokensRepository>
  }
}

function tokensRepository ({ batch, db, prepare, prepareLookup, tables: { tokens, userRoles, users } }: Store, now: () => number) {
  // The queries of guarded requests: each one statement, look-ups by primary key.
  const owner = { username: users.username, email: users.email, createdAt: users.createdAt, tokenUserId: tokens.userId, lastUsedAt: tokens.lastUsedAt }
  const isTheOne = eq(users.id, sql.placeholder('userId'))
  const isTheirs = and(eq(tokens.id, sql.placeholder('tokenId')), eq(tokens.userId, users.id))
  const byToken = prepareLookup('token_owner', owner, db.select(owner).from(users).leftJoin(tokens, isTheirs).where(isTheOne))
  const namesOfRoles = db.select({ names: sql`string_agg(${userRoles.roleName}, ${sql.raw(`'${separator}'`)})` }).from(userRoles).where(eq(userRoles.userId, users.id))
  const ownerAndRoles = { ...owner, roleNames: sql<string | null>`(${namesOfRoles})` }
  const byTokenWithRoles = prepareLookup('token_owner_roles', ownerAndRoles, db.select(ownerAndRoles).from(users).leftJoin(tokens, isTheirs).where(isTheOne))

  const login = prepare('login_token', db.insert(tokens).values({
    id: sql.placeholder('id'),
    userId: sql.placeholder('userId'),
    kind: 'login',
    description: sql.placeholder('description'),
    createdAt: sql.placeholder('createdAt'),
    expiresAt: sql.placeholder('expiresAt')
  }))

  const isWhose = eq(tokens.userId, sql.placeholder('userId'))
  const staying = db
    .select({ id: tokens.id })
    .from(tokens)
    .where(and(isWhose, gt(tokens.expiresAt, sql.param(sql.placeholder('now'), tokens.expiresAt))))
    // What must stay comes first: the spared, the personal, the newest.
    .orderBy(desc(inArray(tokens.id, [sql.placeholder('spared'), sql.placeholder('sparedToo')])), desc(tokens.kind), desc(tokens.createdAt))
    .limit(tokensPerUser)
  const making = prepare('make_room', db.delete(tokens).where(and(isWhose, eq(tokens.kind, 'login'), notInArray(tokens.id, staying))))

  /** Uses that are not written yet: they never hold a request up. */
  const uses = new Map<string, Date>()

  const isLiving = () => gt(tokens.expiresAt, new Date(now()))

  return {
    /** Adds a row and returns its id, a random UUID; `undefined` when the user is gone. */
    async create (token: NewToken): Promise<string | undefined> {
      const id = randomUUID()
      try {
        // A login is repeated after a power cut; what was shown once cannot be.
        if (token.kind === 'personal') await batch([db.insert(tokens).values({ ...token, id })])
        else await login.execute({ ...token, id })
        return id
      } catch (error) {
        if (isForeignKeyViolation(error)) return undefined
        throw error
      }
    },

    /** Takes a user's oldest logins back until there are no more than `tokensPerUser` tokens; those in `spared` stay. */
    async makeRoom (userId: number, spared: [string, string?]): Promise<void> {
      await making.execute({ userId, now: new Date(now()), spared: spared[0], sparedToo: spared[1] ?? spared[0] })
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
      const rows = await db
        .select({ id: tokens.id, description: tokens.description, createdAt: tokens.createdAt, expiresAt: tokens.expiresAt, lastUsedAt: tokens.lastUsedAt })
        .from(tokens)
        .where(and(eq(tokens.userId, userId), isLiving()))
        .orderBy(desc(tokens.createdAt), desc(tokens.id))
      return rows.map((row) => ({ ...row, lastUsedAt: uses.get(row.id) ?? row.lastUsedAt }))
    },

    /** How many living personal tokens a user has. */
    async countPersonal (userId: number): Promise<number> {
      return await db.$count(tokens, and(eq(tokens.userId, userId), eq(tokens.kind, 'personal'), isLiving()))
    },

    /** Takes one token of a user back; false when the user has no such token. */
    async revoke (userId: number, id: string): Promise<boolean> {
      const rows = await db.delete(tokens).where(and(eq(tokens.userId, userId), eq(tokens.id, id))).returning({ id: tokens.id })
      return rows.length > 0
    },

    /** Takes all tokens of a user back, or all but one; false when there were none. */
    async revokeAll (userId: number, exceptId?: string): Promise<boolean> {
      const rows = await db.delete(tokens).where(and(eq(tokens.userId, userId), exceptId === undefined ? undefined : ne(tokens.id, exceptId))).returning({ id: tokens.id })
      return rows.length > 0
    },

    /** Removes rows whose time has passed, some at a time; answers how many. They are refused by their `exp` anyway: this only bounds the table. */
    async deleteExpired (): Promise<number> {
      const expired = db.select({ id: tokens.id }).from(tokens).where(lte(tokens.expiresAt, new Date(now()))).limit(rowsPerSweep)
      const rows = await db.delete(tokens).where(inArray(tokens.id, expired)).returning({ id: tokens.id })
      return rows.length
    },

    /** Notes that a token was used, unless that was noted not long ago. Nothing is written yet. */
    markUsed (id: string, lastUsedAt: Date | null): void {
      const time = now()
      if ((lastUsedAt === null || time - lastUsedAt.getTime() >= lastUsedGrainMs) && !uses.has(id)) uses.set(id, new Date(time))
    },

    /** Writes the noted uses down. */
    async writeUses (): Promise<void> {
      // In one order on every server, so that two of them cannot wait for each other's rows.
      const ids = [...uses.keys()].sort()
      uses.clear()
      for (let i = 0; i < ids.length; i += usesPerStatement) {
        await db.update(tokens).set({ lastUsedAt: new Date(now()) }).where(inArray(tokens.id, ids.slice(i, i + usesPerStatement)))
      }
    }
  }
}

const plugin: FastifyPluginAsync<{ now: () => number }> = async (app, { now }) => {
  const tokens = tokensRepository(app.store, now)
  app.decorate('tokens', tokens)

  sweep(app, { deleteSome: tokens.deleteExpired, failure: 'expired tokens could not be removed' })
  const writeUses = beside(app, { work: tokens.writeUses, failure: 'the last uses of tokens could not be written' })
  const timer = setInterval(writeUses, lastUsedDelayMs).unref()
  app.addHook('onClose', async () => {
    clearInterval(timer)
    await writeUses()
  })
}

export default fp(plugin, { name: 'latchkey-tokens', dependencies: ['latchkey-database'] })
