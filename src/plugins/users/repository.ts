import { and, asc, eq, exists, gte, inArray, lt, ne, or, sql, type SQL } from 'drizzle-orm'
import type { Store } from '../../database/store.js'
import { type Actor, adminLocks, isStillAdmin, leavesAnAdmin } from '../roles/admin-conditions.js'
import { revocationRetryMs } from '../roles/lock-admins.js'
import { isUserId } from '../tokens/claims.js'
import { canonicalEmail, emailProblem } from './email.js'
import { userNames } from './names.js'
import { ownerConditions } from './owner.js'
import type { User } from './user.js'
import { accountColumns } from './user-columns.js'
import { canonicalUsername, usernameProblem } from './username.js'

type UserRow = Store['tables']['users']['$inferSelect']

/** What the owner of an account is checked against. `secondFactorAt` is when the second factor was switched on; null while it is off. */
export type StoredCredentials = Pick<UserRow, 'passwordHash' | 'disabledAt' | 'secondFactorAt'>

/** What a login is checked against; `lastLoginAt` is null when the user has not logged in from this network before. */
export type Credentials = Pick<UserRow, 'id' | 'username'> & StoredCredentials & { lastLoginAt: Date | null }

/** A new account; `email` has been validated, the password hashed. */
export type NewUser = Pick<UserRow, 'username' | 'email' | 'passwordHash'>

/** Every query on users. */
export type Users = ReturnType<typeof usersRepository>

/**
 * Every query on users.
 *
 * @param now the clock, in milliseconds since 1970
 */
