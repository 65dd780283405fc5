import { and, asc, desc, eq, gt, inArray, isNull, sql } from 'drizzle-orm'
import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import type { Query, Store } from '../../database/store.js'
import { type ExportRecord, formatVersion, type RoleRecord, type UserRecord } from './format.js'
import { emailKeyOf, toRecoveryRow, toTokenRow, toUserRecord, toUserRow, usernameKeyOf } from './rows.js'

/** How many accounts one query reads. */
const usersPerPage = 500
/** How many rows one statement writes: both databases limit the number of parameters. */
const rowsPerStatement = 500

/** What the database has that imported accounts must not have. */
export interface Conflicts {
  /** The highest user id ever assigned. An import must not assign it or a lower one: the audit log can refer to it. */
  lastUserId: number
  usernameKeys: Set<string>
  emailKeys: Set<string>
  tokenIds: Set<string>
}

declare module 'fastify' {
  interface FastifyInstance {
    /** Reads and writes whole databases: accounts, roles and tokens. Only the command line has it. */
    transfer: ReturnType<typeof transferRepository>
  }
}

function chunksOf<Item> (items: Item[], size: number): Item[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, i) => items.slice(i * size, (i + 1) * size))
}

/** Groups rows by user id. */
function groupByUser<Row extends { userId: number }> (rows: Row[]): Map<number, Row[]> {
  const groups = new Map<number, Row[]>()
  for (const row of rows) {
    const group = groups.get(row.userId)
    if (group === undefined) groups.set(row.userId, [row])
    else group.push(row)
  }
  return groups
}

