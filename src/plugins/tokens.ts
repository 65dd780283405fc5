import { randomUUID } from 'node:crypto'
import { and, eq, lt, sql } from 'drizzle-orm'
import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { causeOf, isForeignKeyViolation } from '../database/faults.js'
import type { Store } from '../database/store.js'
import type { User } from './users.js'

/** How often expired rows are removed. They are refused by their `exp` anyway: this only bounds the table. */
const sweepIntervalMs = 3_600_000

type TokenRow = Store['tables']['tokens']['$inferSelect']

/** What a new row is made of. */
export type NewToken = Pick<TokenRow, 'userId' | 'description' | 'createdAt' | 'expiresAt'>

/** The user that a token names, and whether the token's row lives. */
export interface TokenOwner {
  user: User
  isLiving: boolean
}

declare module 'fastify' {
  interface FastifyInstance {
    /** Every query on token rows. */
    tokens: ReturnType<typeof tokensRepository>
  }
}

function tokensRepository ({ db, tables: { tokens, users } }: Store, now: () => number) {
  // The query of every guarded request: one statement, two look-ups by primary key.
  const owner = db
    .select({
      user: { id: users.id, username: users.username, email: users.email, createdAt: users.createdAt },
      tokenId: tokens.id
    })
    .from(users)
    .leftJoin(tokens, and(eq(tokens.id, sql.placeholder('id')), eq(tokens.userId, users.id)))
    .where(eq(users.id, sql.placeholder('userId')))
    .prepare()

  return {
    /** Adds a row and returns its id, a random UUID; `undefined` when the user is gone. */
    async create (token: NewToken): Promise<string | undefined> {
      const id = randomUUID()
      try {
        await db.insert(tokens).values({ ...token, id })
        return id
      } catch (error) {
        if (isForeignKeyViolation(error)) return undefined
        throw error
      }
    },

    /** Looks a token's user and row up; `undefined` when the user is gone. */
    async findOwner (userId: number, id: string): Promise<TokenOwner | undefined> {
      const [row] = await owner.all({ userId, id })
      return row && { user: row.user, isLiving: row.tokenId !== null }
    },

    /** Removes the rows whose time has passed. */
    async deleteExpired (): Promise<void> {
      await db.delete(tokens).where(lt(tokens.expiresAt, new Date(now())))
    }
  }
}

const plugin: FastifyPluginAsync<{ now: () => number }> = async (app, { now }) => {
  const tokens = tokensRepository(app.store, now)
  app.decorate('tokens', tokens)

  const sweep = async () => {
    try {
      await tokens.deleteExpired()
    } catch (error) {
      app.log.error({ err: causeOf(error) }, 'expired tokens could not be removed')
    }
  }
  app.addHook('onReady', sweep)
  const timer = setInterval(sweep, sweepIntervalMs).unref()
  app.addHook('onClose', async () => { clearInterval(timer) })
}

export default fp(plugin, { name: 'latchkey-tokens', dependencies: ['latchkey-database'] })
