import { type Static, type TObject, Type } from '@sinclair/typebox'
import { ValueErrorType } from '@sinclair/typebox/errors'
import { Value } from '@sinclair/typebox/value'
import { isTokenId, tokenMaxLifetimeSeconds } from '../../plugins/tokens/claims.js'
import { printable } from '../../lib/printable.js'
import { descriptionMaxLength, descriptionProblem } from '../../lib/single-line.js'
import { emailProblem } from '../../plugins/users/email.js'
import { hashProblem } from '../../plugins/passwords/stored-hash.js'
import { roleNameProblem } from '../../plugins/roles/role-name.js'
import { recoveryCodeCount } from '../../plugins/second-factor/repository.js'
import { tokensPerUser } from '../../plugins/tokens/limits.js'
import { existingUsernameProblem } from '../../plugins/users/username.js'

// The format that `latchkey export` writes and `latchkey import` reads: newline-delimited JSON,
// one object per line (https://github.com/ndjson/ndjson-spec).

/** The version that an export writes. Version 1 has no `disabled_at`, `email_verified_at`, `logged_in_at`, `second_factor`, nor accounts without a password. */
export const formatVersion = 2
/** The versions that an import reads. It rejects every other one. */
const readVersions = [1, formatVersion]

/** The highest user id that an import may have. Ids are safe integers: this leaves most of them for later signups. */
const userIdMax = 1_000_000_000_000_000
/** The highest `last_user_id` that an import may have. */
const lastUserIdMax = 8 * userIdMax

/** More than `tokensPerUser`: logins in flight can exceed it for a moment. */
const tokensMax = 2 * tokensPerUser

const strict = { additionalProperties: false }
/** RFC 3339, section 5.6. */
const time = Type.String({ pattern: '^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d(?:\\.\\d{1,9})?(?:Z|[+-]\\d\\d:\\d\\d)$' })

const headerSchema = Type.Object({
  type: Type.Literal('export'),
  version: Type.Integer(),
  /** The highest user id ever assigned, including deleted users: their ids are not reused. */
  last_user_id: Type.Optional(Type.Integer({ minimum: 0, maximum: lastUserIdMax }))
}, strict)

const endSchema = Type.Object({
  type: Type.Literal('end'),
  users: Type.Integer(),
  roles: Type.Integer()
}, strict)

const roleSchema = Type.Object({
  type: Type.Literal('role'),
  name: Type.String(),
  description: Type.String()
}, strict)

const tokenSchema = Type.Object({
  id: Type.String(),
  kind: Type.Union([Type.Literal('login'), Type.Literal('personal')]),
  description: Type.String({ maxLength: 2 * descriptionMaxLength }),
  created_at: time,
  expires_at: time,
  last_used_at: Type.Optional(Type.Union([time, Type.Null()])),
  logged_in_at: Type.Optional(Type.Union([time, Type.Null()]))
}, strict)

const secondFactorSchema = Type.Object({
  /** Sealed under a key that is derived from SECRET_KEY. */
  sealed_secret: Type.String({ maxLength: 256 }),
  last_step: Type.Integer({ minimum: 0, maximum: userIdMax }),
  enabled_at: time,
  /** The hashes of the recovery codes that were not used: SHA-256 in base64url. */
  recovery_hashes: Type.Array(Type.String({ pattern: '^[A-Za-z0-9_-]{43}$' }), { maxItems: recoveryCodeCount })
}, strict)

const userSchema = Type.Object({
  type: Type.Literal('user'),
  id: Type.Optional(Type.Integer({ minimum: 1, maximum: userIdMax })),
  username: Type.String(),
  email: Type.Optional(Type.Union([Type.String(), Type.Null()])),
  /** Null, or not there, for an account without a password. */
  password_hash: Type.Optional(Type.Union([Type.String(), Type.Null()])),
  created_at: Type.Optional(time),
  updated_at: Type.Optional(time),
  disabled_at: Type.Optional(Type.Union([time, Type.Null()])),
  email_verified_at: Type.Optional(Type.Union([time, Type.Null()])),
  second_factor: Type.Optional(Type.Union([secondFactorSchema, Type.Null()])),
  roles: Type.Optional(Type.Array(Type.String())),
  tokens: Type.Optional(Type.Array(tokenSchema, { maxItems: tokensMax }))
}, strict)

