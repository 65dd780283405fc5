import { and, asc, desc, gt, inArray, sql } from 'drizzle-orm'
import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import type { Query, Store } from '../../database/store.js'
import { canonicalEmail } from '../../plugins/users/email.js'
import { type LatchkeyRecord, formatVersion, type RoleRecord, type TokenRecord, type UserRecord } from './format.js'
import { canonicalUsername } from '../../plugins/users/username.js'

/** How many accounts are read at once. */
const usersPerPage = 500
/** How many rows one statement writes: few enough for the parameters that every dialect takes. */
const rowsPerStatement = 500

/** What stands in the way of an account that is to be added. */
export interface Conflicts {
  /** The highest id that a user ever had here: no lower one is free, because more than the account hangs on it. */
  lastUserId: number
  usernameKeys: Set<string>
  emailKeys: Set<string>
  tokenIds: Set<string>
}

declare module 'fastify' {
  interface FastifyInstance {
    /** Everything that is in an installation, to be moved to another. */
    transfer: ReturnType<typeof transferRepository>
  }
}

/** A username that has been validated, as it is found. */
export const usernameKeyOf = (user: UserRecord): string => String(canonicalUsername(user.username))
/** An email as it is found. */
export const emailKeyOf = ({ email = null }: UserRecord): string | null => email === null ? null : canonicalEmail(email)

function chunksOf<Item> (items: Item[], size: number): Item[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, i) => items.slice(i * size, (i + 1) * size))
}

/** Rows by the user whose they are. */
function byUser<Row extends { userId: number }> (rows: Row[]): Map<number, Row[]> {
  const groups = new Map<number, Row[]>()
  for (const row of rows) {
    const group = groups.get(row.userId)
    if (group === undefined) groups.set(row.userId, [row])
    else group.push(row)
  }
  return groups
}

const iso = (time: Date | null) => time === null ? null : time.toISOString()

