import type { Command } from 'commander'
import { addressProblem } from '../lib/client-network.js'
import { printLine } from './output.js'
import { CommandError, rejectInvalid, type Terminal } from './terminal.js'
import { findUser, withServices } from './with-services.js'

/**
 * Forgets the failed logins of a user.
 *
 * @throws {CommandError} the user does not exist
 */
export async function unlockUser (terminal: Terminal, username: string): Promise<void> {
  await withServices(terminal, { database: true }, async (services) => {
    const found = await findUser(services, username)
    const hasFailures = await services.loginFailures.reset(found.username)
    if (hasFailures) services.audit.record({ kind: 'unlock', userId: found.id })
    await printLine(terminal, hasFailures ? `the failed logins of user ${found.username} are forgotten` : `user ${found.username} has no failed logins`)
  })
}

/** Forgets the attempts of an address, on all servers of the database. */
async function unlockAddress (terminal: Terminal, address: string): Promise<void> {
  rejectInvalid('address', addressProblem(address))
  await withServices(terminal, { database: true }, async (services) => {
    const network = await services.throttle.unlockAddress(address)
    services.audit.record({ kind: 'unlock', detail: network })
    await printLine(terminal, `the failed logins, logins and signups of ${network} are forgotten on every server within about a second`)
  })
}

/** `latchkey unlock` */
export function unlockCommand (program: Command, terminal: Terminal): void {
  program.command('unlock').argument('[name]', 'the username').description('forget the failed logins of a user, or the attempts of an address')
    .option('--address <address>', 'an IPv4 or IPv6 address')
    .action(async (username: string | undefined, { address }: { address?: string }) => {
      if (username !== undefined && address !== undefined) throw new CommandError('unlock a user or an address, not both at once')
      if (username !== undefined) await unlockUser(terminal, username)
      else if (address !== undefined) await unlockAddress(terminal, address)
      else throw new CommandError('name the user to unlock, or the address with --address')
    })
}
