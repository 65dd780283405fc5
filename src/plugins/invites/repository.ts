import { and, count, eq, gt, inArray, lt, notExists, type SQL, sql } from 'drizzle-orm'
import type { FastifyInstance } from 'fastify'
import { valueOf } from '../../database/value-of.js'
import type { CodeRow } from '../codes/repository.js'
import { type Actor, adminLocks, isStillAdmin } from '../roles/admin-conditions.js'
import { revocationRetryMs } from '../roles/lock-admins.js'
import { adminRole } from '../roles/role-name.js'
import { canonicalEmail } from '../users/email.js'
import { invitedSignup } from './invited-signup.js'
import { type Invite, type InviteData, type IssuedInvite, type NewInvite, openInvitesMax } from './invite.js'

/** Every query on invitations. */
export type Invites = ReturnType<typeof invitesRepository>

/** The hash of a code, in base64url. */
const idPattern = /^[\w-]{43}$/

function toInvite ({ hash: id, data, createdAt, expiresAt }: CodeRow): Invite {
  // `create` has written it.
  const { email, roles } = JSON.parse(String(data)) as InviteData
  return { id, email, roles, createdAt, expiresAt }
}

/**
 * Every query on invitations, which are codes of the kind `invite`.
 *
 * @param now the clock, in milliseconds since 1970
 */
export function invitesRepository ({ codes, store, users }: Pick<FastifyInstance, 'codes' | 'store' | 'users'>, now: () => number) {
  const { db, tables } = store

  /** Whether all of these roles exist, as a condition. */
  const rolesExist = (names: string[]) => names.length === 0
    ? undefined
    : eq(sql<number>`(${db.select({ count: count() }).from(tables.roles).where(inArray(tables.roles.name, names))})`, names.length)

  /** Whether no account has an email, as a condition. */
  const isFree = (email: string) => notExists(db.select({ id: tables.users.id }).from(tables.users).where(eq(tables.users.emailKey, canonicalEmail(email))))

  /** How many invitations are open, as an expression. */
  const openCount = () => sql<number>`(${db.select({ count: count() }).from(tables.codes).where(and(eq(tables.codes.kind, 'invite'), gt(tables.codes.expiresAt, new Date(now()))))})`

  /** Inserts a row if a condition holds: a select from the role admin, which always exists. */
  const insertIf = (row: CodeRow, condition: SQL | undefined) => db.insert(tables.codes).select(db.select({
    hash: valueOf(row.hash, tables.codes.hash),
    kind: valueOf(row.kind, tables.codes.kind),
    userId: valueOf(row.userId, tables.codes.userId),
    data: valueOf(row.data, tables.codes.data),
    createdAt: valueOf(row.createdAt, tables.codes.createdAt),
    expiresAt: valueOf(row.expiresAt, tables.codes.expiresAt)
  }).from(tables.roles).where(and(eq(tables.roles.name, adminRole), condition)))

  return {
    /**
     * Creates an invitation; `undefined` when a role does not exist, an account has the email,
     * there are `openInvitesMax` already, or the actor is not an admin any longer.
     */
    async create ({ email, roles: names, lifetimeSeconds }: NewInvite, actor?: Actor): Promise<IssuedInvite | undefined> {
      const roles = [...new Set(names)].toSorted()
      const { code, row } = codes.prepare({ kind: 'invite', data: { email, roles } satisfies InviteData, lifetimeSeconds })
      const isAllowed = and(isStillAdmin(store, actor), rolesExist(roles), email === null ? undefined : isFree(email), lt(openCount(), openInvitesMax))
      // The lock of the admins lets one batch count at a time.
      const written = await store.batch([...adminLocks(store, actor), insertIf(row, isAllowed)])
      return written.at(-1) === 0 ? undefined : { ...toInvite(row), code, url: codes.urlOf('invite', code) }
    },

    /** All open invitations, newest first. */
    async list (): Promise<Invite[]> {
      return (await codes.list('invite')).map(toInvite)
    },

    /** The open invitation of a code; `undefined` when there is none. Does not use it. */
    async find (code: string): Promise<Invite | undefined> {
      const row = await codes.find('invite', code)
      return row && toInvite(row)
    },

    /** Deletes an invitation; false when there is none with this id, or the actor is not an admin any longer. */
    async delete (id: string, actor?: Actor): Promise<boolean> {
      // What cannot be an id does not reach the database: PostgreSQL would fail on it, SQLite would not.
      if (!idPattern.test(id)) return false
      // In the order in which a signup takes these locks.
      const written = await store.batch([
        codes.lockQuery(id),
        ...adminLocks(store, actor),
        codes.deleteQuery(id, and(codes.isUsable('invite', id), isStillAdmin(store, actor)))
      ], { retryBusyMs: revocationRetryMs })
      return written.at(-1) !== 0
    },

    /** Creates the account of an invitation, and uses the invitation. */
    signUp: invitedSignup({ codes, store, users }, now)
  }
}
