import { and, eq, inArray, lte, type SQL, sql } from 'drizzle-orm'
import type { Store } from '../../database/store.js'
import { rowsPerCleanup } from '../../lib/background.js'
import { type Actor, isStillAdmin } from '../roles/admin-conditions.js'
import type { User } from '../users/user.js'
import { canonicalUsername } from '../users/username.js'
import { knownNetworksRepository } from './known-networks.js'
import { doublingsUntilLongestWait, firstWaitMs, longestWaitMs } from './limits.js'

/** Failures are deleted a day after the last one: a guesser gains less by waiting that long. */
const failuresLifetimeMs = 86_400_000
/** Stands for all networks that a user has not logged in from before: their failures are counted together. */
const ANY_NETWORK = ''

/** An attempt to log in to an account, or to an account that does not exist. */
export interface Attempt {
  usernameKey: string
  network: string
  /** When the user last logged in from that network; null when they never did, or there is no such user. */
  lastLoginAt: Date | null
}

/** The failures of an account. */
export interface Failures {
  /** Until when its attempts have to wait, in milliseconds since 1970; 0: they need not. */
  blockedUntilMs: number
}

/** Every query on failed logins, and on the networks that users have logged in from. */
export type LoginFailures = ReturnType<typeof loginFailuresRepository>

/** A placeholder for a number. PostgreSQL cannot infer the type of a sum of parameters. */
const bigintParam = (name: string) => sql`cast(${sql.placeholder(name)} as bigint)`

/** A constant as part of the statement's text: not a parameter, whose type PostgreSQL would have to infer. */
const literal = (value: number) => sql.raw(String(value))

/**
 * Until when attempts have to wait after so many failures, as an expression. 0 while
 * failures are free; then the first wait, doubled with each further failure.
 */
function blockedUntil (failures: SQL): SQL {
  const doublings = sql`cast(${failures} - ${bigintParam('free')} as integer)`
  return sql`case when ${doublings} < 0 then 0 when ${doublings} >= ${literal(doublingsUntilLongestWait)} then ${bigintParam('now')} + ${literal(longestWaitMs)} else ${bigintParam('now')} + ${literal(firstWaitMs)} * (1 << ${doublings}) end`
}

export function loginFailuresRepository (store: Store, now: () => number) {
  const { db, relaxed, tables: { loginFailures, knownNetworks } } = store
  const { isRecent, recordLogin, lastLoginAt, deleteNetworks, deleteOldNetworks } = knownNetworksRepository(store, now)
  const scopeOf = ({ usernameKey, network, lastLoginAt }: Attempt) => ({ usernameKey, network: lastLoginAt === null ? ANY_NETWORK : network })
  const matchesUsername = (username: string) => eq(loginFailures.usernameKey, String(canonicalUsername(username)))
  const matchesScope = and(eq(loginFailures.usernameKey, sql.placeholder('usernameKey')), eq(loginFailures.network, sql.placeholder('network')))

  const columns = { blockedUntilMs: loginFailures.blockedUntilMs }
  const findStatement = store.prepareGet<Failures>('login_failures', columns, db.select(columns).from(loginFailures).where(matchesScope))
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
      set: { failures, blockedUntilMs: blockedUntil(failures), lastFailureMs: bigintParam('now') }
    })
    .returning({ blockedUntilMs: loginFailures.blockedUntilMs }))
  const clearStatement = store.prepare('clear_failures', relaxed.delete(loginFailures).where(matchesScope))

  return {
    /** The scope whose failures an attempt is counted with: a network that its user is known on, or any network. */
    scopeOf,

    /** The failures in the scope of an attempt; undefined when there are none. */
    find: (attempt: Attempt): Promise<Failures | undefined> => findStatement(scopeOf(attempt)),

    /**
     * Counts a failure.
     *
     * @param free how many failures there can be before attempts have to wait
     * @returns whether attempts have to wait now
     */
    async count (attempt: Attempt, free: number): Promise<boolean> {
      const [row] = await countStatement.execute({ ...scopeOf(attempt), free, now: now() })
      return Number(row?.blockedUntilMs) > 0
    },

    /**
     * Records the network of the user, at most once a day, and deletes the failures.
     *
     * @param options.verifiedHash the hash that the password was verified with: after it was replaced no network is recorded
     * @param options.mustDelete whether to run the delete: there are failures, or the caller needs proof that the database can write
     */
    async recordSuccess (attempt: Attempt, { userId, verifiedHash, mustDelete }: { userId: number, verifiedHash?: string, mustDelete: boolean }): Promise<void> {
      const scope = scopeOf(attempt)
      if (isRecent(attempt.lastLoginAt)) {
        if (mustDelete) await clearStatement.execute(scope)
        return
      }
      await store.batch([
        // The user first, as where a new password deletes these rows: the two batches never wait for each other.
        ...store.lockUser(userId),
        ...mustDelete ? [db.delete(loginFailures).where(and(eq(loginFailures.usernameKey, scope.usernameKey), eq(loginFailures.network, scope.network)))] : [],
        ...recordLogin(userId, attempt.network, verifiedHash)
      ])
    },

    /** Deletes the failures for a name from before it had an owner, and records the owner's network. */
    async registerNewUser ({ id: userId, username }: Pick<User, 'id' | 'username'>, network: string): Promise<void> {
      await store.batch([
        db.delete(loginFailures).where(matchesUsername(username)),
        db.insert(knownNetworks).values({ userId, network, lastLoginAt: new Date(now()) }).onConflictDoNothing()
      ])
    },

    /**
     * Deletes all failures for a username.
     *
     * @param actor the admin who acts; undefined where the user or the operator does
     * @returns false when there were none, or the actor is not an admin any longer
     */
    async reset (username: string, actor?: Actor): Promise<boolean> {
      const rows = await relaxed.delete(loginFailures).where(and(matchesUsername(username), isStillAdmin(store, actor))).returning({ network: loginFailures.network })
      return rows.length > 0
    },

    /** Deletes all failures for all usernames. */
    async resetAll (): Promise<void> {
      await relaxed.delete(loginFailures)
    },

    /** Deletes failures a day after the last one, some at a time; returns how many. */
    async deleteOldFailures (): Promise<number> {
      const isOld = lte(loginFailures.lastFailureMs, now() - failuresLifetimeMs)
      const some = db.select({ usernameKey: loginFailures.usernameKey }).from(loginFailures).where(isOld).limit(rowsPerCleanup)
      const rows = await relaxed.delete(loginFailures).where(and(inArray(loginFailures.usernameKey, some), isOld)).returning({ network: loginFailures.network })
      return rows.length
    },

    lastLoginAt,
    deleteNetworks,
    deleteOldNetworks
  }
}
