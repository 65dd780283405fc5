import { and, desc, eq, inArray, isNull, lte } from 'drizzle-orm'
import { LRUCache } from 'lru-cache'
import type { Store } from '../../database/store.js'
import { rowsPerCleanup } from '../../lib/background.js'

const dayMs = 86_400_000
/** How many events of one kind are kept for one user, the newest: whoever makes many evicts only their own. */
const eventsPerUserAndKind = 1_000
/** The same for what concerns no user, such as failed logins with unknown usernames: strangers share it. */
const eventsPerKindWithoutUser = 100_000
/** After how many written events of a user and kind, or of no user, the oldest beyond that are removed. */
const trimAfterWrites = 100
const trimAfterWritesWithoutUser = 10_000
/** For how many users and kinds written events are counted. */
const countedPairsMax = 10_000

/** Whom an event is about, and what it is. */
type Pair = Pick<Store['tables']['events']['$inferSelect'], 'userId' | 'kind'>

/** Bounds the audit log: by age, and by number for each user and kind. */
export function auditRetention ({ db, relaxed, tables: { events } }: Store, { retentionDays, now }: { retentionDays: number, now: () => number }) {
  const writes = new LRUCache<string, number>({ max: countedPairsMax })

  /** Removes all but the newest events of a user and kind, some at a time. */
  async function trim ({ userId, kind }: Pair): Promise<void> {
    const kept = userId === null ? eventsPerKindWithoutUser : eventsPerUserAndKind
    const ofPair = and(userId === null ? isNull(events.userId) : eq(events.userId, userId), eq(events.kind, kind))
    const beyond = db.select({ id: events.id }).from(events).where(ofPair).orderBy(desc(events.id)).limit(rowsPerCleanup).offset(kept)
    let rows: object[]
    do {
      rows = await relaxed.delete(events).where(inArray(events.id, beyond)).returning({ id: events.id })
    } while (rows.length >= rowsPerCleanup)
  }

  return {
    /** Counts what was written, and trims the users and kinds of which there is much. */
    async trimAfter (rows: Pair[]): Promise<void> {
      const due = new Map<string, Pair>()
      for (const row of rows) {
        const pair = `${row.userId} ${row.kind}`
        const most = row.userId === null ? trimAfterWritesWithoutUser : trimAfterWrites
        const count = (writes.get(pair) ?? 0) + 1
        writes.set(pair, count % most)
        if (count === most) due.set(pair, row)
      }
      for (const row of due.values()) await trim(row)
    },

    /** Removes events that are older than they are kept, some at a time; answers how many. */
    async deleteOld (): Promise<number> {
      const old = db.select({ id: events.id }).from(events).where(lte(events.time, new Date(now() - retentionDays * dayMs))).limit(rowsPerCleanup)
      const rows = await relaxed.delete(events).where(inArray(events.id, old)).returning({ id: events.id })
      return rows.length
    }
  }
}
