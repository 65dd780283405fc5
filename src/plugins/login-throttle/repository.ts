import { and, desc, eq, gt, inArray, lte, ne, notInArray, type SQL, sql } from 'drizzle-orm'
import { isForeignKeyViolation } from '../../database/errors.js'
import type { Store } from '../../database/store.js'
import { longestWaitSeconds } from './limits.js'
import { rowsPerCleanup } from '../../lib/background.js'
import { canonicalUsername } from '../users/username.js'
import type { User } from '../users/user.js'

/** Failures are forgotten when there was none for a day: less than a guesser gets by waiting. */
const failuresLifetimeMs = 86_400_000
/** Networks are forgotten when a user did not log in from there for so long: 90 days. */
const knownLifetimeMs = 90 * 86_400_000
/** The most networks that are known of a user; the newest stay. */
const knownPerUser = 20
/** How coarse the time of the last login from a network is: at most one write in this time. */
const knownGrainMs = 86_400_000
/** Where those are who have not logged in from their network before: their failures are counted together. */
const ANY_NETWORK = ''

/** Who is said to be trying, and from where. */
export interface Attempt {
  usernameKey: string
  network: string
  /** When the user last logged in from that network; null where they never did, or there is no such user. */
  lastLoginAt: Date | null
}

/** An attempt that was counted as a failure before it is known to be one, or refused. */
export type CountedAttempt =
  | { isRefused: false, failures: number }
  | { isRefused: true, waitMs: number }

/** Every query on failed logins, and on where users have logged in from. */
export type LoginFailures = ReturnType<typeof loginFailuresRepository>

/** A number that is given later. What it is for must be said: of a sum of parameters PostgreSQL does not know the type. */
const bigintParam = (name: string) => sql`cast(${sql.placeholder(name)} as bigint)`

const longestDoublings = Math.ceil(Math.log2(longestWaitSeconds))

/** Until when attempts wait after so many failures: 0, or in 1, 2, 4 … seconds, as the database works it out. */
function blockedUntil (failures: SQL): SQL {
  const doublings = sql`cast(${failures} - ${bigintParam('free')} as integer)`
  return sql`case when ${doublings} < 0 then 0 when ${doublings} >= ${sql.raw(String(longestDoublings))} then ${bigintParam('now')} + ${sql.raw(String(1_000 * longestWaitSeconds))} else ${bigintParam('now')} + 1000 * (1 << ${doublings}) end`
}

