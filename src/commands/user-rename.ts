import type { Command } from 'commander'
import { printable } from '../lib/printable.js'
import { usernameProblem } from '../plugins/users/username.js'
import { usernameAddressProblem } from '../plugins/users/username-address.js'
import { printLine } from './output.js'
import { CommandError, rejectInvalid, type Terminal } from './terminal.js'
import { findUser, withServices } from './with-services.js'

/** `latchkey user rename` */
export function userRenameCommand (user: Command, terminal: Terminal): void {
  user.command('rename').argument('<name>', 'the username').argument('<new-name>', 'the new username').description('change a username')
    .action(async (username: string, newUsername: string) => {
      rejectInvalid('username', newUsername === '' ? 'is empty' : usernameProblem(newUsername))
      await withServices(terminal, { database: true }, async (services) => {
        const found = await findUser(services, username)
        rejectInvalid('username', usernameAddressProblem(newUsername, found.email))
        if (!(await services.users.rename(found.id, newUsername))) {
          // Another message where it was deleted concurrently.
          await findUser(services, username)
          // An account without an email gets the address.
          const isEmailTaken = newUsername.includes('@') && await services.users.isEmailTaken(newUsername, found.id)
          throw new CommandError(isEmailTaken ? `the email ${printable(newUsername)} is already signed up` : `the username ${printable(newUsername)} is already taken`)
        }
        services.audit.record({ kind: 'username_change', userId: found.id })
        await printLine(terminal, `user ${found.username} is now ${newUsername}`)
      })
    })
}
