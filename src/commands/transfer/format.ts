import { type Static, type TObject, Type } from '@sinclair/typebox'
import { ValueErrorType } from '@sinclair/typebox/errors'
import { Value } from '@sinclair/typebox/value'
import { isTokenId, tokenMaxLifetimeSeconds } from '../../plugins/tokens/claims.js'
import { descriptionMaxLength, descriptionProblem } from '../../lib/single-line.js'
import { emailProblem } from '../../plugins/users/email.js'
import { parseHash } from '../../plugins/passwords/stored-hash.js'
import { roleNameProblem } from '../../plugins/roles/role-name.js'
import { tokensPerUser } from '../../plugins/tokens/limits.js'
import { existingUsernameProblem } from '../../plugins/users/username.js'

// What an installation is made of, one JSON object a line (https://github.com/ndjson/ndjson-spec):
// what `latchkey export` writes and `latchkey import` reads.

/** The version of this format. One that is not this is refused. */
export const formatVersion = 1

/** The highest id of a user that an import brings. Ids are safe integers: it leaves most of them to those who sign up later. */
const userIdMax = 1_000_000_000_000_000
/** The highest id that can have been given when there is an export. */
const lastUserIdMax = 8 * userIdMax

/** More than a user can have: while logins are under way there can be a few too many for a moment. */
const tokensMax = 2 * tokensPerUser

const strict = { additionalProperties: false }
/** RFC 3339, section 5.6. */
const time = Type.String({ pattern: '^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d(?:\\.\\d{1,9})?(?:Z|[+-]\\d\\d:\\d\\d)$' })

const exportSchema = Type.Object({
  type: Type.Literal('export'),
  version: Type.Integer(),
  /** The highest id that a user ever had: ids of deleted users are not given again. */
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
  last_used_at: Type.Optional(Type.Union([time, Type.Null()]))
}, strict)

const userSchema = Type.Object({
  type: Type.Literal('user'),
  id: Type.Optional(Type.Integer({ minimum: 1, maximum: userIdMax })),
  username: Type.String(),
  email: Type.Optional(Type.Union([Type.String(), Type.Null()])),
  password_hash: Type.String(),
  created_at: Type.Optional(time),
  updated_at: Type.Optional(time),
  roles: Type.Optional(Type.Array(Type.String())),
  tokens: Type.Optional(Type.Array(tokenSchema, { maxItems: tokensMax }))
}, strict)

/** The first line of an export. */
export type ExportRecord = Static<typeof exportSchema>
/** The last line of an export, with the numbers of those before it: without it the export was cut off. */
export type EndRecord = Static<typeof endSchema>
/** What somebody can be. */
export type RoleRecord = Static<typeof roleSchema>
/** A living token, of the user in whose record it stands; `id` is its `jti`. */
export type TokenRecord = Static<typeof tokenSchema>
/** An account with all that hangs on it. Name and hash are enough; the rest is what another system may not have. */
export type UserRecord = Static<typeof userSchema>
/** A line. */
export type LatchkeyRecord = ExportRecord | RoleRecord | UserRecord | EndRecord

/** A line that is no record; `message` is a sentence without the line's content. */
export class RecordError extends Error {
  override name = 'RecordError'
}

function refuse (problem: string | undefined, what: string): void {
  if (problem !== undefined) throw new RecordError(`${what} ${problem}`)
}

/** The value as what the schema says. */
function check<T extends TObject> (schema: T, value: unknown): Static<T> {
  if (Value.Check(schema, value)) return value
  const [error] = Value.Errors(schema, value)
  if (error?.type === ValueErrorType.ObjectAdditionalProperties) throw new RecordError('it has a member that no record has')
  throw new RecordError(`${String(error?.path).slice(1).replaceAll('/', '.')} is missing or not what it must be`)
}

/** Whether there was or will be such a time, in a year of four digits. JavaScript takes 30 February for 1 March. */
function exists (time: string): boolean {
  const [moment, day] = [new Date(time), new Date(`${time.slice(0, 10)}T00:00:00Z`)]
  if (Number.isNaN(moment.getTime()) || Number.isNaN(day.getTime())) return false
  return day.toISOString().startsWith(time.slice(0, 10)) && moment.getUTCFullYear() >= 1 && moment.getUTCFullYear() <= 9_999
}

function checkTimes (times: Array<string | null | undefined>): void {
  if (times.some((time) => typeof time === 'string' && !exists(time))) throw new RecordError('a time is none that exists')
}

function checkToken ({ id, description, created_at: createdAt, expires_at: expiresAt, last_used_at: lastUsedAt }: TokenRecord): void {
  if (!isTokenId(id)) throw new RecordError('the id of a token must be a UUID')
  checkTimes([createdAt, expiresAt, lastUsedAt])
  if (Date.parse(expiresAt) - Date.parse(createdAt) > tokenMaxLifetimeSeconds * 1_000) throw new RecordError('a token lives for a year at most')
  // A login's description is what its browser said of itself, which can be nothing.
  if (description.trim() !== '') refuse(descriptionProblem(description), 'the description of a token')
}

function checkUser (user: UserRecord): UserRecord {
  const { id, username, email = null, password_hash: hash, roles = [], tokens = [] } = user
  refuse(username === '' ? 'is empty' : existingUsernameProblem(username), 'the username')
  if (email !== null) refuse(emailProblem(email), 'the email')
  if (parseHash(hash) === undefined) throw new RecordError('the password_hash must be one of argon2 or bcrypt that costs no more than a login may')
  if (new Set(roles).size < roles.length) throw new RecordError('a role is there twice')
  if (tokens.length > 0 && id === undefined) throw new RecordError('tokens name the id of their user, which is not there')
  checkTimes([user.created_at, user.updated_at])
  tokens.forEach(checkToken)
  return user
}

/**
 * Reads a line.
 *
 * @throws {RecordError} it is no record, or none that this version knows
 */
export function parseRecord (line: string): LatchkeyRecord {
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
    refuse(roleNameProblem(role.name), 'the name of the role')
    refuse(descriptionProblem(role.description), 'the description of the role')
    return role
  }
  if (type === 'end') return check(endSchema, value)
  if (type !== 'export') throw new RecordError('its type must be export, role, user or end')
  if (version !== formatVersion) throw new RecordError(`its version must be ${formatVersion}`)
  return check(exportSchema, value)
}
