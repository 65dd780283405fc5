import type { Command } from 'commander'
import { printableUrl } from '../database/urls.js'
import { createSecretKey } from '../lib/secret-key.js'
import { withServices } from './with-services.js'
import { ask, CommandError, say, type Terminal } from './terminal.js'

/** `latchkey serve`, `migrate`, `reset-db`, `secret` */
export function serverCommands (program: Command, terminal: Terminal): void {
  program.command('serve').description('start the server')
    // The server is a process of its own kind: it reads its environment and handles its signals itself.
    .action(async () => { await import('../server.js') })

  program.command('migrate').description('bring the database to the present schema; serving does so as well')
    .action(async () => {
      await withServices(terminal, {}, async () => say(terminal, 'the database is up to date'))
    })

  program.command('reset-db').description('delete every account, token and role; the audit trail stays')
    .option('--yes', 'do not ask')
    .action(async ({ yes = false }: { yes?: boolean }) => {
      await withServices(terminal, { database: true }, async (services, { databaseUrl }) => {
        const accounts = await services.users.count()
        if (!yes && await ask(terminal, `Delete ${accounts} accounts in ${printableUrl(databaseUrl)}, with their tokens, and all roles? Type yes: `) !== 'yes') {
          throw new CommandError('nothing was deleted')
        }
        await services.users.deleteAll()
        await services.roles.deleteAll()
        await services.loginFailures.resetAll()
        services.audit.record({ kind: 'reset' })
        say(terminal, 'the database is empty')
      })
    })

  program.command('secret').description('print a fresh SECRET_KEY')
    .action(() => say(terminal, createSecretKey()))
}