/** The first record of an export. */
export type HeaderRecord = Static<typeof headerSchema>
/** The last record of an export, with the counts of the others: without it the export is incomplete. */
export type EndRecord = Static<typeof endSchema>
/** A role. */
export type RoleRecord = Static<typeof roleSchema>
/** An active token of the user whose record contains it; `id` is its `jti` (RFC 7519, section 4.1.7). */
export type TokenRecord = Static<typeof tokenSchema>
/** The second factor of the user whose record contains it. */
export type SecondFactorRecord = Static<typeof secondFactorSchema>
/** An account and its data. Only the username is required: other systems may not have the rest. */
export type UserRecord = Static<typeof userSchema>
/** One line of an export. */
export type ExportRecord = HeaderRecord | RoleRecord | UserRecord | EndRecord

/** A line is not a valid record; `message` says why and repeats no more of it than a name. */
export class RecordError extends Error {
  override name = 'RecordError'
}

function rejectInvalid (name: string, problem: string | undefined): void {
  if (problem !== undefined) throw new RecordError(`${name} ${problem}`)
}

/** Checks a value against a schema. */
function check<T extends TObject> (schema: T, value: unknown): Static<T> {
  if (Value.Check(schema, value)) return value
  const [error] = Value.Errors(schema, value)
  if (error?.type === ValueErrorType.ObjectAdditionalProperties) throw new RecordError('it has an unknown member')
  throw new RecordError(`${String(error?.path).slice(1).replaceAll('/', '.')} is missing or invalid`)
}

/** Whether a date and time exists, in a year from 1 to 9999. `Date` parses 30 February as 1 March. */
function exists (time: string): boolean {
  const [moment, day] = [new Date(time), new Date(`${time.slice(0, 10)}T00:00:00Z`)]
  if (Number.isNaN(moment.getTime()) || Number.isNaN(day.getTime())) return false
  return day.toISOString().startsWith(time.slice(0, 10)) && moment.getUTCFullYear() >= 1 && moment.getUTCFullYear() <= 9_999
}

function checkTimes (times: Array<string | null | undefined>): void {
  if (times.some((time) => typeof time === 'string' && !exists(time))) throw new RecordError('a date or time does not exist')
}

function checkToken ({ id, description, created_at: createdAt, expires_at: expiresAt, last_used_at: lastUsedAt, logged_in_at: loggedInAt }: TokenRecord): void {
  if (!isTokenId(id)) throw new RecordError('the token id must be a UUID')
  checkTimes([createdAt, expiresAt, lastUsedAt, loggedInAt])
  if (Date.parse(expiresAt) - Date.parse(createdAt) > tokenMaxLifetimeSeconds * 1_000) throw new RecordError('a token must expire within a year')
  // The description of a login is its User-Agent header, which can be empty.
  if (description.trim() !== '') rejectInvalid('the token description', descriptionProblem(description))
}

function checkUser (user: UserRecord): UserRecord {
  const { id, username, email = null, password_hash: hash, roles = [], tokens = [] } = user
  rejectInvalid('the username', username === '' ? 'is empty' : existingUsernameProblem(username))
  if (email !== null) rejectInvalid('the email', emailProblem(email))
  else if (typeof user.email_verified_at === 'string') throw new RecordError('email_verified_at needs an email')
  if (typeof hash === 'string') rejectInvalid('the password_hash', hashProblem(hash))
  const repeated = roles.find((name, i) => roles.indexOf(name) < i)
  if (repeated !== undefined) throw new RecordError(`the role ${printable(repeated)} is listed twice`)
  if (tokens.length > 0 && id === undefined) throw new RecordError('tokens need the id of their user')
  // A request is decided by the token alone: to disable an account is to revoke its tokens.
  if (tokens.length > 0 && typeof user.disabled_at === 'string') throw new RecordError('an account that is disabled has no tokens')
  checkTimes([user.created_at, user.updated_at, user.disabled_at, user.email_verified_at, user.second_factor?.enabled_at])
  tokens.forEach(checkToken)
  return user
}

/**
 * Parses one line.
 *
 * @throws {RecordError} the line is not a valid record of this version
 */
export function parseRecord (line: string): ExportRecord {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    throw new RecordError('it is not JSON')
  }
  const { type, version }: { type?: unknown, version?: unknown } = typeof value === 'object' && value !== null ? value : {}
  if (type === 'user') return checkUser(check(userSchema, value))
  if (type === 'role') {
    const role = check(roleSchema, value)
    rejectInvalid('the role name', roleNameProblem(role.name))
    rejectInvalid('the role description', descriptionProblem(role.description))
    return role
  }
  if (type === 'end') return check(endSchema, value)
  if (type !== 'export') throw new RecordError('its type must be export, role, user or end')
  if (!readVersions.some((known) => known === version)) throw new RecordError(`its version must be ${readVersions.join(' or ')}`)
  return check(headerSchema, value)
}
