import type { Command } from 'commander'
import { addressProblem } from '../lib/client-network.js'
import { printLine } from './output.js'
import { rejectInvalid, type Terminal } from './terminal.js'
import { withServices } from './with-services.js'

/** Forgets the attempts of an address, on all servers of the database. */
async function unlockAddress (terminal: Terminal, address: string): Promise<void> {
  rejectInvalid('address', addressProblem(address))
  await withServices(terminal, { database: true }, async (services) => {
    const network = await services.throttle.unlockAddress(address)
    services.audit.record({ kind: 'unlock', detail: network })
    await printLine(terminal, `the failed logins, logins, signups and requests for a new password of ${network} are forgotten on every server within about a second`)
  })
}

/** `latchkey unlock` */
export function unlockCommand (program: Command, terminal: Terminal): void {
  program.command('unlock').description('forget the attempts of an address, which can then log in again at once')
    .requiredOption('--address <address>', 'an IPv4 or IPv6 address')
    .action(({ address }: { address: string }) => unlockAddress(terminal, address))
}
