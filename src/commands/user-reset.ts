import type { Command } from 'commander'
import type { FastifyInstance } from 'fastify'
import type { IssuedLink } from '../plugins/codes/issued-link.js'
import { issuePasswordReset, resetLifetimeMaxSeconds, resetLifetimeMinSeconds, resetLifetimeSeconds } from '../plugins/codes/password-reset.js'
import type { User } from '../plugins/users/user.js'
import { printResult } from './output.js'
import { CommandError, integerUpTo, type Terminal } from './terminal.js'
import { findUser, noUser, withServices } from './with-services.js'

/**
 * Creates the code with which a user sets a new password. Older ones are not valid any longer.
 *
 * @throws {CommandError} the user was deleted concurrently
 */
export async function startReset (services: FastifyInstance, { id, username }: Pick<User, 'id' | 'username'>, lifetimeSeconds?: number): Promise<IssuedLink> {
  const issued = await issuePasswordReset(services, id, { lifetimeSeconds })
  if (issued === undefined) throw new CommandError(noUser(username))
  services.audit.record({ kind: 'reset_request', userId: id })
  return issued
}

/** A code with its link as `--json` prints it. */
export function resetRecord ({ code, url, expiresAt }: IssuedLink) {
  return { code, url, expires_at: expiresAt.toISOString() }
}

/** A code as text: its link or, without PUBLIC_URL, the request that uses it. */
export function resetText ({ username }: Pick<User, 'username'>, { code, url, expiresAt }: IssuedLink): string {
  const request = `PUT /api/v1/password-reset ${JSON.stringify({ code, new_password: '…' })}`
  return `user ${username} can set a new password once, until ${expiresAt.toISOString()}, ${url === null ? `with the code ${code}:\n${request}` : `at\n${url}`}`
}

/** `latchkey user reset` */
export function userResetCommand (user: Command, terminal: Terminal): void {
  user.command('reset').argument('<name>', 'the username').description('print the link, or the code, with which the user sets a new password')
    .option('--expires-in <seconds>', 'the lifetime of the code in seconds', integerUpTo(resetLifetimeMaxSeconds, resetLifetimeMinSeconds), resetLifetimeSeconds)
    .option('--json', 'print a JSON object')
    .action(async (username: string, options: { expiresIn: number, json?: boolean }) => {
      await withServices(terminal, { database: true }, async (services) => {
        const found = await findUser(services, username)
        const issued = await startReset(services, found, options.expiresIn)
        await printResult(terminal, options, resetRecord(issued), resetText(found, issued))
      })
    })
}
