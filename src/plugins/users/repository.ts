import { and, asc, eq, exists, ne, not, or, sql, type SQL } from 'drizzle-orm'
import type { Store } from '../../database/store.js'
import { lockAdmins, revocationRetryMs } from '../roles/lock-admins.js'
import { adminRole } from '../roles/role-name.js'
import { isUserId } from '../tokens/claims.js'
import { canonicalEmail } from './email.js'
import type { User } from './user.js'
import { canonicalUsername, usernameProblem } from './username.js'

type UserRow = Store['tables']['users']['$inferSelect']

/** An account as the login sees it; `lastLoginAt` is null where its user has not logged in from the same network before. */
export type Credentials = Pick<UserRow, 'id' | 'passwordHash'> & { lastLoginAt: Date | null }

/** What a new account is made of; `username` and `email` have been validated, the password hashed. */
export type NewUser = Pick<UserRow, 'username' | 'email' | 'passwordHash'>

/** Every query on users. */
export type Users = ReturnType<typeof usersRepository>

export function usersRepository (store: Store, now: () => number) {
  const { db, tables: { knownNetworks, tokens, users, userRoles } } = store
  const account = { id: users.id, username: users.username, email: users.email, createdAt: users.createdAt }
  const credentials = { id: users.id, passwordHash: users.passwordHash, lastLoginAt: knownNetworks.lastLoginAt }
  const byUsername = store.prepareGet('credentials', credentials, db
    .select(credentials)
    .from(users)
    .leftJoin(knownNetworks, and(eq(knownNetworks.userId, users.id), eq(knownNetworks.network, sql.placeholder('network'))))
    .where(eq(users.usernameKey, sql.placeholder('usernameKey'))))
  const hash = { passwordHash: users.passwordHash }
  const hashOf = store.prepareGet('password_hash', hash, db.select(hash).from(users).where(eq(users.id, sql.placeholder('id'))))

  /** Whether the token that asks is active still. Where the operator asks there is none. */
  const isActive = (userId: number, tokenId: string | undefined) => tokenId === undefined
    ? undefined
    : exists(db.select({ id: tokens.id }).from(tokens).where(and(eq(tokens.id, tokenId), eq(tokens.userId, userId))))

  return {
    /** Makes an account; `undefined` when the username or the email is taken. */
    async create ({ username, email, passwordHash }: NewUser): Promise<User | undefined> {
      const usernameKey = canonicalUsername(username)
      if (usernameKey === undefined || usernameProblem(username) !== undefined) throw new TypeError('not a username')
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

    /** What a login from a network is checked against; `undefined` when nobody has that username. */
    async findCredentials (username: string, network = ''): Promise<Credentials | undefined> {
      const usernameKey = canonicalUsername(username)
      if (usernameKey === undefined) return undefined
      return await byUsername({ usernameKey, network })
    },

    /** The hash of a user's password; `undefined` when the user is gone. */
    async findHash (id: number): Promise<string | undefined> {
      return (await hashOf({ id }))?.passwordHash
    },

    /** Replaces a hash that was just verified; false when it is another by now. */
    async replaceHash (id: number, oldHash: string, newHash: string): Promise<boolean> {
      const rows = await db
        .update(users)
        .set({ passwordHash: newHash, updatedAt: new Date(now()) })
        .where(and(eq(users.id, id), eq(users.passwordHash, oldHash)))
        .returning({ id: users.id })
      return rows.length > 0
    },

    /**
     * Replaces the password and takes the user's tokens back, both or neither.
     *
     * @param options.oldHash what was verified; undefined: whatever it was
     * @param options.keptTokenId the token that asks, and stays; undefined where the operator does: none stays
     * @returns false, and nothing happens, when the hash is another than `oldHash`, or the token that asks is gone by now
     */
    async replacePassword (id: number, newHash: string, { oldHash, keptTokenId }: { oldHash?: string, keptTokenId?: string } = {}): Promise<boolean> {
      const isReplaced = exists(db.select({ id: users.id }).from(users).where(and(eq(users.id, id), eq(users.passwordHash, newHash))))
      const written = await store.batch([
        ...store.lockUser(id),
        db.update(users)
          .set({ passwordHash: newHash, updatedAt: new Date(now()) })
          .where(and(eq(users.id, id), oldHash === undefined ? undefined : eq(users.passwordHash, oldHash), isActive(id, keptTokenId))),
        db.delete(tokens).where(and(eq(tokens.userId, id), keptTokenId === undefined ? undefined : ne(tokens.id, keptTokenId), isReplaced))
      ], { retryBusyMs: revocationRetryMs })
      return written.at(-2) !== 0
    },

    /** How many accounts there are. */
    async count (): Promise<number> {
      return await db.$count(users)
    },

    /** An account by its username, in any case; `undefined` when nobody has it. */
    async find (username: string): Promise<User | undefined> {
      const usernameKey = canonicalUsername(username)
      if (usernameKey === undefined) return undefined
      const [user] = await db.select(account).from(users).where(eq(users.usernameKey, usernameKey))
      return user
    },

    /** An account by its id; `undefined` when it was deleted, or it is no id. */
    async findById (id: number): Promise<User | undefined> {
      if (!isUserId(id)) return undefined
      const [user] = await db.select(account).from(users).where(eq(users.id, id))
      return user
    },

    /** Whether somebody has an email, in any case. */
    async isEmailTaken (email: string): Promise<boolean> {
      const rows = await db.select({ id: users.id }).from(users).where(eq(users.emailKey, canonicalEmail(email)))
      return rows.length > 0
    },

    /** All accounts, oldest first. */
    async list (): Promise<User[]> {
      return await db.select(account).from(users).orderBy(asc(users.id))
    },

    /** Deletes every account, and all that hangs on them. Their ids never return. */
    async deleteAll (): Promise<void> {
      await db.delete(users)
    },

    /**
     * Deletes an account and all that hangs on it.
     *
     * @param asked.verifiedHash the hash that its password was verified with
     * @param asked.tokenId the token that asks; both are undefined where the operator deletes
     * @returns false, and nothing happens, when it is the last admin, or the hash is another or the token gone by now
     */
    async delete (id: number, { verifiedHash, tokenId }: { verifiedHash?: string, tokenId?: string } = {}): Promise<boolean> {
      const admin = (whose: SQL) => exists(db.select({ id: userRoles.userId }).from(userRoles).where(and(eq(userRoles.roleName, adminRole), whose)))
      const written = await store.batch([
        lockAdmins(store),
        ...store.lockUser(id),
        db.delete(users).where(and(
          eq(users.id, id),
          isActive(id, tokenId),
          verifiedHash === undefined ? undefined : eq(users.passwordHash, verifiedHash),
          or(not(admin(eq(userRoles.userId, id))), admin(ne(userRoles.userId, id)))
        ))
      ], { retryBusyMs: revocationRetryMs })
      return written.at(-1) !== 0 || (await db.select({ id: users.id }).from(users).where(eq(users.id, id))).length === 0
    }
  }
}
