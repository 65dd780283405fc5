import { inArray, sql } from 'drizzle-orm'
import type { Query, Store } from '../../database/store.js'

/** How coarse `last_used_at` is: at most one write a token in this time. */
const lastUsedGrainMs = 300_000
/** How many uses one statement writes: for each of its rows it looks through all of them. */
const tokensPerStatement = 250

/** When tokens were used last: noted by requests, and written some time later, so that no request waits for it. */
export function lastUsedTimes ({ batch, db, tables: { tokens } }: Store, now: () => number) {
  const pendingTimes = new Map<string, Date>()

  function writing (some: Array<[string, Date]>): Query {
    const times = sql.join(some.map(([id, time]) => sql` when ${id} then ${sql.param(time, tokens.lastUsedAt)}`))
    const lastUsedAt = sql`cast(case ${tokens.id}${times} end as ${sql.raw(tokens.lastUsedAt.getSQLType())})`
    return db.update(tokens).set({ lastUsedAt }).where(inArray(tokens.id, some.map(([id]) => id)))
  }

  return {
    /** The uses that are not written yet, by the ids of their tokens, as they are now. */
    pending: (): ReadonlyMap<string, Date> => new Map(pendingTimes),

    /** Notes that a token was used, unless that was noted not long ago. Nothing is written yet. */
    touch (id: string, lastUsedAt: Date | null): void {
      const time = now()
      if ((lastUsedAt === null || time - lastUsedAt.getTime() >= lastUsedGrainMs) && !pendingTimes.has(id)) pendingTimes.set(id, new Date(time))
    },

    /** Writes the noted uses down, each with its own time. Until they are there, they stay noted. */
    async flush (): Promise<void> {
      const all = [...pendingTimes]
      for (let i = 0; i < all.length; i += tokensPerStatement) {
        const some = all.slice(i, i + tokensPerStatement)
        // A transaction each: whoever revokes tokens then waits for one statement at the most.
        await batch([writing(some)])
        for (const [id] of some) pendingTimes.delete(id)
      }
    }
  }
}
