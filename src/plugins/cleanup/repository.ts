import { max } from 'drizzle-orm'
import type { Store } from '../../database/store.js'
import type { ClockState } from './clock.js'

/** The id of the only row. */
const onlyId = 1

/** Every query on what is known about the clock. */
export function clockRepository ({ db, tables: { cleanupClock, events, knownNetworks, tokens, users } }: Pick<Store, 'db' | 'tables'>) {
  return {
    /** What is known; undefined for a database that was never cleaned up. */
    async find (): Promise<ClockState | undefined> {
      const [state] = await db.select({ trustedAt: cleanupClock.trustedAt, doubtedSince: cleanupClock.doubtedSince }).from(cleanupClock)
      return state
    },

    async save (state: ClockState): Promise<void> {
      await db.insert(cleanupClock).values({ id: onlyId, ...state }).onConflictDoUpdate({ target: cleanupClock.id, set: state })
    },

    /** The time of the newest row, in milliseconds since 1970; undefined where there is none. Reads whole tables: once in the life of a database. */
    async newestMs (): Promise<number | undefined> {
      const found = [
        await db.select({ time: max(events.time) }).from(events),
        await db.select({ time: max(tokens.createdAt) }).from(tokens),
        await db.select({ time: max(users.createdAt) }).from(users),
        await db.select({ time: max(knownNetworks.lastLoginAt) }).from(knownNetworks)
      ]
      const times = found.flat().flatMap(({ time }) => time === null ? [] : [time.getTime()])
      return times.length === 0 ? undefined : Math.max(...times)
    }
  }
}
