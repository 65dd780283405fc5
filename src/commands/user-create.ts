import { type Command, Option } from 'commander'
import { printable } from '../lib/printable.js'
import { createNoPassword } from '../plugins/passwords/stored-hash.js'
import { adminRole } from '../plugins/roles/role-name.js'
import { emailProblem } from '../plugins/users/email.js'
import { usernameProblem } from '../plugins/users/username.js'
import { emailOfAccount, usernameAddressProblem } from '../plugins/users/username-address.js'
import { hashNewPassword } from './new-password.js'
import { printResult } from './output.js'
import { CommandError, rejectInvalid, type Terminal } from './terminal.js'
import { resetRecord, resetText, startReset } from './user-reset.js'
import { userRecord } from './user-record.js'
import { withServices } from './with-services.js'

interface CreateOptions { email?: string, admin?: boolean, password: boolean, passwordStdin?: boolean, json?: boolean }

/** `latchkey user create` */
export function userCreateCommand (user: Command, terminal: Terminal): void {
  user.command('create').argument('<name>', 'the username').description('create an account')
    .option('--email <address>', 'the email address')
    .option('--admin', 'grant the role admin')
    .addOption(new Option('--no-password', 'create it without a password, and print the code with which its owner sets one').conflicts('passwordStdin'))
    .option('--password-stdin', 'read the password from standard input')
    .option('--json', 'print a JSON object')
    .action(async (username: string, options: CreateOptions) => {
      const { email: givenEmail = null, admin = false, password: hasPassword } = options
      rejectInvalid('username', username === '' ? 'is empty' : usernameProblem(username))
      if (givenEmail !== null) rejectInvalid('email', emailProblem(givenEmail))
      rejectInvalid('username', usernameAddressProblem(username, givenEmail))
      const email = emailOfAccount(username, givenEmail)
      await withServices(terminal, {}, async (services, config) => {
        const usernameTaken = `the username ${printable(username)} is already taken`
        if (await services.users.find(username) !== undefined) throw new CommandError(usernameTaken)
        const passwordHash = hasPassword ? await hashNewPassword(terminal, options, services, config, { username, email }) : createNoPassword()
        const created = await services.users.create({ username, email, passwordHash })
        if (created === undefined) throw new CommandError(await services.users.find(username) === undefined ? `the email ${printable(String(email))} is already signed up` : usernameTaken)
        services.audit.record({ kind: hasPassword ? 'signup' : 'user_creation', userId: created.id })
        if (admin) {
          await services.roles.grant(created.id, adminRole)
          services.audit.record({ kind: 'role_change', userId: created.id, detail: `granted ${adminRole}` })
        }
        const record = userRecord({ ...created, secondFactor: false, disabledAt: null, hasPassword }, admin ? [adminRole] : [])
        const text = `user ${created.username} was created with the id ${created.id}${admin ? ' and the role admin' : ''}`
        if (hasPassword) return await printResult(terminal, options, record, text)
        const issued = await startReset(services, created)
        await printResult(terminal, options, { ...record, ...resetRecord(issued) }, `${text}\n${resetText(created, issued)}`)
      })
    })
}