export function loginFailuresRepository (store: Store, now: () => number) {
  const { db, relaxed, tables: { loginFailures, knownNetworks } } = store
  const scopeOf = ({ usernameKey, network, lastLoginAt }: Attempt) => ({ usernameKey, network: lastLoginAt === null ? ANY_NETWORK : network })
  const matchesAttempt = (attempt: Attempt) => {
    const { usernameKey, network } = scopeOf(attempt)
    return and(eq(loginFailures.usernameKey, usernameKey), eq(loginFailures.network, network))
  }
  const matchesUsername = (username: string) => eq(loginFailures.usernameKey, String(canonicalUsername(username)))
  const matchesNetwork = (userId: number, network: string) => and(eq(knownNetworks.userId, userId), eq(knownNetworks.network, network))

  // One statement, so that of many attempts at once each counts, and none is made while attempts have to wait.
  const failures = sql`${loginFailures.failures} + 1`
  const countStatement = store.prepare('count_failure', relaxed
    .insert(loginFailures)
    .values({
      usernameKey: sql.placeholder('usernameKey'),
      network: sql.placeholder('network'),
      failures: 1,
      blockedUntilMs: blockedUntil(sql`1`),
      lastFailureMs: sql.placeholder('now')
    })
    .onConflictDoUpdate({
      target: [loginFailures.usernameKey, loginFailures.network],
      set: { failures, blockedUntilMs: blockedUntil(failures), lastFailureMs: bigintParam('now') },
      setWhere: lte(loginFailures.blockedUntilMs, bigintParam('now'))
    })
    .returning({ failures: loginFailures.failures }))
  const clearStatement = store.prepare('clear_failures', relaxed.delete(loginFailures)
    .where(and(eq(loginFailures.usernameKey, sql.placeholder('usernameKey')), eq(loginFailures.network, sql.placeholder('network')))))

  return {
    /** Whose failures an attempt is counted with. */
    scopeOf,

    /**
     * Counts an attempt as a failure, unless it comes while attempts have to wait.
     *
     * @param free how many failures there can be before attempts have to wait
     */
    async count (attempt: Attempt, free: number): Promise<CountedAttempt> {
      const time = now()
      const [counted] = await countStatement.execute({ ...scopeOf(attempt), free, now: time })
      if (counted !== undefined) return { isRefused: false, failures: counted.failures }
      const [row] = await db.select({ blockedUntilMs: loginFailures.blockedUntilMs }).from(loginFailures).where(matchesAttempt(attempt))
      // Where the row has gone meanwhile, nothing holds the next attempt up.
      return { isRefused: true, waitMs: Math.max(1, (row?.blockedUntilMs ?? 0) - time) }
    },

    /** Takes an attempt back that was counted but not made: its failure, and the wait that it began. */
    async takeBack (attempt: Attempt, counted: number): Promise<void> {
      await relaxed
        .update(loginFailures)
        .set({
          failures: sql`${loginFailures.failures} - 1`,
          blockedUntilMs: sql`case when ${loginFailures.failures} = ${sql.raw(String(counted))} then 0 else ${loginFailures.blockedUntilMs} end`
        })
        .where(and(matchesAttempt(attempt), gt(loginFailures.failures, 0)))
    },

    /** Forgets the failures, after a success, and remembers where the user was. */
    async clear (attempt: Attempt, userId: number): Promise<void> {
      const { network, lastLoginAt } = attempt
      if (lastLoginAt !== null && now() - lastLoginAt.getTime() < knownGrainMs) {
        await clearStatement.execute(scopeOf(attempt))
        return
      }
      const newest = db.select({ network: knownNetworks.network }).from(knownNetworks).where(eq(knownNetworks.userId, userId)).orderBy(desc(knownNetworks.lastLoginAt)).limit(knownPerUser)
      const present = { lastLoginAt: new Date(now()) }
      try {
        await store.batch([
          db.delete(loginFailures).where(matchesAttempt(attempt)),
          db.insert(knownNetworks).values({ userId, network, ...present }).onConflictDoUpdate({ target: [knownNetworks.userId, knownNetworks.network], set: present }),
          db.delete(knownNetworks).where(and(eq(knownNetworks.userId, userId), notInArray(knownNetworks.network, newest)))
        ])
      } catch (error) {
        // The user was deleted in the meantime: there is nobody to remember.
        if (!isForeignKeyViolation(error)) throw error
      }
    },

    /** Forgets what was tried with a name before it had an owner, and remembers where the owner is. */
    async registerNewUser ({ id: userId, username }: Pick<User, 'id' | 'username'>, network: string): Promise<void> {
      await store.batch([
        db.delete(loginFailures).where(matchesUsername(username)),
        db.insert(knownNetworks).values({ userId, network, lastLoginAt: new Date(now()) }).onConflictDoNothing()
      ])
    },

    /** When a user last logged in from a network, to about a day; null when they never did. */
    async lastLoginAt (userId: number, network: string): Promise<Date | null> {
      const [known] = await db.select({ lastLoginAt: knownNetworks.lastLoginAt }).from(knownNetworks).where(matchesNetwork(userId, network))
      return known?.lastLoginAt ?? null
    },

    /** Forgets all failures for a username; false when there were none. */
    async reset (username: string): Promise<boolean> {
      const rows = await relaxed.delete(loginFailures).where(matchesUsername(username)).returning({ network: loginFailures.network })
      return rows.length > 0
    },

    /** Forgets where a user has logged in from, or all but one: whoever knew the old password may have been there. */
    async deleteNetworks (userId: number, exceptNetwork = ANY_NETWORK): Promise<void> {
      await db.delete(knownNetworks).where(and(eq(knownNetworks.userId, userId), ne(knownNetworks.network, exceptNetwork)))
    },

    /** Forgets all failures for all usernames. */
    async resetAll (): Promise<void> {
      await relaxed.delete(loginFailures)
    },

    /** Removes failures since which a day has passed, some at a time; answers how many. */
    async deleteOldFailures (): Promise<number> {
      const isOld = lte(loginFailures.lastFailureMs, now() - failuresLifetimeMs)
      const some = db.select({ usernameKey: loginFailures.usernameKey }).from(loginFailures).where(isOld).limit(rowsPerCleanup)
      const rows = await relaxed.delete(loginFailures).where(and(inArray(loginFailures.usernameKey, some), isOld)).returning({ network: loginFailures.network })
      return rows.length
    },

    /** Removes networks from which nobody has logged in for long, some at a time; answers how many. */
    async deleteOldNetworks (): Promise<number> {
      const isOld = lte(knownNetworks.lastLoginAt, new Date(now() - knownLifetimeMs))
      const some = db.select({ userId: knownNetworks.userId }).from(knownNetworks).where(isOld).limit(rowsPerCleanup)
      const rows = await db.delete(knownNetworks).where(and(inArray(knownNetworks.userId, some), isOld)).returning({ network: knownNetworks.network })
      return rows.length
    }
  }
}
