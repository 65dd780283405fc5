import type { Command } from 'commander'
import { printable } from '../lib/printable.js'
import { inviteLifetimeSeconds, inviteMaxLifetimeSeconds, inviteMinLifetimeSeconds } from '../plugins/invites/invite.js'
import { emailProblem } from '../plugins/users/email.js'
import { printableName, requireRole, withServices } from './with-services.js'
import { printLine, printResult } from './output.js'
import { printRecords } from './table.js'
import { CommandError, integerUpTo, rejectInvalid, type Terminal } from './terminal.js'

/** The values of an option that can be repeated. */
const collect = (value: string, before: string[]): string[] => [...before, value]

/** `latchkey invite …` */
export function inviteCommands (program: Command, terminal: Terminal): void {
  const invite = program.command('invite').description('manage invitations')

  invite.command('create').description('create an invitation and print its link, or its code if PUBLIC_URL is not set; it is not mailed')
    .option('--email <address>', 'the only email address that the account can have')
    .option('--role <name>', 'a role that the account gets; repeat it for more', collect, [])
    .option('--expires-in <seconds>', 'the lifetime in seconds', integerUpTo(inviteMaxLifetimeSeconds, inviteMinLifetimeSeconds), inviteLifetimeSeconds)
    .option('--json', 'print a JSON object')
    .action(async (options: { email?: string, role: string[], expiresIn: number, json?: boolean }) => {
      const { email = null, role: roles, expiresIn: lifetimeSeconds } = options
      if (email !== null) rejectInvalid('email', emailProblem(email))
      await withServices(terminal, { database: true }, async (services) => {
        for (const name of roles) await requireRole(services, name)
        if (email !== null && await services.users.isEmailTaken(email)) throw new CommandError(`the email ${printable(email)} is already signed up`)
        const created = await services.invites.create({ email, roles, lifetimeSeconds })
        if (created === undefined) throw new CommandError('there are too many open invitations: delete one first')
        const { id, code, url, expiresAt } = created
        services.audit.record({ kind: 'invitation', detail: `created ${id}` })
        await printResult(terminal, options, { id, code, url, expires_at: expiresAt.toISOString() }, `${url ?? code}\nto sign up: POST /api/v1/signup with "invite": "${code}"`)
      })
    })

  invite.command('list').description('list the open invitations, newest first')
    .option('--json', 'print a JSON array')
    .action(async (options: { json?: boolean }) => {
      await withServices(terminal, { database: true }, async (services) => {
        const records = (await services.invites.list()).map(({ id, email, roles, createdAt, expiresAt }) => ({ id, email, roles, created_at: createdAt.toISOString(), expires_at: expiresAt.toISOString() }))
        await printRecords(terminal, options, { id: 0, email: 0, roles: 0, created_at: 0, expires_at: 0 }, [records], 'there are no open invitations')
      })
    })

  invite.command('delete').argument('<id>', 'the id of the invitation').description('delete an invitation: its code is not valid any longer')
    .action(async (id: string) => {
      await withServices(terminal, { database: true }, async (services) => {
        if (!(await services.invites.delete(id))) throw new CommandError(`there is no invitation ${printableName(id)}`)
        services.audit.record({ kind: 'invitation', detail: `deleted ${id}` })
        await printLine(terminal, `the invitation ${id} was deleted`)
      })
    })
}
