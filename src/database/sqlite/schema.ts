import { sql } from 'drizzle-orm'
import { index, integer, primaryKey, sqliteTable, text } from 'drizzle-orm/sqlite-core'

/**
 * The accounts. `username` and `email` are stored as they were typed; the `*_key` columns hold
 * their canonical forms, and the unique indexes on these decide whether a name is taken. Ids are
 * AUTOINCREMENT: the id of a deleted user is never given again, so an old token can never name
 * another user.
 */
export const users = sqliteTable('users', {
  id: integer('id').primaryKey({ autoIncrement: true }),
  username: text('username').notNull(),
  usernameKey: text('username_key').notNull().unique('users_username_key_unique'),
  email: text('email'),
  emailKey: text('email_key').unique('users_email_key_unique'),
  passwordHash: text('password_hash').notNull(),
  createdAt: integer('created_at', { mode: 'timestamp_ms' }).notNull(),
  updatedAt: integer('updated_at', { mode: 'timestamp_ms' }).notNull(),
  /** When an admin disabled the account; null while it is enabled. */
  disabledAt: integer('disabled_at', { mode: 'timestamp_ms' }),
  /** When its owner proved that the email is theirs; null while that is not proven. */
  emailVerifiedAt: integer('email_verified_at', { mode: 'timestamp_ms' }),
  /** When the second factor was switched on; null while it is off. Its secret is in `second_factors`. */
  secondFactorAt: integer('second_factor_at', { mode: 'timestamp_ms' })
}, (table) => [
  // Few accounts are disabled: this finds them among a million others.
  index('users_disabled_index').on(table.usernameKey).where(sql`disabled_at is not null`)
])

/**
 * The tokens that were not revoked. `id` is the `jti` claim (RFC 7519, section 4.1.7); the token
 * itself is never stored. A token without a row is refused. The table has no rowid.
 */
export const tokens = sqliteTable('tokens', {
  id: text('id').primaryKey(),
  userId: integer('user_id').notNull().references(() => users.id, { onDelete: 'cascade' }),
  /** `login`: issued by a login, evicted when there are too many; `personal`: a personal access token, never evicted. */
  kind: text('kind', { enum: ['login', 'personal'] }).notNull().default('login'),
  description: text('description').notNull(),
  createdAt: integer('created_at', { mode: 'timestamp_ms' }).notNull(),
  expiresAt: integer('expires_at', { mode: 'timestamp_ms' }).notNull(),
  lastUsedAt: integer('last_used_at', { mode: 'timestamp_ms' }),
  /** When the login with a password was that this token goes back to; null where that is `created_at`. */
  loggedInAt: integer('logged_in_at', { mode: 'timestamp_ms' }),
  /** When the token was renewed: it is valid for a moment longer. Null for almost all. */
  renewedAt: integer('renewed_at', { mode: 'timestamp_ms' })
}, (table) => [
  index('tokens_user_id_index').on(table.userId),
  index('tokens_expires_at_index').on(table.expiresAt)
])

/** The roles. `admin` always exists and cannot be deleted. */
export const roles = sqliteTable('roles', {
  name: text('name').primaryKey(),
  description: text('description').notNull()
})

/** Which user has which role. */
export const userRoles = sqliteTable('user_roles', {
  userId: integer('user_id').notNull().references(() => users.id, { onDelete: 'cascade' }),
  roleName: text('role_name').notNull().references(() => roles.name, { onDelete: 'cascade' })
}, (table) => [
  primaryKey({ columns: [table.userId, table.roleName] }),
  index('user_roles_role_name_index').on(table.roleName)
])

/**
 * Failed logins by canonical username, whether an account has it or not. Each network that the
 * user has logged in from before has a row of its own; that of all other networks has an empty
 * `network`. Times are plain numbers, in milliseconds since 1970, because a statement calculates
 * with them.
 */
