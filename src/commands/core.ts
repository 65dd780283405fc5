import Fastify, { type FastifyInstance } from 'fastify'
import capabilities from '../capabilities.js'
import type { Config } from '../config.js'
import { loadEnvironment } from '../environment.js'
import type { Role } from '../plugins/roles.js'
import type { User } from '../plugins/users.js'
import { CommandError, type Terminal } from './terminal.js'

/**
 * Does something with Latchkey's capabilities, without HTTP, and gives everything back.
 *
 * @param mustExist refuses a database that is not there: who asks for what is in it has mistaken its address
 * @throws {ConfigError} a setting is wrong
 * @throws {StoreError} the database cannot be opened
 */
export async function withCore (terminal: Terminal, mustExist: boolean, work: (core: FastifyInstance, config: Config) => Promise<void>): Promise<void> {
  const { config } = loadEnvironment(terminal.env, terminal.dotEnvPath)
  const core = Fastify()
  try {
    await core.register(capabilities, { ...config, databaseMustExist: mustExist })
    await work(core, config)
  } finally {
    await core.close()
  }
}

/** @throws {CommandError} nobody has that username */
export async function findUser (core: FastifyInstance, username: string): Promise<User> {
  const user = await core.users.find(username)
  if (user === undefined) throw new CommandError(`there is no user ${printable(username)}`)
  return user
}

/** @throws {CommandError} there is no such role */
export async function requireRoleNamed (core: FastifyInstance, name: Role['name']): Promise<void> {
  if (!(await core.roles.has(name))) throw new CommandError(`there is no role ${printable(name)}`)
}

/** What was typed, as it can be repeated on one line. */
export function printable (argument: string): string {
  return /^[\x21-\x7e]{1,64}$/.test(argument) ? argument : 'of that name'
}
