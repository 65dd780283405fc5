import type { Command } from 'commander'
import { descriptionProblem } from '../lib/single-line.js'
import { adminRole, roleNameProblem } from '../plugins/roles/role-name.js'
import { findUser, printableName, requireRole, withServices } from './with-services.js'
import { printLine, printResult } from './output.js'
import { printRecords } from './table.js'
import { CommandError, rejectInvalid, type Terminal } from './terminal.js'

/** `latchkey role …` */
export function roleCommands (program: Command, terminal: Terminal): void {
  const role = program.command('role').description('manage roles')

  role.command('grant').argument('<user>', 'the username').argument('<role>', 'the role name').description('grant a role to a user')
    .action(async (username: string, name: string) => {
      await withServices(terminal, { database: true }, async (services) => {
        const user = await findUser(services, username)
        await requireRole(services, name)
        if ((await services.roles.ofUser(user.id)).includes(name)) return await printLine(terminal, `user ${user.username} already has the role ${name}`)
        await services.roles.grant(user.id, name)
        services.audit.record({ kind: 'role_change', userId: user.id, detail: `granted ${name}` })
        await printLine(terminal, `user ${user.username} has the role ${name}`)
      })
    })

  role.command('revoke').argument('<user>', 'the username').argument('<role>', 'the role name').description('revoke a role from a user')
    .action(async (username: string, name: string) => {
      await withServices(terminal, { database: true }, async (services) => {
        const user = await findUser(services, username)
        await requireRole(services, name)
        if (!(await services.roles.ofUser(user.id)).includes(name)) return await printLine(terminal, `user ${user.username} did not have the role ${name}`)
        if (!(await services.roles.revoke(user.id, name))) throw new CommandError(`user ${user.username} is the last admin: grant the role admin to another user first`)
        services.audit.record({ kind: 'role_change', userId: user.id, detail: `revoked ${name}` })
        await printLine(terminal, `user ${user.username} does not have the role ${name}`)
      })
    })

  role.command('list').description('list all roles')
    .option('--json', 'print a JSON array')
    .action(async (options: { json?: boolean }) => {
      await withServices(terminal, { database: true }, async (services) => {
        const roles = await services.roles.list()
        await printRecords(terminal, options, { name: 0, description: 0 }, [roles.map((role) => ({ ...role }))], 'there are no roles')
      })
    })

  role.command('create').argument('<role>', 'the role name').description('create a role')
    .requiredOption('--description <text>', 'what the role allows')
    .option('--json', 'print a JSON object')
    .action(async (name: string, options: { description: string, json?: boolean }) => {
      const { description } = options
      rejectInvalid('role name', name === '' ? 'is empty' : roleNameProblem(name))
      rejectInvalid('description', descriptionProblem(description))
      await withServices(terminal, {}, async (services) => {
        const created = await services.roles.create({ name, description })
        if (created === undefined) throw new CommandError(`the role ${name} already exists`)
        services.audit.record({ kind: 'role_change', detail: `created ${name}` })
        await printResult(terminal, options, created, `role ${name} was created`)
      })
    })

  role.command('delete').argument('<role>', 'the role name').description('delete a role and revoke it from all users')
    .action(async (name: string) => {
      if (name === adminRole) throw new CommandError('the role admin cannot be deleted')
      await withServices(terminal, { database: true }, async (services) => {
        if (!(await services.roles.delete(name))) throw new CommandError(`there is no role ${printableName(name)}`)
        services.audit.record({ kind: 'role_change', detail: `deleted ${name}` })
        await printLine(terminal, `role ${name} was deleted`)
      })
    })
}
