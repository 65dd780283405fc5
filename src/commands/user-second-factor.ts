import type { Command } from 'commander'
import { secondFactorChangedMail } from '../plugins/mail/messages.js'
import { notifyOwner } from '../plugins/mail/notes.js'
import { printLine } from './output.js'
import type { Terminal } from './terminal.js'
import { findUser, withServices } from './with-services.js'

/** `latchkey user second-factor off` */
export function userSecondFactorCommand (user: Command, terminal: Terminal): void {
  const secondFactor = user.command('second-factor').description('manage the second factor of an account').enablePositionalOptions()

  secondFactor.command('off').argument('<name>', 'the username').description('switch the second factor off, for a user who lost it: the password alone logs in')
    .action(async (username: string) => {
      await withServices(terminal, { database: true }, async (services) => {
        const found = await findUser(services, username)
        if (!(await services.secondFactor.switchOff(found.id))) return await printLine(terminal, `user ${found.username} has no second factor`)
        services.audit.record({ kind: 'second_factor_change', userId: found.id, detail: 'disabled' })
        notifyOwner(services, found, (recipient) => secondFactorChangedMail(recipient, 'disabled'))
        await printLine(terminal, `the second factor of user ${found.username} is off`)
      })
    })
}
