import { createReadStream, rmSync, createWriteStream } from 'node:fs'
import { Readable, type Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Command } from 'commander'
import type { FastifyInstance } from 'fastify'
import { isConflict } from '../../database/errors.js'
import { parseNdjson } from './ndjson.js'
import { errorMessage, isNodeError } from '../../lib/error-code.js'
import { openNewFile } from '../../lib/new-file.js'
import { type LatchkeyRecord, parseRecord, RecordError, type RoleRecord, type UserRecord } from './format.js'
import { usernameProblem } from '../../plugins/users/username.js'
import transfer, { emailKeyOf, type Conflicts, usernameKeyOf } from './repository.js'
import { withServices } from '../with-services.js'
import { CommandError, print, say, type Terminal } from '../terminal.js'

/** A record and the line where it stands. */
interface Placed<R> { line: number, record: R }

/** What an import brings. */
interface Import {
  roles: Array<Placed<RoleRecord>>
  users: Array<Placed<UserRecord>>
  lastUserId: number
}

const lineError = (line: number, problem: string) => new CommandError(`line ${line}: ${problem}; nothing was imported`)

/** Reads and checks every line before anything is written. */
async function readImport (stream: Readable): Promise<Import> {
  const found: Import = { roles: [], users: [], lastUserId: 0 }
  // What begins as an export has an end, which says how much there was, and holds accounts
  // of ours: those of before keep their names.
  let isCut = false
  let isExport = false
  for await (const { number, text } of parseNdjson(stream)) {
    if (text === undefined) throw lineError(number, 'it is too long, or not UTF-8')
    try {
      const record = parseRecord(text)
      if (record.type === 'user') {
        const problem = isExport ? undefined : usernameProblem(record.username)
        if (problem !== undefined) throw new RecordError(`the username ${problem}`)
        found.users.push({ line: number, record })
      } else if (record.type === 'role') found.roles.push({ line: number, record })
      else if (record.type === 'end') isCut = record.users !== found.users.length || record.roles !== found.roles.length
      else {
        found.lastUserId = Math.max(found.lastUserId, record.last_user_id ?? 0)
        isCut = isExport = true
      }
    } catch (error) {
      throw lineError(number, errorMessage(error))
    }
  }
  if (isCut) throw new CommandError('the export is not whole, its end is missing: nothing was imported')
  return found
}

/** What must be there once: where each value stands first, by what it is. */
function rejectRepeated ({ roles, users }: Import): void {
  const places = new Map<string, number>()
  const place = (line: number, what: string, value: string | number | null | undefined) => {
    if (value === null || value === undefined) return
    const key = `${what} ${value}`
    const first = places.get(key)
    if (first !== undefined) throw lineError(line, `the ${what} stands on line ${first} already`)
    places.set(key, line)
  }
  for (const { line, record } of roles) place(line, 'role', record.name)
  for (const { line, record } of users) {
    place(line, 'id', record.id)
    place(line, 'username', usernameKeyOf(record))
    place(line, 'email', emailKeyOf(record))
    for (const { id } of record.tokens ?? []) place(line, 'id of a token', id)
  }
}

/** What the database has already stays: nobody's account is overwritten, and nobody gets the id, and with it the audit log, of somebody who was deleted. */
function rejectConflicts ({ users }: Import, taken: Conflicts): void {
  for (const { line, record } of users) {
    if (taken.usernameKeys.has(usernameKeyOf(record))) throw lineError(line, 'username already taken')
    if (taken.emailKeys.has(String(emailKeyOf(record)))) throw lineError(line, 'email already signed-up')
    if (record.id !== undefined && record.id <= taken.lastUserId) throw lineError(line, `the id ${record.id} was given before: leave it out, or import into a new database`)
    if (record.tokens?.some(({ id }) => taken.tokenIds.has(id)) === true) throw lineError(line, 'a token has the id of another')
  }
}

async function rejectUnknownRoles (services: FastifyInstance, { roles, users }: Import): Promise<void> {
  const known = new Set([...await services.roles.list(), ...roles.map(({ record }) => record)].map(({ name }) => name))
  for (const { line, record } of users) {
    if (record.roles?.some((name) => !known.has(name)) === true) throw lineError(line, 'it has a role that is not there')
  }
}

async function importInto (services: FastifyInstance, found: Import): Promise<void> {
  await services.register(transfer)
  const users = found.users.map(({ record }) => record)
  await rejectUnknownRoles(services, found)
  rejectConflicts(found, await services.transfer.findConflicts(users))
  try {
    await services.transfer.write(found.roles.map(({ record }) => record), users, found.lastUserId)
    services.audit.record({ kind: 'import', detail: `${users.length} users` })
  } catch (error) {
    if (isConflict(error)) throw new CommandError('the database has changed meanwhile: nothing was imported, try again')
    throw error
  }
}

async function * asText (records: AsyncIterable<LatchkeyRecord>): AsyncGenerator<string> {
  for await (const record of records) yield `${JSON.stringify(record)}\n`
}

/** A new file that nobody else can read: whoever has the hashes can guess the passwords. */
function newFile (path: string): Writable {
  try {
    return createWriteStream(path, { fd: openNewFile(path) })
  } catch (error) {
    throw new CommandError(`${path} cannot be made: ${errorMessage(error)}`)
  }
}

/** Writes to a file, of which nothing is left when it cannot be finished, or to standard output. */
async function exportFrom (services: FastifyInstance, path: string | undefined, { stdout }: Terminal): Promise<void> {
  await services.register(transfer)
  const target = path === undefined ? stdout : newFile(path)
  try {
    await pipeline(Readable.from(asText(services.transfer.read())), target, { end: path !== undefined })
    services.audit.record({ kind: 'export' })
  } catch (error) {
    if (path !== undefined) rmSync(path)
    if (isNodeError(error) && error.syscall === 'write') throw new CommandError(`the export could not be written: ${errorMessage(error)}`)
    throw error
  }
}

/** `latchkey export`, `latchkey import` */
export function transferCommands (program: Command, terminal: Terminal): void {
  program.command('export').argument('[file]', 'a new file; standard output by default')
    .description('write every account, role and living token down, to move to another database')
    .action(async (path?: string) => {
      await withServices(terminal, { database: true }, (services) => exportFrom(services, path, terminal))
      if (path !== undefined) say(terminal, `exported to ${path}: keep it secret, the password hashes are in it`)
    })

  program.command('import').argument('[file]', 'what was exported; standard input by default')
    .description('add accounts, roles and tokens, all of them or none')
    .option('--json', 'print a record')
    .action(async (path: string | undefined, options: { json?: boolean }) => {
      const found = await readImport(path === undefined ? terminal.stdin : createReadStream(path)).catch((error: unknown) => {
        if (!isNodeError(error) || error.syscall === undefined) throw error
        throw new CommandError(`${path} cannot be read: ${errorMessage(error)}`)
      })
      rejectRepeated(found)
      const tokens = found.users.reduce((sum, { record }) => sum + (record.tokens ?? []).length, 0)
      // Tokens are worth something only where the key is known that signed them.
      await withServices(terminal, { secretKey: tokens > 0 }, (services) => importInto(services, found))
      const count = { users: found.users.length, roles: found.roles.length, tokens }
      print(terminal, options, count, `imported ${count.users} users, ${count.roles} roles and ${count.tokens} tokens`)
    })
}
