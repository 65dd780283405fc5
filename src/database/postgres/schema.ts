import { sql } from 'drizzle-orm'
import { bigint, customType, index, integer, pgSchema, primaryKey, text, timestamp } from 'drizzle-orm/pg-core'

// The same tables as in ../sqlite/schema.ts, where they are described.

/** A schema of our own: the database may belong to an app that has tables `users` and `roles` itself. */
export const latchkey = pgSchema('latchkey')

/**
 * Text that is compared byte by byte. It sorts as in SQLite, and its indexes do not
 * depend on the operating system's collations, whose updates break those of plain text.
 */
const bytewise = customType<{ data: string }>({ dataType: () => 'text COLLATE "C"' })
/** Milliseconds since 1970, as JavaScript counts. */
const time = (name: string) => timestamp(name, { withTimezone: true, precision: 3 })
/** Holds every safe integer: ids come from clients, in tokens. */
const id = (name: string) => bigint(name, { mode: 'number' })

export const users = latchkey.table('users', {
  id: id('id').primaryKey().generatedByDefaultAsIdentity({ name: 'users_id_seq' }),
  username: text('username').notNull(),
  usernameKey: bytewise('username_key').notNull().unique('users_username_key_unique'),
  email: text('email'),
  emailKey: bytewise('email_key').unique('users_email_key_unique'),
  passwordHash: text('password_hash').notNull(),
  createdAt: time('created_at').notNull(),
  updatedAt: time('updated_at').notNull(),
  disabledAt: time('disabled_at'),
  emailVerifiedAt: time('email_verified_at'),
  secondFactorAt: time('second_factor_at')
}, (table) => [
  index('users_disabled_index').on(table.usernameKey).where(sql`disabled_at is not null`)
])

export const tokens = latchkey.table('tokens', {
  id: bytewise('id').primaryKey(),
  userId: id('user_id').notNull().references(() => users.id, { onDelete: 'cascade' }),
  kind: text('kind', { enum: ['login', 'personal'] }).notNull().default('login'),
  description: text('description').notNull(),
  createdAt: time('created_at').notNull(),
  expiresAt: time('expires_at').notNull(),
  lastUsedAt: time('last_used_at'),
  loggedInAt: time('logged_in_at'),
  renewedAt: time('renewed_at')
}, (table) => [
  index('tokens_user_id_index').on(table.userId),
  index('tokens_expires_at_index').on(table.expiresAt)
])

export const roles = latchkey.table('roles', {
  name: bytewise('name').primaryKey(),
  description: text('description').notNull()
})

export const userRoles = latchkey.table('user_roles', {
  userId: id('user_id').notNull().references(() => users.id, { onDelete: 'cascade' }),
  roleName: bytewise('role_name').notNull().references(() => roles.name, { onDelete: 'cascade' })
}, (table) => [
  primaryKey({ columns: [table.userId, table.roleName] }),
  index('user_roles_role_name_index').on(table.roleName)
])

export const loginFailures = latchkey.table('login_failures', {
  usernameKey: bytewise('username_key').notNull(),
  network: bytewise('network').notNull(),
  failures: integer('failures').notNull(),
  blockedUntilMs: bigint('waits_until_ms', { mode: 'number' }).notNull(),
  lastFailureMs: bigint('last_failure_ms', { mode: 'number' }).notNull()
}, (table) => [
  primaryKey({ columns: [table.usernameKey, table.network] }),
  index('login_failures_last_failure_ms_index').on(table.lastFailureMs)
])

export const knownNetworks = latchkey.table('known_networks', {
  userId: id('user_id').notNull().references(() => users.id, { onDelete: 'cascade' }),
  network: bytewise('network').notNull(),
  lastLoginAt: time('last_login_at').notNull()
}, (table) => [
  primaryKey({ columns: [table.userId, table.network] }),
  index('known_networks_last_login_at_index').on(table.lastLoginAt)
])

export const addressUnlocks = latchkey.table('address_unlocks', {
  network: bytewise('network').primaryKey(),
  unlockedAt: time('unlocked_at').notNull()
})

export const codes = latchkey.table('codes', {
  hash: bytewise('hash').primaryKey(),
  kind: text('kind', { enum: ['password_reset', 'email_verification', 'invite', 'second_factor', 'recovery'] }).notNull(),
  userId: id('user_id').references(() => users.id, { onDelete: 'cascade' }),
  data: text('data'),
  createdAt: time('created_at').notNull(),
  expiresAt: time('expires_at').notNull()
}, (table) => [
  index('codes_user_id_index').on(table.userId, table.kind),
  index('codes_kind_index').on(table.kind, table.createdAt),
  index('codes_expires_at_index').on(table.expiresAt)
])

export const secondFactors = latchkey.table('second_factors', {
  userId: id('user_id').primaryKey().references(() => users.id, { onDelete: 'cascade' }),
  sealedSecret: text('sealed_secret').notNull(),
  lastStep: bigint('last_step', { mode: 'number' }).notNull()
})

export const events = latchkey.table('events', {
  id: id('id').primaryKey().generatedByDefaultAsIdentity({ name: 'events_id_seq' }),
  time: time('time').notNull(),
  kind: bytewise('kind').notNull(),
  outcome: text('outcome').notNull(),
  source: text('source', { enum: ['http', 'cli', 'app'] }).notNull(),
  userId: id('user_id'),
  actorId: id('actor_id'),
  detail: text('detail'),
  address: text('address'),
  userAgent: text('user_agent'),
  requestId: text('request_id')
}, (table) => [
  index('events_time_index').on(table.time),
  index('events_user_id_index').on(table.userId, table.id),
  index('events_user_id_kind_index').on(table.userId, table.kind, table.id),
  index('events_kind_index').on(table.kind, table.id)
])

export const cleanupClock = latchkey.table('cleanup_clock', {
  id: id('id').primaryKey(),
  trustedAt: time('trusted_at').notNull(),
  doubtedSince: time('doubted_since')
})

export const signingKeys = latchkey.table('signing_keys', {
  id: bytewise('id').primaryKey(),
  lastUsedAt: time('last_used_at').notNull()
})
