import type { Command } from 'commander'
import { descriptionProblem } from '../lib/single-line.js'
import { adminRole, roleNameProblem } from '../plugins/roles/role-name.js'
import { findUser, printable, requireRoleNamed, withServices } from './with-services.js'
import { CommandError, print, refuse, say, table, type Terminal } from './terminal.js'

/** `latchkey role …` */
export function roleCommands (program: Command, terminal: Terminal): void {
  const role = program.command('role').description('roles, and who has them')

  role.command('grant').argument('<user>', 'the username').argument('<role>', 'the name of the role').description('give a role to a user')
    .action(async (username: string, name: string) => {
      await withServices(terminal, { database: true }, async (services) => {
        const user = await findUser(services, username)
        await requireRoleNamed(services, name)
        await services.roles.grant(user.id, name)
        services.audit.record({ kind: 'role_change', userId: user.id, detail: `granted ${name}` })
        say(terminal, `user ${user.username} has the role ${name}`)
      })
    })

  role.command('revoke').argument('<user>', 'the username').argument('<role>', 'the name of the role').description('take a role from a user')
    .action(async (username: string, name: string) => {
      await withServices(terminal, { database: true }, async (services) => {
        const user = await findUser(services, username)
        await requireRoleNamed(services, name)
        if (!(await services.roles.revoke(user.id, name))) throw new CommandError(`user ${user.username} is the last admin: make another one first`)
        services.audit.record({ kind: 'role_change', userId: user.id, detail: `revoked ${name}` })
        say(terminal, `user ${user.username} does not have the role ${name}`)
      })
    })

  role.command('list').description('list all roles')
    .option('--json', 'print an array of records')
    .action(async (options: { json?: boolean }) => {
      await withServices(terminal, { database: true }, async (services) => {
        const roles = await services.roles.list()
        print(terminal, options, roles, table(roles.map((role) => ({ ...role }))))
      })
    })

  role.command('create').argument('<role>', 'the name of the role').description('make a role')
    .requiredOption('--description <text>', 'what it allows')
    .option('--json', 'print a record')
    .action(async (name: string, options: { description: string, json?: boolean }) => {
      const { description } = options
      refuse('name of the role', name === '' ? 'is empty' : roleNameProblem(name))
      refuse('description', descriptionProblem(description))
      await withServices(terminal, {}, async (services) => {
        const created = await services.roles.create({ name, description })
        if (created === undefined) throw new CommandError(`there is a role ${name} already`)
        services.audit.record({ kind: 'role_change', detail: `created ${name}` })
        print(terminal, options, created, `role ${name} was made`)
      })
    })

  role.command('delete').argument('<role>', 'the name of the role').description('delete a role, and take it from everybody')
    .action(async (name: string) => {
      if (name === adminRole) throw new CommandError('the role admin cannot be deleted')
      await withServices(terminal, { database: true }, async (services) => {
        if (!(await services.roles.delete(name))) throw new CommandError(`there is no role ${printable(name)}`)
        services.audit.record({ kind: 'role_change', detail: `deleted ${name}` })
        say(terminal, `role ${name} was deleted`)
      })
    })
}
