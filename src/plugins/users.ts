import { and, eq, sql } from 'drizzle-orm'
import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import type { Store } from '../database/store.js'
import { canonicalEmail } from '../lib/emails.js'
import { canonicalUsername } from '../lib/usernames.js'

type UserRow = Store['tables']['users']['$inferSelect']

/** An account, without its secrets. */
export type User = Pick<UserRow, 'id' | 'username' | 'email' | 'createdAt'>

/** An account as the login sees it. */
export type Credentials = Pick<UserRow, 'id' | 'passwordHash'>

/** What a new account is made of; `username` and `email` have been validated, the password hashed. */
export type NewUser = Pick<UserRow, 'username' | 'email' | 'passwordHash'>

declare module 'fastify' {
  interface FastifyInstance {
    /** Every query on users. */
    users: ReturnType<typeof usersRepository>
  }
}

function usersRepository ({ db, tables: { users } }: Store, now: () => number) {
  const account = { id: users.id, username: users.username, email: users.email, createdAt: users.createdAt }
  const byUsername = db
    .select({ id: users.id, passwordHash: users.passwordHash })
    .from(users)
    .where(eq(users.usernameKey, sql.placeholder('usernameKey')))
    .prepare()

  return {
    /** Makes an account; `undefined` when the username or the email is taken. */
    async create ({ username, email, passwordHash }: NewUser): Promise<User | undefined> {
      const usernameKey = canonicalUsername(username)
      if (usernameKey === undefined) throw new TypeError('not a username')
      const time = new Date(now())
      const [user] = await db
        .insert(users)
        .values({
          username,
          usernameKey,
          email,
          emailKey: email === null ? null : canonicalEmail(email),
          passwordHash,
          createdAt: time,
          updatedAt: time
        })
        .onConflictDoNothing()
        .returning(account)
      return user
    },

    /** What a login is checked against; `undefined` when nobody has that username. */
    async findCredentials (username: string): Promise<Credentials | undefined> {
      const usernameKey = canonicalUsername(username)
      if (usernameKey === undefined) return undefined
      const [credentials] = await byUsername.all({ usernameKey })
      return credentials
    },

    /** Replaces a hash by one of the same password, unless the password was changed meanwhile. */
    async upgradeHash (id: number, oldHash: string, newHash: string): Promise<void> {
      await db
        .update(users)
        .set({ passwordHash: newHash, updatedAt: new Date(now()) })
        .where(and(eq(users.id, id), eq(users.passwordHash, oldHash)))
    }
  }
}

const plugin: FastifyPluginAsync<{ now: () => number }> = async (app, { now }) => {
  app.decorate('users', usersRepository(app.store, now))
}

export default fp(plugin, { name: 'latchkey-users', dependencies: ['latchkey-database'] })
