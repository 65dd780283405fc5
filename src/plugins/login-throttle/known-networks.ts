import { and, desc, eq, inArray, lte, ne, notInArray } from 'drizzle-orm'
import type { Query, Store } from '../../database/store.js'
import { valueOf } from '../../database/value-of.js'
import { rowsPerCleanup } from '../../lib/background.js'

/** A network is known for so long after the last login from it: 90 days. */
const knownLifetimeMs = 90 * 86_400_000
/** How many networks are known of a user; the most recent ones stay. */
const knownPerUser = 20
/** The resolution of the time of the last login from a network: there is at most one write in this time. */
const knownGrainMs = 86_400_000

/** Every query on the networks that users have logged in from. */
export function knownNetworksRepository (store: Store, now: () => number) {
  const { db, tables: { knownNetworks, users } } = store
  const matchesUser = (userId: number) => eq(knownNetworks.userId, userId)

  return {
    /** Whether the time of the last login is recent enough to stay as it is. */
    isRecent: (lastLoginAt: Date | null) => lastLoginAt !== null && now() - lastLoginAt.getTime() < knownGrainMs,

    /**
     * For a batch: records that a user logged in from a network, and keeps the most recent networks.
     *
     * @param verifiedHash the hash that the password was verified with: after it was replaced nothing is recorded
     */
    recordLogin (userId: number, network: string, verifiedHash?: string): Query[] {
      const current = { lastLoginAt: new Date(now()) }
      const mostRecent = db.select({ network: knownNetworks.network }).from(knownNetworks).where(matchesUser(userId)).orderBy(desc(knownNetworks.lastLoginAt)).limit(knownPerUser)
      return [
        db.insert(knownNetworks)
          .select(db.select({ userId: users.id, network: valueOf(network, knownNetworks.network), lastLoginAt: valueOf(current.lastLoginAt, knownNetworks.lastLoginAt) }).from(users)
            .where(and(eq(users.id, userId), verifiedHash === undefined ? undefined : eq(users.passwordHash, verifiedHash))))
          .onConflictDoUpdate({ target: [knownNetworks.userId, knownNetworks.network], set: current }),
        db.delete(knownNetworks).where(and(matchesUser(userId), notInArray(knownNetworks.network, mostRecent)))
      ]
    },

    /** When a user last logged in from a network, to about a day; null when they never did. */
    async lastLoginAt (userId: number, network: string): Promise<Date | null> {
      const [known] = await db.select({ lastLoginAt: knownNetworks.lastLoginAt }).from(knownNetworks).where(and(matchesUser(userId), eq(knownNetworks.network, network)))
      return known?.lastLoginAt ?? null
    },

    /** Deletes the known networks of a user, or all but one: others may have logged in there with the old password. */
    async deleteNetworks (userId: number, exceptNetwork = ''): Promise<void> {
      await db.delete(knownNetworks).where(and(matchesUser(userId), ne(knownNetworks.network, exceptNetwork)))
    },

    /** Deletes networks without a login for 90 days, some at a time; returns how many. */
    async deleteOldNetworks (): Promise<number> {
      const isOld = lte(knownNetworks.lastLoginAt, new Date(now() - knownLifetimeMs))
      const some = db.select({ userId: knownNetworks.userId }).from(knownNetworks).where(isOld).limit(rowsPerCleanup)
      const rows = await db.delete(knownNetworks).where(and(inArray(knownNetworks.userId, some), isOld)).returning({ network: knownNetworks.network })
      return rows.length
    }
  }
}
