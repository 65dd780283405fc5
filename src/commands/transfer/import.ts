import type { Readable } from 'node:stream'
import type { FastifyInstance } from 'fastify'
import { isConflict } from '../../database/errors.js'
import { errorMessage } from '../../lib/error-code.js'
import { printable } from '../../lib/printable.js'
import { usernameProblem } from '../../plugins/users/username.js'
import { emailOfAccount, usernameAddressProblem } from '../../plugins/users/username-address.js'
import { countOf } from '../output.js'
import { CommandError } from '../terminal.js'
import { parseRecord, RecordError, type RoleRecord, type UserRecord } from './format.js'
import { parseNdjson } from './ndjson.js'
import transfer, { type Conflicts } from './repository.js'
import { emailKeyOf, usernameKeyOf } from './rows.js'

/** A record and the number of its line, from 1. */
interface NumberedRecord<Item> { line: number, record: Item }

/** The records of an import. */
export interface ImportRecords {
  roles: Array<NumberedRecord<RoleRecord>>
  users: Array<NumberedRecord<UserRecord>>
  /** The highest user id that the exporting database has ever assigned; 0 when unknown. */
  lastUserId: number
}

/** How to import. */
export interface ImportOptions {
  /** Checks everything, and writes nothing. */
  dryRun?: boolean
  /** Leaves out accounts whose username or email is taken in the database. */
  skipExisting?: boolean
}

/** What an import has written, or would write. */
export interface ImportCounts {
  users: number
  roles: number
  tokens: number
  /** Accounts that were left out, because they exist. */
  skipped: number
  /** How many of the imported accounts have no password. */
  without_password: number
}

const lineError = (line: number, problem: string) => new CommandError(`line ${line}: ${problem}; nothing was imported`)

/** What is wrong with a valid record that is not part of an export; `undefined` when nothing is. */
function newUserProblem ({ username, email = null }: UserRecord): string | undefined {
  const problem = usernameProblem(username) ?? usernameAddressProblem(username, email)
  if (problem !== undefined) return `the username ${problem}`
}

/**
 * Reads and checks every line, before anything is written.
 *
 * @throws {CommandError} a line is invalid or repeats another one, or the export is incomplete
 */
export async function readImport (stream: Readable): Promise<ImportRecords> {
  const records: ImportRecords = { roles: [], users: [], lastUserId: 0 }
  // An export has a header and an end record with its counts. Its accounts were created by
  // Latchkey, perhaps before the present rules for usernames: they keep their names.
  let isIncomplete = false
  let isExport = false
  for await (const line of parseNdjson(stream)) {
    const { number } = line
    if (line.text === undefined) throw lineError(number, line.problem)
    try {
      const record = parseRecord(line.text)
      if (record.type === 'user') {
        const { username, email = null } = record
        const problem = isExport ? undefined : newUserProblem(record)
        if (problem !== undefined) throw new RecordError(problem)
        records.users.push({ line: number, record: isExport ? record : { ...record, email: emailOfAccount(username, email) } })
      } else if (record.type === 'role') records.roles.push({ line: number, record })
      else if (record.type === 'end') isIncomplete = record.users !== records.users.length || record.roles !== records.roles.length
      else {
        records.lastUserId = Math.max(records.lastUserId, record.last_user_id ?? 0)
        isIncomplete = isExport = true
      }
    } catch (error) {
      throw lineError(number, errorMessage(error))
    }
  }
  if (isIncomplete) throw new CommandError('the export is incomplete: nothing was imported')
  rejectDuplicates(records)
  return records
}

/** How many tokens the accounts have. */
export function countTokens ({ users }: ImportRecords): number {
  return users.reduce((sum, { record }) => sum + (record.tokens ?? []).length, 0)
}

