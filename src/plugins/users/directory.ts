import { and, asc, count, eq, exists, gt, gte, inArray, isNotNull, isNull, lt, max, type SQL, sql } from 'drizzle-orm'
import type { Store } from '../../database/store.js'
import { roleNameProblem } from '../roles/role-name.js'
import { canonicalEmail, emailProblem } from './email.js'
import type { User } from './user.js'
import { accountColumns, hasPassword, hasSecondFactor } from './user-columns.js'
import { canonicalUsername } from './username.js'

/** A role with at most so many members is rare: they are looked up one by one, and sorted. */
const rareRoleMembers = 1_000
/** Sorts after every character of a username. */
const afterEveryCharacter = '\x7f'

/** An account in the list of all accounts. */
export interface ListedUser extends User {
  /** Whether logging in needs a code as well. */
  secondFactor: boolean
  /** When an admin disabled it; null while it is enabled. */
  disabledAt: Date | null
  /** The names of its roles, sorted. */
  roles: string[]
}

/** An account with what an admin wants to know of it. */
export interface UserDetails extends ListedUser {
  /** To about a day; null when no login is known. */
  lastLoginAt: Date | null
  /** How many active tokens it has. */
  tokenCount: number
}

/** Selects accounts: all conditions must hold. */
export interface DirectoryFilter {
  /** The beginning of the username, in any case. */
  search?: string
  /** The email, in any case. */
  email?: string
  /** The name of a role. */
  role?: string
  isDisabled?: boolean
  /** Only accounts whose canonical username sorts after this one. */
  afterKey?: string
}

/** Every query that lists and shows accounts. */
export type Directory = ReturnType<typeof directoryRepository>

/**
 * Every query that lists and shows accounts.
 *
 * @param now the clock, in milliseconds since 1970
 */
export function directoryRepository (store: Store, now: () => number) {
  const { db, tables: { knownNetworks, tokens, users, userRoles } } = store
  const columns = { ...accountColumns(users), secondFactor: hasSecondFactor(users), disabledAt: users.disabledAt }

  /** Adds the names of their roles to accounts, in one query. */
  async function withRoles<Account extends User> (page: Account[]): Promise<Array<Account & { roles: string[] }>> {
    const accounts = new Map(page.map((user) => [user.id, { ...user, roles: new Array<string>() }]))
    const granted = await db.select().from(userRoles).where(inArray(userRoles.userId, [...accounts.keys()])).orderBy(asc(userRoles.roleName))
    for (const { userId, roleName } of granted) accounts.get(userId)?.roles.push(roleName)
    return [...accounts.values()]
  }

  /**
   * Whether an account has a role, as a condition. The members of a rare role are looked up by
   * their ids, instead of walking through all accounts; a role that many have is tested for each
   * account in the order of the usernames, instead of sorting all of its members.
   */
  async function hasRole (role: string): Promise<SQL> {
    const members = await db.select({ id: userRoles.userId }).from(userRoles).where(eq(userRoles.roleName, role)).limit(rareRoleMembers + 1)
    if (members.length <= rareRoleMembers) return inArray(users.id, members.map(({ id }) => id))
    return exists(db.select({ id: userRoles.userId }).from(userRoles).where(and(eq(userRoles.userId, users.id), eq(userRoles.roleName, role))))
  }

  return {
    /** The next accounts by id; with `search` only those whose username begins with it, in any case, with `isDisabled` only disabled ones. Each says whether it has a password. */
    async page ({ afterId, limit, search = '', isDisabled = false }: { afterId: number, limit: number, search?: string, isDisabled?: boolean }): Promise<Array<ListedUser & { hasPassword: boolean }>> {
      const prefix = search === '' ? '' : canonicalUsername(search)
      if (prefix === undefined) return []
      const hasPrefix = prefix === '' ? undefined : sql`substr(${users.usernameKey}, 1, ${prefix.length}) = ${prefix}`
      return await withRoles(await db.select({ ...columns, hasPassword: hasPassword(users) }).from(users)
        .where(and(gt(users.id, afterId), hasPrefix, isDisabled ? isNotNull(users.disabledAt) : undefined))
        .orderBy(asc(users.id)).limit(limit))
    },

    /** The next accounts, ordered by canonical username. Text that can be no username, email or role selects none. */
    async listByName ({ search = '', email, role, isDisabled, afterKey }: DirectoryFilter, limit: number): Promise<ListedUser[]> {
      const prefix = search === '' ? '' : canonicalUsername(search)
      if (prefix === undefined) return []
      if (email !== undefined && emailProblem(email) !== undefined) return []
      if (role !== undefined && roleNameProblem(role) !== undefined) return []
      const page = await db.select(columns).from(users)
        .where(and(
          prefix === '' ? undefined : and(gte(users.usernameKey, prefix), lt(users.usernameKey, `${prefix}${afterEveryCharacter}`)),
          afterKey === undefined ? undefined : gt(users.usernameKey, afterKey),
          email === undefined ? undefined : eq(users.emailKey, canonicalEmail(email)),
          role === undefined ? undefined : await hasRole(role),
          isDisabled === undefined ? undefined : isDisabled ? isNotNull(users.disabledAt) : isNull(users.disabledAt)
        ))
        .orderBy(asc(users.usernameKey)).limit(limit)
      return await withRoles(page)
    },

    /** The account with a username, in any case, with its details; `undefined` when there is none. */
    async findDetails (username: string): Promise<UserDetails | undefined> {
      const usernameKey = canonicalUsername(username)
      if (usernameKey === undefined) return undefined
      // Each of these reads the rows of one user, by an index.
      const lastKnown = db.select({ time: max(knownNetworks.lastLoginAt) }).from(knownNetworks).where(eq(knownNetworks.userId, users.id))
      const lastLogin = db.select({ time: max(sql`coalesce(${tokens.loggedInAt}, ${tokens.createdAt})`) }).from(tokens).where(and(eq(tokens.userId, users.id), eq(tokens.kind, 'login')))
      const tokenCount = db.select({ count: count() }).from(tokens).where(and(eq(tokens.userId, users.id), gt(tokens.expiresAt, new Date(now())), isNull(tokens.renewedAt)))
      const found = await db
        .select({
          ...columns,
          lastKnownAt: sql<Date | null>`(${lastKnown})`.mapWith(knownNetworks.lastLoginAt),
          lastLoginAt: sql<Date | null>`(${lastLogin})`.mapWith(tokens.createdAt),
          tokenCount: sql`(${tokenCount})`.mapWith(Number)
        })
        .from(users).where(eq(users.usernameKey, usernameKey))
      const [details] = await withRoles(found)
      if (details === undefined) return undefined
      const { lastKnownAt, lastLoginAt, ...rest } = details
      const times = [lastKnownAt, lastLoginAt].filter((time) => time !== null).map(Number)
      return { ...rest, lastLoginAt: times.length === 0 ? null : new Date(Math.max(...times)) }
    }
  }
}