export const loginFailures = sqliteTable('login_failures', {
  usernameKey: text('username_key').notNull(),
  network: text('network').notNull(),
  failures: integer('failures').notNull(),
  blockedUntilMs: integer('waits_until_ms').notNull(),
  lastFailureMs: integer('last_failure_ms').notNull()
}, (table) => [
  primaryKey({ columns: [table.usernameKey, table.network] }),
  index('login_failures_last_failure_ms_index').on(table.lastFailureMs)
])

/** The networks that users have logged in from. */
export const knownNetworks = sqliteTable('known_networks', {
  userId: integer('user_id').notNull().references(() => users.id, { onDelete: 'cascade' }),
  network: text('network').notNull(),
  lastLoginAt: integer('last_login_at', { mode: 'timestamp_ms' }).notNull()
}, (table) => [
  primaryKey({ columns: [table.userId, table.network] }),
  index('known_networks_last_login_at_index').on(table.lastLoginAt)
])

/**
 * When the attempts of a network were forgotten. Each server counts them in its own memory: it
 * reads here which ones count no longer. A row is deleted after an hour, when no attempt from
 * before it counts anywhere.
 */
export const addressUnlocks = sqliteTable('address_unlocks', {
  network: text('network').primaryKey(),
  unlockedAt: integer('unlocked_at', { mode: 'timestamp_ms' }).notNull()
})

/**
 * The one-time codes: whatever is proven by a code that was mailed or handed over. `hash` is the
 * SHA-256 of the code, which is never stored; `data` is JSON, of a form that depends on `kind`. An
 * invitation has no user yet.
 */
export const codes = sqliteTable('codes', {
  hash: text('hash').primaryKey(),
  kind: text('kind', { enum: ['password_reset', 'email_verification', 'invite', 'second_factor', 'recovery'] }).notNull(),
  userId: integer('user_id').references(() => users.id, { onDelete: 'cascade' }),
  data: text('data'),
  createdAt: integer('created_at', { mode: 'timestamp_ms' }).notNull(),
  expiresAt: integer('expires_at', { mode: 'timestamp_ms' }).notNull()
}, (table) => [
  index('codes_user_id_index').on(table.userId, table.kind),
  index('codes_kind_index').on(table.kind, table.createdAt),
  index('codes_expires_at_index').on(table.expiresAt)
])

/**
 * The secrets of second factors, each sealed with a key that is derived from SECRET_KEY. A code of
 * a time step that is not after `last_step` is not accepted any longer.
 */
export const secondFactors = sqliteTable('second_factors', {
  userId: integer('user_id').primaryKey().references(() => users.id, { onDelete: 'cascade' }),
  sealedSecret: text('sealed_secret').notNull(),
  lastStep: integer('last_step').notNull()
})

/**
 * The audit log. Events outlive their users, whose ids are never given again. `user_id` is the
 * user it happened to, `actor_id` the user who did it, where that is another.
 */
export const events = sqliteTable('events', {
  id: integer('id').primaryKey({ autoIncrement: true }),
  time: integer('time', { mode: 'timestamp_ms' }).notNull(),
  kind: text('kind').notNull(),
  outcome: text('outcome').notNull(),
  source: text('source', { enum: ['http', 'cli', 'app'] }).notNull(),
  userId: integer('user_id'),
  actorId: integer('actor_id'),
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

/**
 * What is known about the clock that decides which rows are old: one row, with the id 1.
 * `trusted_at` is when the clock was last plausible, to a day; `doubted_since` what it showed when
 * it became implausible.
 */
export const cleanupClock = sqliteTable('cleanup_clock', {
  id: integer('id').primaryKey(),
  trustedAt: integer('trusted_at', { mode: 'timestamp_ms' }).notNull(),
  doubtedSince: integer('doubted_since', { mode: 'timestamp_ms' })
})

/** The keys that servers sign tokens with, by an id that is no secret, and when a server last had each. */
export const signingKeys = sqliteTable('signing_keys', {
  id: text('id').primaryKey(),
  lastUsedAt: integer('last_used_at', { mode: 'timestamp_ms' }).notNull()
})