/** Rejects a name, email or id that two records have. */
function rejectDuplicates ({ roles, users }: ImportRecords): void {
  const firstLines = new Map<string, number>()
  const check = (line: number, name: string, value: string | number | null | undefined, shown: string | number | null = value ?? null) => {
    if (value === null || value === undefined) return
    const key = `${name} ${value}`
    const first = firstLines.get(key)
    if (first !== undefined) throw lineError(line, `the ${name} ${typeof shown === 'string' ? printable(shown) : shown} is already on line ${first}`)
    firstLines.set(key, line)
  }
  for (const { line, record } of roles) check(line, 'role', record.name)
  for (const { line, record } of users) {
    check(line, 'id', record.id)
    check(line, 'username', usernameKeyOf(record), record.username)
    check(line, 'email', emailKeyOf(record), record.email)
    for (const { id } of record.tokens ?? []) check(line, 'token id', id)
    for (const hash of record.second_factor?.recovery_hashes ?? []) check(line, 'recovery code', hash)
  }
}

const hasTakenUsername = (user: UserRecord, { usernameKeys }: Conflicts) => usernameKeys.has(usernameKeyOf(user))
const hasTakenEmail = (user: UserRecord, { emailKeys }: Conflicts) => emailKeys.has(String(emailKeyOf(user)))

/**
 * Rejects records that conflict with rows of the database: an import overwrites no account.
 * It assigns no id of a deleted user either, because the audit log still refers to it.
 */
function rejectConflicts ({ users }: ImportRecords, conflicts: Conflicts): void {
  for (const { line, record } of users) {
    if (hasTakenUsername(record, conflicts)) throw lineError(line, `the username ${printable(record.username)} is already taken`)
    if (hasTakenEmail(record, conflicts)) throw lineError(line, `the email ${printable(String(record.email))} is already signed up`)
    if (record.id !== undefined && record.id <= conflicts.lastUserId) throw lineError(line, `the id ${record.id} was used before: leave it out, or import into a new database`)
    const token = record.tokens?.find(({ id }) => conflicts.tokenIds.has(id))
    if (token !== undefined) throw lineError(line, `the token id ${printable(token.id)} already exists`)
  }
}

/** Rejects second factors that this server could not check: their users could not log in. */
function rejectSealed ({ secondFactor }: FastifyInstance, { users }: ImportRecords): void {
  for (const { line, record } of users) {
    if (record.second_factor == null) continue
    try {
      secondFactor.open(record.second_factor.sealed_secret)
    } catch {
      throw lineError(line, `the second factor of ${printable(record.username)} was sealed with another SECRET_KEY: set SECRET_KEY, or SECRET_KEY_PREVIOUS, to the key of the exporting server, or set second_factor to null`)
    }
  }
}

async function rejectUnknownRoles (services: FastifyInstance, { roles, users }: ImportRecords): Promise<void> {
  const known = new Set([...await services.roles.list(), ...roles.map(({ record }) => record)].map(({ name }) => name))
  for (const { line, record } of users) {
    const missing = record.roles?.find((name) => !known.has(name))
    if (missing !== undefined) throw lineError(line, `there is no role ${printable(missing)}`)
  }
}

/**
 * Writes the records to the database: all of them or none, but for those that the options leave out.
 *
 * @throws {CommandError} a record conflicts with the database, or has an unknown role or a second factor of another key
 */
export async function applyImport (services: FastifyInstance, all: ImportRecords, { dryRun = false, skipExisting = false }: ImportOptions): Promise<ImportCounts> {
  await services.register(transfer)
  const conflicts = await services.transfer.findConflicts(all.users.map(({ record }) => record))
  const exists = (user: UserRecord) => hasTakenUsername(user, conflicts) || hasTakenEmail(user, conflicts)
  const records = skipExisting ? { ...all, users: all.users.filter(({ record }) => !exists(record)) } : all
  rejectSealed(services, records)
  await rejectUnknownRoles(services, records)
  rejectConflicts(records, conflicts)
  const [roles, users] = [records.roles.map(({ record }) => record), records.users.map(({ record }) => record)]
  const counts = {
    users: users.length,
    roles: roles.length,
    tokens: countTokens(records),
    skipped: all.users.length - users.length,
    without_password: users.filter(({ password_hash: hash = null }) => hash === null).length
  }
  if (dryRun) return counts
  try {
    await services.transfer.write(roles, users, records.lastUserId)
    services.audit.record({ kind: 'import', detail: countOf(users.length, 'user') })
  } catch (error) {
    if (isConflict(error)) throw new CommandError('the database changed during the import: nothing was imported, try again')
    throw error
  }
  return counts
}
