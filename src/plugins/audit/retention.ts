import { and, desc, eq, inArray, isNull, lte } from 'drizzle-orm'
import { LRUCache } from 'lru-cache'
import { lazy } from '../../lib/lazy.js'
import type { Store } from '../../database/store.js'
import { rowsPerCleanup } from '../../lib/background.js'

const dayMs = 86_400_000
/** How many events of one kind are kept for one user, the newest: a user who causes many evicts only their own. */
const eventsPerUserAndKind = 1_000
/** The same for events without a user, such as failed logins with unknown usernames: all anonymous clients share it. */
const eventsPerKindWithoutUser = 100_000
/** After how many written events of a user and kind, or of a kind without a user, the surplus is removed. */
const trimAfterWrites = 100
const trimAfterWritesWithoutUser = 10_000
/** For how many pairs of user and kind written events are counted. */
const countedPairsMax = 10_000

/** The user and the kind of an event. */
type Pair = Pick<Store['tables']['events']['$inferSelect'], 'userId' | 'kind'>

/**
 * Bounds the audit log, by age and by number for each user and kind.
 *
 * @param options.retentionDays for how many days events are kept
 * @param options.now the clock, in milliseconds since 1970
 */
export function auditRetention ({ db, relaxed, tables: { events } }: Store, { retentionDays, now }: { retentionDays: number, now: () => number }) {
  const writes = lazy(() => new LRUCache<string, number>({ max: countedPairsMax }))

  /** Removes all but the newest events of a user and kind, in batches. */
  async function trim ({ userId, kind }: Pair): Promise<void> {
    const kept = userId === null ? eventsPerKindWithoutUser : eventsPerUserAndKind
    const pairMatches = and(userId === null ? isNull(events.userId) : eq(events.userId, userId), eq(events.kind, kind))
    const surplus = db.select({ id: events.id }).from(events).where(pairMatches).orderBy(desc(events.id)).limit(rowsPerCleanup).offset(kept)
    let rows: object[]
    do {
      rows = await relaxed.delete(events).where(inArray(events.id, surplus)).returning({ id: events.id })
    } while (rows.length >= rowsPerCleanup)
  }

  return {
    /** Counts written events, and removes the surplus of users and kinds of which there are many. */
    async trimAfter (rows: Pair[]): Promise<void> {
      const due = new Map<string, Pair>()
      for (const row of rows) {
        const pair = `${row.userId} ${row.kind}`
        const interval = row.userId === null ? trimAfterWritesWithoutUser : trimAfterWrites
        const count = (writes().get(pair) ?? 0) + 1
        writes().set(pair, count % interval)
        if (count === interval) due.set(pair, row)
      }
      for (const row of due.values()) await trim(row)
    },

    /** Deletes expired events, at most `rowsPerCleanup` of them, and returns how many. */
    async deleteOld (): Promise<number> {
      const old = db.select({ id: events.id }).from(events).where(lte(events.time, new Date(now() - retentionDays * dayMs))).limit(rowsPerCleanup)
      const rows = await relaxed.delete(events).where(inArray(events.id, old)).returning({ id: events.id })
      return rows.length
    }
  }
}
