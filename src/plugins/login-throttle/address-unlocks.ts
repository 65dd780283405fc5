import { gt, inArray, lte } from 'drizzle-orm'
import type { FastifyInstance } from 'fastify'
import { bestEffort, rowsPerCleanup } from '../../lib/background.js'

/** No limit of an address counts attempts for longer: one hour. */
const unlockLifetimeMs = 3_600_000
/** For how long what was read is used again, in milliseconds, however many requests are rejected. */
const rereadAfterMs = 1_000

/**
 * Creates the list of networks whose attempts were forgotten. It is in the database, because the
 * command line and other servers add to it; each server applies it to the attempts in its memory.
 *
 * @param now the clock, in milliseconds since 1970
 */
export function addressUnlocks (app: FastifyInstance, now: () => number) {
  const { db, relaxed, tables: { addressUnlocks } } = app.store
  /** By network: when it was unlocked, and up to when this forgets attempts here. The clock of another machine can be ahead. */
  let recent = new Map<string, { unlockedAtMs: number, untilMs: number }>()
  let reading: Promise<void> | undefined
  let readAtMs = -Infinity

  const read = bestEffort(app, {
    async work () {
      const rows = await db.select().from(addressUnlocks).where(gt(addressUnlocks.unlockedAt, new Date(now() - unlockLifetimeMs)))
      const before = recent
      recent = new Map(rows.map(({ network, unlockedAt }) => {
        const unlockedAtMs = unlockedAt.getTime()
        const known = before.get(network)
        return [network, known?.unlockedAtMs === unlockedAtMs ? known : { unlockedAtMs, untilMs: Math.min(unlockedAtMs, now()) }]
      }))
    },
    failure: 'the unlocked addresses could not be read'
  })

  return {
    /** Unlocks a network: attempts from before now count no longer, on any server. */
    async add (network: string): Promise<void> {
      const current = { unlockedAt: new Date(now()) }
      await relaxed.insert(addressUnlocks).values({ network, ...current }).onConflictDoUpdate({ target: addressUnlocks.network, set: current })
      readAtMs = -Infinity
    },

    /**
     * When a network was last unlocked, in milliseconds since 1970, as of a second ago; undefined
     * when it was not in the last hour. While the database does not answer, nothing changes.
     */
    async unlockedAtMs (network: string): Promise<number | undefined> {
      if (performance.now() - readAtMs >= rereadAfterMs) {
        readAtMs = performance.now()
        reading = read()
      }
      await reading
      return recent.get(network)?.untilMs
    },

    /** Deletes unlocks that are an hour old, some at a time; returns how many. */
    async deleteOld (): Promise<number> {
      const isOld = lte(addressUnlocks.unlockedAt, new Date(now() - unlockLifetimeMs))
      const some = db.select({ network: addressUnlocks.network }).from(addressUnlocks).where(isOld).limit(rowsPerCleanup)
      const rows = await relaxed.delete(addressUnlocks).where(inArray(addressUnlocks.network, some)).returning({ network: addressUnlocks.network })
      return rows.length
    }
  }
}
