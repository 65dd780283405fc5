import type { FastifyInstance } from 'fastify'
import { newPasswordProblem, passwordPolicyOf, personalPasswordProblem } from '../plugins/passwords/policy.js'
import type { User } from '../plugins/users/user.js'
import type { Config } from '../standalone/config.js'
import { readNewPassword, type Terminal } from './terminal.js'

/**
 * Reads a new password, checks it against the policy and hashes it.
 *
 * @throws {CommandError} the policy rejects the password
 */
export async function hashNewPassword (terminal: Terminal, options: { passwordStdin?: boolean }, services: FastifyInstance, config: Config, owner: Pick<User, 'username' | 'email'>): Promise<string> {
  const policy = passwordPolicyOf(config)
  const password = await readNewPassword(terminal, options, (password) => newPasswordProblem(password, policy) ?? personalPasswordProblem(password, owner))
  return services.passwords.hash(password)
}
