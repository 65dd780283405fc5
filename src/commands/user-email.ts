import type { Command } from 'commander'
import { printable } from '../lib/printable.js'
import { emailProblem } from '../plugins/users/email.js'
import { emailChangeProblem } from '../plugins/users/username-address.js'
import { printLine } from './output.js'
import { CommandError, rejectInvalid, type Terminal } from './terminal.js'
import { findUser, withServices } from './with-services.js'

interface EmailOptions { none?: boolean, verified?: boolean }

/** The email that the arguments name, or null for none. */
function emailOf (address: string | undefined, { none = false, verified = false }: EmailOptions): string | null {
  if (none === (address !== undefined)) throw new CommandError('give either an address or --none')
  if (address !== undefined) rejectInvalid('email', emailProblem(address))
  else if (verified) throw new CommandError('--verified needs an address')
  return address ?? null
}

/** `latchkey user set-email` */
export function userEmailCommand (user: Command, terminal: Terminal): void {
  user.command('set-email').argument('<name>', 'the username').argument('[address]', 'the email address').description('change or remove the email address of an account')
    .option('--none', 'remove the address')
    .option('--verified', 'the address is known to be that of the user: a forgotten password can be reset with it')
    .action(async (username: string, address: string | undefined, options: EmailOptions) => {
      const email = emailOf(address, options)
      const isVerified = options.verified ?? false
      await withServices(terminal, { database: true }, async (services) => {
        const found = await findUser(services, username)
        rejectInvalid('email', emailChangeProblem(found, email))
        if (!(await services.users.setEmail(found.id, email, { isVerified }))) {
          // Another message where it was deleted concurrently.
          await findUser(services, username)
          throw new CommandError(`the email ${printable(String(email))} is already signed up`)
        }
        services.audit.record({ kind: 'email_change', userId: found.id })
        await printLine(terminal, email === null ? `user ${found.username} has no email` : `user ${found.username} has the email ${email}${isVerified ? ', verified' : ''}`)
      })
    })
}
