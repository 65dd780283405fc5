import type { Command } from 'commander'
import { printLine } from './output.js'
import { CommandError, type Terminal } from './terminal.js'
import { findState } from './user-record.js'
import { findUser, withServices } from './with-services.js'

/** `latchkey user disable`, `latchkey user enable` */
export function userStateCommands (user: Command, terminal: Terminal): void {
  user.command('disable').argument('<name>', 'the username').description('disable an account: nobody can log in to it, and its tokens are revoked')
    .action(async (username: string) => {
      await withServices(terminal, { database: true }, async (services) => {
        const found = await findUser(services, username)
        const { disabledAt } = await findState(services, found)
        if (!(await services.users.disable(found.id))) {
          // Another message where it was deleted concurrently.
          await findUser(services, username)
          throw new CommandError(`user ${found.username} is the last enabled admin: grant the role admin to another user first`)
        }
        if (disabledAt !== null) return await printLine(terminal, `user ${found.username} was already disabled`)
        services.audit.record({ kind: 'disabling', userId: found.id })
        await printLine(terminal, `user ${found.username} is disabled and logged out everywhere`)
      })
    })

  user.command('enable').argument('<name>', 'the username').description('enable an account that was disabled')
    .action(async (username: string) => {
      await withServices(terminal, { database: true }, async (services) => {
        const found = await findUser(services, username)
        if ((await findState(services, found)).disabledAt === null) return await printLine(terminal, `user ${found.username} was not disabled`)
        await services.users.enable(found.id)
        services.audit.record({ kind: 'enabling', userId: found.id })
        await printLine(terminal, `user ${found.username} is enabled`)
      })
    })
}
