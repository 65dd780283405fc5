import { and, eq, exists, ne, notExists } from 'drizzle-orm'
import { isConflict } from '../../database/errors.js'
import type { Store } from '../../database/store.js'
import { canonicalUsername, usernameProblem } from './username.js'

/** Every query that changes usernames. */
export type Renaming = ReturnType<typeof renamingRepository>

/**
 * Every query that changes usernames.
 *
 * @param now the clock, in milliseconds since 1970
 */
export function renamingRepository (store: Store, now: () => number) {
  const { db, tables: { loginFailures, users } } = store

  return {
    /**
     * Gives an account another username, and deletes the failed logins for that name from before
     * it had an owner.
     *
     * @returns undefined, and nothing changes, when the username is taken, or there is no such account
     * @throws {TypeError} the username is not permitted
     */
    async rename (id: number, username: string): Promise<'renamed' | undefined> {
      const usernameKey = canonicalUsername(username)
      if (usernameKey === undefined || usernameProblem(username) !== undefined) throw new TypeError('not a username')
      const ofOthers = db.select({ id: users.id }).from(users).where(and(eq(users.usernameKey, usernameKey), ne(users.id, id)))
      const isRenamed = exists(db.select({ id: users.id }).from(users).where(and(eq(users.id, id), eq(users.usernameKey, usernameKey))))
      try {
        const written = await store.batch([
          ...store.lockUser(id),
          db.update(users).set({ username, usernameKey, updatedAt: new Date(now()) }).where(and(eq(users.id, id), notExists(ofOthers))),
          db.delete(loginFailures).where(and(eq(loginFailures.usernameKey, usernameKey), isRenamed))
        ])
        return written.at(-2) === 0 ? undefined : 'renamed'
      } catch (error) {
        // A concurrent signup took it.
        if (isConflict(error)) return undefined
        throw error
      }
    }
  }
}