export function usersRepository (store: Store, now: () => number) {
  const { db, tables: { codes, knownNetworks, tokens, users } } = store
  const account = accountColumns(users)
  const stored = { passwordHash: users.passwordHash, disabledAt: users.disabledAt, secondFactorAt: users.secondFactorAt }
  const credentials = { id: users.id, username: users.username, ...stored, lastLoginAt: knownNetworks.lastLoginAt }
  const selectCredentials = (condition: SQL) => db
    .select(credentials)
    .from(users)
    .leftJoin(knownNetworks, and(eq(knownNetworks.userId, users.id), eq(knownNetworks.network, sql.placeholder('network'))))
    .where(condition)
  const byUsername = store.prepareGet<Credentials>('credentials', credentials, selectCredentials(eq(users.usernameKey, sql.placeholder('usernameKey'))))
  const byEmail = store.prepareGet<Credentials>('credentials_by_email', credentials, selectCredentials(eq(users.emailKey, sql.placeholder('emailKey'))))
  const hashOf = store.prepareGet<StoredCredentials>('password_hash', stored, db.select(stored).from(users).where(eq(users.id, sql.placeholder('id'))))

  const { isActive } = ownerConditions(store)

  return {
    ...userNames(store, now),

    /**
     * Creates an account; `undefined` when the username or the email is taken.
     *
     * @throws {TypeError} the username is not permitted
     */
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

    /** What a login from a network is checked against; `undefined` when no account has the name as its username or, otherwise, as its email. */
    async findCredentials (name: string, network = ''): Promise<Credentials | undefined> {
      const usernameKey = canonicalUsername(name)
      const found = usernameKey === undefined ? undefined : await byUsername({ usernameKey, network })
      if (found !== undefined || emailProblem(name) !== undefined) return found
      return await byEmail({ emailKey: canonicalEmail(name), network })
    },

    /** The hash of a user's password; `undefined` when the user does not exist. */
    async findHash (id: number): Promise<string | undefined> {
      return (await hashOf({ id }))?.passwordHash
    },

    /** The same, with the state of the account; `undefined` when the user does not exist. */
    findCredentialsById: (id: number): Promise<StoredCredentials | undefined> => hashOf({ id }),

    /** Replaces a hash that was just verified; false when it was changed concurrently. */
    async replaceHash (id: number, oldHash: string, newHash: string): Promise<boolean> {
      const rows = await db
        .update(users)
        .set({ passwordHash: newHash, updatedAt: new Date(now()) })
        .where(and(eq(users.id, id), eq(users.passwordHash, oldHash)))
        .returning({ id: users.id })
      return rows.length > 0
    },

    /**
     * Replaces the password, revokes the user's tokens and deletes the codes for a new password and for an email, all or nothing.
     *
     * @param options.oldHash the hash that was verified; undefined where none was
     * @param options.keptTokenId the token of the request, which is kept; undefined where the operator acts: none is kept
     * @returns false, and nothing changes, when the hash is not `oldHash` any longer, or the token of the request was revoked
     */
    async replacePassword (id: number, newHash: string, { oldHash, keptTokenId }: { oldHash?: string, keptTokenId?: string } = {}): Promise<boolean> {
      const isReplaced = exists(db.select({ id: users.id }).from(users).where(and(eq(users.id, id), eq(users.passwordHash, newHash))))
      const written = await store.batch([
        ...store.lockUser(id),
        db.update(users)
          .set({ passwordHash: newHash, updatedAt: new Date(now()) })
          .where(and(eq(users.id, id), oldHash === undefined ? undefined : eq(users.passwordHash, oldHash), isActive(id, keptTokenId))),
        db.delete(tokens).where(and(eq(tokens.userId, id), keptTokenId === undefined ? undefined : ne(tokens.id, keptTokenId), isReplaced)),
        // A code of before must not undo it, nor one that gives the account an email to which a code can be mailed.
        db.delete(codes).where(and(eq(codes.userId, id), inArray(codes.kind, ['password_reset', 'email_verification']), isReplaced))
      ], { retryBusyMs: revocationRetryMs })
      return written.at(-3) !== 0
    },

    /** The number of accounts. */
    async count (): Promise<number> {
      return await db.$count(users)
    },

    /** The account with a username, in any case; `undefined` when there is none. */
    async find (username: string): Promise<User | undefined> {
      const usernameKey = canonicalUsername(username)
      if (usernameKey === undefined) return undefined
      const [user] = await db.select(account).from(users).where(eq(users.usernameKey, usernameKey))
      return user
    },

    /** The account with an id; `undefined` when there is none, or it is not an id. */
    async findById (id: number): Promise<User | undefined> {
      if (!isUserId(id)) return undefined
      const [user] = await db.select(account).from(users).where(eq(users.id, id))
      return user
    },

    /** Usernames that existed before `usernameProblem` rejected them: `.`, `..`, and those that begin with `-`. */
    async listUnaddressable (limit: number): Promise<string[]> {
      // An index serves both conditions. In ASCII the character after - is the dot.
      const rows = await db.select({ username: users.username }).from(users)
        .where(or(inArray(users.usernameKey, ['.', '..']), and(gte(users.usernameKey, '-'), lt(users.usernameKey, '.'))))
        .limit(limit)
      return rows.map(({ username }) => username)
    },

    /** Whether an account, other than that of an id, has an email, in any case. */
    async isEmailTaken (email: string, exceptId = 0): Promise<boolean> {
      const rows = await db.select({ id: users.id }).from(users).where(and(eq(users.emailKey, canonicalEmail(email)), ne(users.id, exceptId)))
      return rows.length > 0
    },

    /** All accounts, oldest first. */
    async list (): Promise<User[]> {
      return await db.select(account).from(users).orderBy(asc(users.id))
    },

    /** Deletes all accounts and their data. Their ids are never given again. */
    async deleteAll (): Promise<void> {
      await db.delete(users)
    },

    /**
     * Deletes an account and its data.
     *
     * @param options.verifiedHash the hash that the password was verified with
     * @param options.tokenId the token of the request; both are undefined where somebody else acts
     * @param options.actor the admin who acts; undefined where the user or the operator does
     * @returns false, and nothing changes, when it is the last enabled admin's, the hash was changed, the token was revoked, or the actor is not an admin any longer
     */
    async delete (id: number, { verifiedHash, tokenId, actor }: { verifiedHash?: string, tokenId?: string, actor?: Actor } = {}): Promise<boolean> {
      const written = await store.batch([
        ...adminLocks(store, actor, id),
        db.delete(users).where(and(
          eq(users.id, id),
          isActive(id, tokenId),
          verifiedHash === undefined ? undefined : eq(users.passwordHash, verifiedHash),
          leavesAnAdmin(store, id),
          isStillAdmin(store, actor)
        ))
      ], { retryBusyMs: revocationRetryMs })
      return written.at(-1) !== 0 || (await db.select({ id: users.id }).from(users).where(eq(users.id, id))).length === 0
    }
  }
}