export function transferRepository (store: Store) {
  const { db, tables: { codes, users, tokens, roles, secondFactors, userRoles } } = store

  /** Reads the next page of accounts, with their roles, active tokens and second factors. */
  async function readPageAfter (db: Store['db'], id: number): Promise<Array<UserRecord & { id: number }>> {
    const page = await db.select().from(users).where(gt(users.id, id)).orderBy(asc(users.id)).limit(usersPerPage)
    const ids = page.map((user) => user.id)
    const rolesOfPage = await db.select().from(userRoles).where(inArray(userRoles.userId, ids)).orderBy(asc(userRoles.roleName))
    const tokensOfPage = await db.select().from(tokens).where(and(inArray(tokens.userId, ids), gt(tokens.expiresAt, new Date()), isNull(tokens.renewedAt))).orderBy(asc(tokens.createdAt), asc(tokens.id))
    const factorsOfPage = await db.select().from(secondFactors).where(inArray(secondFactors.userId, ids))
    const recoveryOfPage = await db.select({ hash: codes.hash, userId: sql<number>`${codes.userId}`.mapWith(Number) }).from(codes).where(and(inArray(codes.userId, ids), eq(codes.kind, 'recovery'))).orderBy(asc(codes.hash))
    const [rolesOf, tokensOf, factorOf, recoveryOf] = [groupByUser(rolesOfPage), groupByUser(tokensOfPage), groupByUser(factorsOfPage), groupByUser(recoveryOfPage)]
    return page.map((user) => toUserRecord(user, {
      roles: (rolesOf.get(user.id) ?? []).map(({ roleName }) => roleName),
      tokens: tokensOf.get(user.id) ?? [],
      secondFactor: factorOf.get(user.id)?.[0],
      recoveryHashes: (recoveryOf.get(user.id) ?? []).map(({ hash }) => hash)
    }))
  }

  /** The id of an account that the same batch inserts: the record or the database chose it. */
  const selectUserId = (user: UserRecord) => sql<number>`(select ${users.id} from ${users} where ${users.usernameKey} = ${usernameKeyOf(user)})`

  return {
    /** Reads a snapshot of the database: roles, then accounts, each with its roles, active tokens and second factor. */
    async * read (): AsyncGenerator<ExportRecord> {
      yield { type: 'export', version: formatVersion, last_user_id: await store.lastUserId() }
      yield * store.snapshot(async function * (db): AsyncGenerator<ExportRecord> {
        const allRoles = await db.select().from(roles).orderBy(asc(roles.name))
        for (const role of allRoles) yield { type: 'role', ...role }
        let count = 0
        for (let page = await readPageAfter(db, 0); page.length > 0; page = await readPageAfter(db, Number(page.at(-1)?.id))) {
          count += page.length
          yield * page
        }
        yield { type: 'end', users: count, roles: allRoles.length }
      })
    },

    /** Finds the usernames, emails, user ids and token ids of these accounts that the database has or had. */
    async findConflicts (records: UserRecord[]): Promise<Conflicts> {
      const [highest] = await db.select({ id: users.id }).from(users).orderBy(desc(users.id)).limit(1)
      const conflicts: Conflicts = { lastUserId: Math.max(await store.lastUserId(), highest?.id ?? 0), usernameKeys: new Set(), emailKeys: new Set(), tokenIds: new Set() }
      for (const chunk of chunksOf(records, rowsPerStatement)) {
        const emailKeys = chunk.flatMap((user) => emailKeyOf(user) ?? [])
        for (const { key } of await db.select({ key: users.usernameKey }).from(users).where(inArray(users.usernameKey, chunk.map(usernameKeyOf)))) conflicts.usernameKeys.add(key)
        for (const { key } of await db.select({ key: users.emailKey }).from(users).where(inArray(users.emailKey, emailKeys))) conflicts.emailKeys.add(String(key))
      }
      for (const chunk of chunksOf(records.flatMap((user) => user.tokens ?? []), rowsPerStatement)) {
        for (const { id } of await db.select({ id: tokens.id }).from(tokens).where(inArray(tokens.id, chunk.map((token) => token.id)))) conflicts.tokenIds.add(id)
      }
      return conflicts
    },

    /**
     * Inserts roles and accounts: all of them or none. Keeps a role that exists.
     *
     * @param lastId the highest user id that the exporting database has ever assigned
     * @throws {Error} a conflict (see `isConflict`): a concurrent signup took an id, a name or an email
     */
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
          .map((chunk) => db.insert(users).values(chunk.map((user) => toUserRow(user, now)))),
        ...chunksOf(records.flatMap((user) => (user.roles ?? []).map((roleName) => ({ userId: selectUserId(user), roleName }))), rowsPerStatement)
          .map((chunk) => db.insert(userRoles).values(chunk)),
        ...chunksOf(records.flatMap((user) => (user.tokens ?? []).map((token) => toTokenRow(Number(user.id), token))), rowsPerStatement)
          .map((chunk) => db.insert(tokens).values(chunk)),
        ...chunksOf(records.flatMap((user) => user.second_factor == null ? [] : [{ userId: selectUserId(user), sealedSecret: user.second_factor.sealed_secret, lastStep: user.second_factor.last_step }]), rowsPerStatement)
          .map((chunk) => db.insert(secondFactors).values(chunk)),
        ...chunksOf(records.flatMap((user) => (user.second_factor?.recovery_hashes ?? []).map((hash) => ({ ...toRecoveryRow(hash, now), userId: selectUserId(user) }))), rowsPerStatement)
          .map((chunk) => db.insert(codes).values(chunk))
      ]
      const queries: Query[] = [
        ...insertRoles,
        ...(chosenIds.length === 0 ? [] : store.claimUserIds(lowest)),
        ...insertUsers(withId),
        // As late as possible: a rollback does not reset a sequence.
        ...store.skipUserIds(highest),
        ...insertUsers(withoutId)
      ]
      await store.batch(queries)
    }
  }
}

const plugin: FastifyPluginAsync = async (app) => {
  app.decorate('transfer', transferRepository(app.store))
}

export default fp(plugin, { name: 'latchkey-transfer', dependencies: ['latchkey-database'] })