function transferRepository (store: Store) {
  const { db, tables: { users, tokens, roles, userRoles } } = store

  /** A page of accounts with all that hangs on them. */
  async function pageAfter (db: Store['db'], id: number): Promise<Array<UserRecord & { id: number }>> {
    const page = await db.select().from(users).where(gt(users.id, id)).orderBy(asc(users.id)).limit(usersPerPage)
    const ids = page.map((user) => user.id)
    const rolesOfPage = await db.select().from(userRoles).where(inArray(userRoles.userId, ids)).orderBy(asc(userRoles.roleName))
    const tokensOfPage = await db.select().from(tokens).where(and(inArray(tokens.userId, ids), gt(tokens.expiresAt, new Date()))).orderBy(asc(tokens.createdAt), asc(tokens.id))
    const [rolesOf, tokensOf] = [byUser(rolesOfPage), byUser(tokensOfPage)]
    return page.map((user) => ({
      type: 'user',
      id: user.id,
      username: user.username,
      email: user.email,
      password_hash: user.passwordHash,
      created_at: user.createdAt.toISOString(),
      updated_at: user.updatedAt.toISOString(),
      roles: (rolesOf.get(user.id) ?? []).map(({ roleName }) => roleName),
      tokens: (tokensOf.get(user.id) ?? []).map((token): TokenRecord => ({
        id: token.id,
        kind: token.kind,
        description: token.description,
        created_at: token.createdAt.toISOString(),
        expires_at: token.expiresAt.toISOString(),
        last_used_at: iso(token.lastUsedAt)
      }))
    }))
  }

  const userRow = (user: UserRecord, now: Date) => ({
    id: user.id,
    username: user.username,
    usernameKey: usernameKeyOf(user),
    email: user.email ?? null,
    emailKey: emailKeyOf(user),
    passwordHash: user.password_hash,
    createdAt: new Date(user.created_at ?? now),
    updatedAt: new Date(user.updated_at ?? user.created_at ?? now)
  })

  const tokenRow = (userId: number, token: TokenRecord) => ({
    id: token.id,
    userId,
    kind: token.kind,
    description: token.description,
    createdAt: new Date(token.created_at),
    expiresAt: new Date(token.expires_at),
    lastUsedAt: typeof token.last_used_at === 'string' ? new Date(token.last_used_at) : null
  })

  /** The id of an account that is added in the same batch, whoever chose it. */
  const idOf = (user: UserRecord) => sql<number>`(select ${users.id} from ${users} where ${users.usernameKey} = ${usernameKeyOf(user)})`

  return {
    /** Everything, the roles first; an account and what hangs on it is one record. Expired tokens stay behind. */
    async * read (): AsyncGenerator<LatchkeyRecord> {
      yield { type: 'export', version: formatVersion, last_user_id: await store.lastUserId() }
      yield * store.snapshot(async function * (db): AsyncGenerator<LatchkeyRecord> {
        const allRoles = await db.select().from(roles).orderBy(asc(roles.name))
        for (const role of allRoles) yield { type: 'role', ...role }
        let count = 0
        for (let page = await pageAfter(db, 0); page.length > 0; page = await pageAfter(db, Number(page.at(-1)?.id))) {
          count += page.length
          yield * page
        }
        yield { type: 'end', users: count, roles: allRoles.length }
      })
    },

    /** Which names, emails and ids of these accounts are taken already, or were given before. */
    async findConflicts (records: UserRecord[]): Promise<Conflicts> {
      const [highest] = await db.select({ id: users.id }).from(users).orderBy(desc(users.id)).limit(1)
      const taken: Conflicts = { lastUserId: Math.max(await store.lastUserId(), highest?.id ?? 0), usernameKeys: new Set(), emailKeys: new Set(), tokenIds: new Set() }
      for (const chunk of chunksOf(records, rowsPerStatement)) {
        const emailKeys = chunk.flatMap((user) => emailKeyOf(user) ?? [])
        for (const { key } of await db.select({ key: users.usernameKey }).from(users).where(inArray(users.usernameKey, chunk.map(usernameKeyOf)))) taken.usernameKeys.add(key)
        for (const { key } of await db.select({ key: users.emailKey }).from(users).where(inArray(users.emailKey, emailKeys))) taken.emailKeys.add(String(key))
      }
      for (const chunk of chunksOf(records.flatMap((user) => user.tokens ?? []), rowsPerStatement)) {
        for (const { id } of await db.select({ id: tokens.id }).from(tokens).where(inArray(tokens.id, chunk.map((token) => token.id)))) taken.tokenIds.add(id)
      }
      return taken
    },

    /** Adds roles and accounts, all of them or none; a conflict where an id was given meanwhile. A role that is there already stays as it is. */
    async write (newRoles: RoleRecord[], newUsers: UserRecord[], lastId: number): Promise<void> {
      const now = new Date()
      const [withId, withoutId] = [newUsers.filter(({ id }) => id !== undefined), newUsers.filter(({ id }) => id === undefined)]
      const chosenIds = newUsers.flatMap(({ id }) => id ?? [])
      const lowest = chosenIds.reduce((lowest, id) => Math.min(lowest, id), Infinity)
      const highest = chosenIds.reduce((highest, id) => Math.max(highest, id), lastId)

      const insertRoles = chunksOf(newRoles, rowsPerStatement)
        .map((chunk) => db.insert(roles).values(chunk.map(({ name, description }) => ({ name, description }))).onConflictDoNothing())
      const insertUsers = (records: UserRecord[]) => [
        ...chunksOf(records, rowsPerStatement)
          .map((chunk) => db.insert(users).values(chunk.map((user) => userRow(user, now)))),
        ...chunksOf(records.flatMap((user) => (user.roles ?? []).map((roleName) => ({ userId: idOf(user), roleName }))), rowsPerStatement)
          .map((chunk) => db.insert(userRoles).values(chunk)),
        ...chunksOf(records.flatMap((user) => (user.tokens ?? []).map((token) => tokenRow(Number(user.id), token))), rowsPerStatement)
          .map((chunk) => db.insert(tokens).values(chunk))
      ]
      const queries: Query[] = [
        ...insertRoles,
        ...(chosenIds.length === 0 ? [] : store.claimUserIds(lowest)),
        ...insertUsers(withId),
        // As late as can be: a sequence does not go back with the transaction.
        ...store.skipUserIds(highest),
        ...insertUsers(withoutId)
      ]
      await store.batch(queries)
    }
  }
}

/** For the command line only: a server has no use for it. */
const plugin: FastifyPluginAsync = async (app) => {
  app.decorate('transfer', transferRepository(app.store))
}

export default fp(plugin, { name: 'latchkey-transfer', dependencies: ['latchkey-database'] })
