import type { Command } from 'commander'
import { resetPassword } from '../plugins/passwords/reset-password.js'
import { hashNewPassword } from './new-password.js'
import { countOf, printLine, printResult } from './output.js'
import { CommandError, confirm, type Terminal } from './terminal.js'
import { userCreateCommand } from './user-create.js'
import { userEmailCommand } from './user-email.js'
import { userListCommand } from './user-list.js'
import { findState, userRecord } from './user-record.js'
import { userRenameCommand } from './user-rename.js'
import { userResetCommand } from './user-reset.js'
import { userStateCommands } from './user-state.js'
import { findUser, withServices } from './with-services.js'

interface PasswordOptions { passwordStdin?: boolean }
interface JsonOptions { json?: boolean }

/** `latchkey user …` */
export function userCommands (program: Command, terminal: Terminal): void {
  const user = program.command('user').description('manage accounts')

  userCreateCommand(user, terminal)
  userListCommand(user, terminal)

  user.command('show').argument('<name>', 'the username').description('show an account')
    .option('--json', 'print a JSON object')
    .action(async (username: string, options: JsonOptions) => {
      await withServices(terminal, { database: true }, async (services) => {
        const found = await findUser(services, username)
        const shown = { ...userRecord({ ...found, ...await findState(services, found) }, await services.roles.ofUser(found.id)), tokens: (await services.tokens.list(found.id)).length }
        await printResult(terminal, options, shown, Object.entries(shown).map(([name, value]) => `${name}: ${[value].flat().join(', ')}`).join('\n'))
      })
    })

  user.command('delete').argument('<name>', 'the username').description('delete an account and its data')
    .option('--yes', 'skip the confirmation')
    .action(async (username: string, { yes = false }: { yes?: boolean }) => {
      await withServices(terminal, { database: true }, async (services) => {
        const found = await findUser(services, username)
        const lastAdmin = `user ${found.username} is the last admin: grant the role admin to another user first`
        if (await services.roles.isLastAdmin(found.id)) throw new CommandError(lastAdmin)
        const tokens = await services.tokens.list(found.id)
        if (!yes) await confirm(terminal, `Delete user ${found.username} with ${countOf(tokens.length, 'active token')}?`, 'nothing was deleted')
        if (!(await services.users.delete(found.id))) throw new CommandError(lastAdmin)
        services.audit.record({ kind: 'deletion', userId: found.id })
        await printLine(terminal, `user ${found.username} was deleted`)
      })
    })

  user.command('set-password').argument('<name>', 'the username').description('set a new password and log the user out everywhere')
    .option('--password-stdin', 'read the password from standard input')
    .action(async (username: string, options: PasswordOptions) => {
      await withServices(terminal, { database: true }, async (services, config) => {
        const found = await findUser(services, username)
        const passwordHash = await hashNewPassword(terminal, options, services, config, found)
        await resetPassword(services, found, passwordHash)
        await printLine(terminal, `user ${found.username} has a new password and is logged out everywhere`)
      })
    })

  userResetCommand(user, terminal)

  user.command('logout').argument('<name>', 'the username').description('revoke all tokens of an account')
    .action(async (username: string) => {
      await withServices(terminal, { database: true }, async (services) => {
        const found = await findUser(services, username)
        await services.tokens.revokeAll(found.id)
        services.audit.record({ kind: 'revocation', userId: found.id, detail: 'all' })
        await printLine(terminal, `user ${found.username} is logged out everywhere`)
      })
    })

  user.command('unlock').argument('<name>', 'the username').description('reset the failed logins of a user, who can then log in again at once')
    .action(async (username: string) => {
      await withServices(terminal, { database: true }, async (services) => {
        const found = await findUser(services, username)
        const hasFailures = await services.loginFailures.reset(found.username)
        if (hasFailures) services.audit.record({ kind: 'unlock', userId: found.id })
        await printLine(terminal, hasFailures ? `the failed logins of user ${found.username} are forgotten` : `user ${found.username} has no failed logins`)
      })
    })

  userStateCommands(user, terminal)
  userRenameCommand(user, terminal)
  userEmailCommand(user, terminal)
}
