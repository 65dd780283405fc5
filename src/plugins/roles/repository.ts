import { and, asc, eq, isNull, ne, sql } from 'drizzle-orm'
import { isForeignKeyViolation } from '../../database/errors.js'
import type { Store } from '../../database/store.js'
import { type Actor, adminLocks, isStillAdmin, leavesAnAdmin } from './admin-conditions.js'
import { revocationRetryMs } from './lock-admins.js'
import type { Role } from './role.js'
import { adminRole, roleNameProblem } from './role-name.js'

/** Every query on roles. */
export type Roles = ReturnType<typeof rolesRepository>

/** Every query on roles, and on who has them. */
export function rolesRepository (store: Store) {
  const { db, tables: { roles, users, userRoles } } = store
  const roleOfUser = (userId: number, roleName: string) => and(eq(userRoles.userId, userId), eq(userRoles.roleName, roleName))
  const isGranted = async (userId: number, roleName: string) => (await db.select().from(userRoles).where(roleOfUser(userId, roleName))).length > 0

  return {
    /** All roles, by name. */
    async list (): Promise<Role[]> {
      return await db.select().from(roles).orderBy(asc(roles.name))
    },

    /**
     * Creates a role; `undefined` when the name is taken.
     *
     * @throws {TypeError} the name is not permitted
     */
    async create (role: Role): Promise<Role | undefined> {
      if (roleNameProblem(role.name) !== undefined) throw new TypeError('not the name of a role')
      const [created] = await db.insert(roles).values(role).onConflictDoNothing().returning()
      return created
    },

    /** Deletes a role, also from all users who have it; false when there is none. */
    async delete (name: string): Promise<boolean> {
      const rows = await db.delete(roles).where(eq(roles.name, name)).returning({ name: roles.name })
      return rows.length > 0
    },

    /** Deletes every role except `admin`. */
    async deleteAll (): Promise<void> {
      await db.delete(roles).where(ne(roles.name, adminRole))
    },

    /** Whether a role exists. */
    async has (name: string): Promise<boolean> {
      const rows = await db.select({ name: roles.name }).from(roles).where(eq(roles.name, name))
      return rows.length > 0
    },

    /** The names of a user's roles, sorted. */
    async ofUser (userId: number): Promise<string[]> {
      const rows = await db.select({ name: userRoles.roleName }).from(userRoles).where(eq(userRoles.userId, userId)).orderBy(asc(userRoles.roleName))
      return rows.map(({ name }) => name)
    },

    /**
     * Grants a role to a user, who may have it already; false, and nothing changes, when the user
     * or the role does not exist, or the actor is not an admin any longer.
     */
    async grant (userId: number, roleName: string, actor?: Actor): Promise<boolean> {
      const row = db.select({ userId: users.id, roleName: sql<string>`${sql.param(roleName, userRoles.roleName)}`.as('role_name') }).from(users).where(and(eq(users.id, userId), isStillAdmin(store, actor)))
      try {
        const written = await store.batch([...adminLocks(store, actor), db.insert(userRoles).select(row).onConflictDoNothing()])
        if (written.at(-1) !== 0) return true
      } catch (error) {
        if (isForeignKeyViolation(error)) return false
        throw error
      }
      return await isGranted(userId, roleName)
    },

    /**
     * Revokes a user's role, which the user need not have; false, and nothing changes, when it is
     * `admin` of the last enabled one, or the actor is not an admin any longer.
     */
    async revoke (userId: number, roleName: string, actor?: Actor): Promise<boolean> {
      const isAllowed = and(roleName === adminRole ? leavesAnAdmin(store, userId) : undefined, isStillAdmin(store, actor))
      const written = await store.batch([...adminLocks(store, actor), db.delete(userRoles).where(and(roleOfUser(userId, roleName), isAllowed))], { retryBusyMs: revocationRetryMs })
      return written.at(-1) !== 0 || !(await isGranted(userId, roleName))
    },

    /** Whether a user is the only admin whose account is enabled. */
    async isLastAdmin (userId: number): Promise<boolean> {
      const admins = await db.select({ userId: userRoles.userId }).from(userRoles).innerJoin(users, eq(users.id, userRoles.userId))
        .where(and(eq(userRoles.roleName, adminRole), isNull(users.disabledAt))).limit(2)
      return admins.length === 1 && admins[0]?.userId === userId
    }
  }
}
