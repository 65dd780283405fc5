import type { Command } from 'commander'
import type { FastifyInstance } from 'fastify'
import { printable } from '../lib/printable.js'
import { emailProblem } from '../plugins/users/email.js'
import type { Config } from '../standalone/config.js'
import { newPasswordProblem, passwordPolicyOf, personalPasswordProblem } from '../plugins/passwords/policy.js'
import { resetPassword } from '../plugins/passwords/reset-password.js'
import { adminRole } from '../plugins/roles/role-name.js'
import { usernameProblem } from '../plugins/users/username.js'
import type { User } from '../plugins/users/user.js'
import { findUser, withServices } from './with-services.js'
import { countOf, printLine, printResult } from './output.js'
import { CommandError, confirm, readNewPassword, rejectInvalid, type Terminal } from './terminal.js'
import { userListCommand } from './user-list.js'
import { userRecord } from './user-record.js'

interface PasswordOptions { passwordStdin?: boolean }
interface JsonOptions { json?: boolean }

/**
 * Reads a new password, checks it against the policy and hashes it.
 *
 * @throws {CommandError} the policy rejects the password
 */
async function hashNewPassword (terminal: Terminal, options: PasswordOptions, services: FastifyInstance, config: Config, owner: Pick<User, 'username' | 'email'>): Promise<string> {
  const policy = passwordPolicyOf(config)
  const password = await readNewPassword(terminal, options, (password) => newPasswordProblem(password, policy) ?? personalPasswordProblem(password, owner))
  return services.passwords.hash(password)
}

/** `latchkey user …` */
export function userCommands (program: Command, terminal: Terminal): void {
  const user = program.command('user').description('manage accounts')

  user.command('create').argument('<name>', 'the username').description('create an account')
    .option('--email <address>', 'the email address')
    .option('--admin', 'grant the role admin')
    .option('--password-stdin', 'read the password from standard input')
    .option('--json', 'print a JSON object')
    .action(async (username: string, options: PasswordOptions & JsonOptions & { email?: string, admin?: boolean }) => {
      const { email = null, admin = false } = options
      rejectInvalid('username', username === '' ? 'is empty' : usernameProblem(username))
      if (email !== null) rejectInvalid('email', emailProblem(email))
      await withServices(terminal, {}, async (services, config) => {
        const usernameTaken = `the username ${printable(username)} is already taken`
        if (await services.users.find(username) !== undefined) throw new CommandError(usernameTaken)
        const passwordHash = await hashNewPassword(terminal, options, services, config, { username, email })
        const created = await services.users.create({ username, email, passwordHash })
        if (created === undefined) throw new CommandError(await services.users.find(username) === undefined ? `the email ${printable(String(email))} is already signed up` : usernameTaken)
        services.audit.record({ kind: 'signup', userId: created.id })
        if (admin) {
          await services.roles.grant(created.id, adminRole)
          services.audit.record({ kind: 'role_change', userId: created.id, detail: `granted ${adminRole}` })
        }
        await printResult(terminal, options, userRecord(created, admin ? [adminRole] : []), `user ${created.username} was created with the id ${created.id}${admin ? ' and the role admin' : ''}`)
      })
    })

  userListCommand(user, terminal)

  user.command('show').argument('<name>', 'the username').description('show an account')
    .option('--json', 'print a JSON object')
    .action(async (username: string, options: JsonOptions) => {
      await withServices(terminal, { database: true }, async (services) => {
        const found = await findUser(services, username)
        const shown = { ...userRecord(found, await services.roles.ofUser(found.id)), tokens: (await services.tokens.list(found.id)).length }
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
}
