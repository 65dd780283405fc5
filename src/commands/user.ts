import type { Command } from 'commander'
import type { FastifyInstance } from 'fastify'
import { emailProblem } from '../plugins/users/email.js'
import type { Config } from '../standalone/config.js'
import { newPasswordProblem, personalPasswordProblem } from '../plugins/passwords/policy.js'
import { adminRole } from '../plugins/roles/role-name.js'
import { usernameProblem } from '../plugins/users/username.js'
import type { User } from '../plugins/users/user.js'
import { findUser, withServices } from './with-services.js'
import { CommandError, newPassword, print, refuse, say, table, type Terminal } from './terminal.js'

interface PasswordOptions { passwordStdin?: boolean }
interface JsonOptions { json?: boolean }

/** Asks for a password that the policy allows, and hashes it. */
async function hashNewPassword (terminal: Terminal, options: PasswordOptions, services: FastifyInstance, config: Config, owner: Pick<User, 'username' | 'email'>): Promise<string> {
  const password = await newPassword(terminal, options)
  refuse('password', newPasswordProblem(password, { minLength: config.passwordMinLength, blocklist: config.passwordBlocklist === 'on' }))
  refuse('password', personalPasswordProblem(password, owner))
  return services.passwords.hash(password)
}

function record ({ id, username, email, createdAt }: User, roles: string[]) {
  return { id, username, email, created_at: createdAt.toISOString(), roles }
}

/** `latchkey user …` */
export function userCommands (program: Command, terminal: Terminal): void {
  const user = program.command('user').description('accounts')

  user.command('create').argument('<name>', 'the username').description('make an account')
    .option('--email <address>', 'its email address')
    .option('--admin', 'give it the role admin')
    .option('--password-stdin', 'read the password from standard input')
    .option('--json', 'print a record')
    .action(async (username: string, options: PasswordOptions & JsonOptions & { email?: string, admin?: boolean }) => {
      const { email = null, admin = false } = options
      refuse('username', username === '' ? 'is empty' : usernameProblem(username))
      if (email !== null) refuse('email', emailProblem(email))
      await withServices(terminal, {}, async (services, config) => {
        if (await services.users.find(username) !== undefined) throw new CommandError('username already taken')
        const passwordHash = await hashNewPassword(terminal, options, services, config, { username, email })
        const created = await services.users.create({ username, email, passwordHash })
        if (created === undefined) throw new CommandError(await services.users.find(username) === undefined ? 'email already signed-up' : 'username already taken')
        services.audit.record({ kind: 'signup', userId: created.id })
        if (admin) {
          await services.roles.grant(created.id, adminRole)
          services.audit.record({ kind: 'role_change', userId: created.id, detail: `granted ${adminRole}` })
        }
        print(terminal, options, record(created, admin ? [adminRole] : []), `user ${created.username} was made, with the id ${created.id}${admin ? ' and the role admin' : ''}`)
      })
    })

  user.command('list').description('list all accounts')
    .option('--json', 'print an array of records')
    .action(async (options: JsonOptions) => {
      await withServices(terminal, { database: true }, async (services) => {
        const roles = await services.roles.ofAll()
        const records = (await services.users.list()).map((each) => record(each, roles.get(each.id) ?? []))
        print(terminal, options, records, records.length === 0 ? 'there are no users' : table(records.map((each) => ({ ...each, roles: each.roles.join(', ') }))))
      })
    })

  user.command('show').argument('<name>', 'the username').description('show an account')
    .option('--json', 'print a record')
    .action(async (username: string, options: JsonOptions) => {
      await withServices(terminal, { database: true }, async (services) => {
        const found = await findUser(services, username)
        const shown = { ...record(found, await services.roles.ofUser(found.id)), tokens: (await services.tokens.list(found.id)).length }
        print(terminal, options, shown, Object.entries(shown).map(([name, value]) => `${name}: ${[value].flat().join(', ')}`).join('\n'))
      })
    })

  user.command('delete').argument('<name>', 'the username').description('delete an account and all that hangs on it')
    .action(async (username: string) => {
      await withServices(terminal, { database: true }, async (services) => {
        const found = await findUser(services, username)
        if (!(await services.users.delete(found.id))) throw new CommandError(`user ${found.username} is the last admin: make another one first`)
        services.audit.record({ kind: 'deletion', userId: found.id })
        say(terminal, `user ${found.username} was deleted`)
      })
    })

  user.command('set-password').argument('<name>', 'the username').description('set another password, and log the user out everywhere')
    .option('--password-stdin', 'read the password from standard input')
    .action(async (username: string, options: PasswordOptions) => {
      await withServices(terminal, { database: true }, async (services, config) => {
        const found = await findUser(services, username)
        const passwordHash = await hashNewPassword(terminal, options, services, config, found)
        await services.users.replacePassword(found.id, passwordHash)
        await services.loginFailures.deleteNetworks(found.id)
        await services.loginFailures.reset(found.username)
        services.audit.record({ kind: 'password_change', userId: found.id })
        say(terminal, `user ${found.username} has another password, and is logged out everywhere`)
      })
    })

  user.command('logout').argument('<name>', 'the username').description('take all tokens of an account back')
    .action(async (username: string) => {
      await withServices(terminal, { database: true }, async (services) => {
        const found = await findUser(services, username)
        await services.tokens.revokeAll(found.id)
        services.audit.record({ kind: 'revocation', userId: found.id, detail: 'all' })
        say(terminal, `user ${found.username} is logged out everywhere`)
      })
    })

  user.command('unlock').argument('<name>', 'the username').description('let a user log in at once who has to wait after failed logins')
    .action(async (username: string) => {
      await withServices(terminal, { database: true }, async (services) => {
        const found = await findUser(services, username)
        const hasFailures = await services.loginFailures.reset(found.username)
        if (hasFailures) services.audit.record({ kind: 'unlock', userId: found.id })
        say(terminal, hasFailures ? `the failed logins of user ${found.username} are forgotten` : `user ${found.username} has no failed logins`)
      })
    })
}
