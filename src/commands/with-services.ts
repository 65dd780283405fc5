import Fastify, { type FastifyInstance } from 'fastify'
import { printable } from '../lib/printable.js'
import registerServices from '../services.js'
import { recommendedParameters } from '../plugins/passwords/argon2-hash.js'
import type { Config } from '../standalone/config.js'
import { loadEnvironment } from '../standalone/environment.js'
import type { Role } from '../plugins/roles/role.js'
import type { User } from '../plugins/users/user.js'
import { CommandError, type Terminal } from './terminal.js'

/** What must exist before a command runs. Without `database`, a missing database is created, as the server creates it. */
export interface Requirements {
  /** The database: for a command that only reads or changes existing data, a missing database means a wrong address. */
  database?: boolean
  /** The server's SECRET_KEY: the server rejects tokens that another key signed. */
  secretKey?: boolean
}

/** Commands read and write whole tables, and no client waits for them. */
const statementTimeoutMs = 600_000

/**
 * The settings of a command; prints their warnings.
 *
 * @param missingKey what happens when there is no SECRET_KEY
 * @throws {ConfigError} a setting is invalid
 */
export function loadSettings ({ env, dotEnvPath, stderr }: Terminal, missingKey: 'require' | 'ignore' = 'ignore'): Config {
  const { config, warnings } = loadEnvironment(env, dotEnvPath, { missingKey, isOwnFile: false })
  for (const warning of warnings) stderr.write(`latchkey: warning: ${warning}\n`)
  return config
}

/**
 * Runs a command with Latchkey's services, without HTTP, and closes them.
 *
 * @throws {ConfigError} a setting is invalid
 * @throws {StoreError} the database cannot be opened
 */
export async function withServices (terminal: Terminal, { database = false, secretKey = false }: Requirements, run: (services: FastifyInstance, config: Config) => Promise<void>): Promise<void> {
  const config = loadSettings(terminal, secretKey ? 'require' : 'ignore')
  const services = Fastify({ pluginTimeout: 0 })
  try {
    await services.register(registerServices, { ...config, databaseMustExist: database, auditSource: 'cli', hashParameters: recommendedParameters, now: Date.now, databaseStatementTimeoutMs: statementTimeoutMs })
    await run(services, config)
  } finally {
    await services.close()
  }
}

/** The message when a user does not exist. */
export const noUser = (username: string) => `there is no user ${printableName(username)}`

/**
 * Finds a user by username.
 *
 * @throws {CommandError} the user does not exist
 */
export async function findUser (services: FastifyInstance, username: string): Promise<User> {
  const user = await services.users.find(username)
  if (user === undefined) throw new CommandError(noUser(username))
  return user
}

/** @throws {CommandError} the role does not exist */
export async function requireRole (services: FastifyInstance, name: Role['name']): Promise<void> {
  if (!(await services.roles.has(name))) throw new CommandError(`there is no role ${printableName(name)}`)
}

/** An argument for a message of one line: quoted and cut when it has other characters than printable ASCII or is long. */
export function printableName (argument: string): string {
  return /^[\x21-\x7e]{1,64}$/.test(argument) ? argument : printable(argument)
}
