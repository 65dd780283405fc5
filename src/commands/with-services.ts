import Fastify, { type FastifyInstance } from 'fastify'
import registerServices from '../services.js'
import { recommendedParameters } from '../plugins/passwords/stored-hash.js'
import type { Config } from '../standalone/config.js'
import { loadEnvironment } from '../standalone/environment.js'
import type { Role } from '../plugins/roles/role.js'
import type { User } from '../plugins/users/user.js'
import { CommandError, type Terminal } from './terminal.js'

/** What a command needs to be there already; the rest is made, as the server makes it. */
export interface Needs {
  /** The database: who asks for what is in it has mistaken its address. */
  database?: boolean
  /** The server's SECRET_KEY: what another one signs is worth nothing. */
  secretKey?: boolean
}

/** Commands deal with everything at once, and nobody waits for their answer. */
const statementTimeoutMs = 600_000

/**
 * Does something with Latchkey's capabilities, without HTTP, and gives everything back.
 *
 * @throws {ConfigError} a setting is wrong
 * @throws {StoreError} the database cannot be opened
 */
export async function withServices (terminal: Terminal, { database = false, secretKey = false }: Needs, work: (services: FastifyInstance, config: Config) => Promise<void>): Promise<void> {
  const { config, isSecretKeyNew, warnings } = loadEnvironment(terminal.env, terminal.dotEnvPath, { keepsKey: !database, mustHaveKey: secretKey })
  for (const warning of warnings) terminal.stderr.write(`latchkey: warning: ${warning}\n`)
  if (isSecretKeyNew) terminal.stderr.write('there was no SECRET_KEY: a new one was made and kept in .env\n')
  const services = Fastify({ pluginTimeout: 0 })
  try {
    await services.register(registerServices, { ...config, databaseMustExist: database, auditSource: 'cli', hashParameters: recommendedParameters, now: Date.now, databaseStatementTimeoutMs: statementTimeoutMs })
    await work(services, config)
  } finally {
    await services.close()
  }
}

/** @throws {CommandError} nobody has that username */
export async function findUser (services: FastifyInstance, username: string): Promise<User> {
  const user = await services.users.find(username)
  if (user === undefined) throw new CommandError(`there is no user ${printable(username)}`)
  return user
}

/** @throws {CommandError} there is no such role */
export async function requireRoleNamed (services: FastifyInstance, name: Role['name']): Promise<void> {
  if (!(await services.roles.has(name))) throw new CommandError(`there is no role ${printable(name)}`)
}

/** What was typed, as it can be repeated on one line. */
export function printable (argument: string): string {
  return /^[\x21-\x7e]{1,64}$/.test(argument) ? argument : 'of that name'
}
