import { and, desc, eq, gt, inArray, isNull, notInArray, sql } from 'drizzle-orm'
import type { FastifyInstance } from 'fastify'
import { bestEffort } from '../../lib/background.js'
import { tokensPerUser } from './limits.js'

/** Whose tokens are evicted, and which of them stay. */
export interface Eviction {
  userId: number
  /** The token that was inserted, and that of the request. */
  keepIds: [string, string]
}

/**
 * Creates the function that deletes a user's least recently used login tokens until no more than
 * `tokensPerUser` tokens are left. It never rejects: the next eviction deletes what is left over.
 *
 * @param now the clock, in milliseconds since 1970
 */
export function tokenEviction (app: FastifyInstance, now: () => number): (eviction: Eviction) => Promise<void> {
  const { db, prepare, tables: { tokens } } = app.store
  const isActive = gt(tokens.expiresAt, sql.param(sql.placeholder('now'), tokens.expiresAt))
  const kept = db
    .select({ id: tokens.id })
    .from(tokens)
    .where(eq(tokens.userId, sql.placeholder('userId')))
    // What must stay comes first: `keepIds`, then active personal access tokens, then the active
    // logins, those that were renewed last. Expired tokens are only the last: it is for the
    // cleanup to judge the clock.
    .orderBy(desc(inArray(tokens.id, [sql.placeholder('keepId'), sql.placeholder('otherKeepId')])), desc(isActive), desc(tokens.kind), desc(isNull(tokens.renewedAt)), desc(sql`coalesce(${tokens.lastUsedAt}, ${tokens.createdAt})`), desc(tokens.createdAt), desc(tokens.id))
    .limit(tokensPerUser)
  const evict = prepare('evict_tokens', db
    .delete(tokens)
    .where(and(eq(tokens.userId, sql.placeholder('userId')), eq(tokens.kind, 'login'), notInArray(tokens.id, kept)))
    .returning({ id: tokens.id, expiresAt: tokens.expiresAt }))

  return async ({ userId, keepIds: [keepId, otherKeepId] }) => await bestEffort(app, {
    async work () {
      // A token that was just used must not look unused. Where its time cannot be written now, an older one decides.
      await app.tokens.flushLastUsed().catch(() => {})
      const time = new Date(now())
      const evicted = await evict.execute({ userId, keepId, otherKeepId, now: time })
      // An expired token was worth nothing to its owner.
      for (const { id, expiresAt } of evicted) if (expiresAt > time) app.audit.record({ kind: 'eviction', userId, detail: id })
    },
    failure: 'surplus tokens could not be evicted'
  })()
}
