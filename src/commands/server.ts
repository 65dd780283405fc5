import type { Command } from 'commander'
import { printableUrl } from '../database/urls.js'
import { createSecretKey } from '../lib/secret-key.js'
import { withServices } from './with-services.js'
import { prompt, CommandError, printLine, type Terminal } from './terminal.js'

/** `latchkey serve`, `migrate`, `reset-db`, `secret` */
export function serverCommands (program: Command, terminal: Terminal): void {
  program.command('serve').description('start the server')
    // The server module reads the environment and handles signals itself.
    .action(async () => { await import('../server.js') })

  program.command('migrate').description('update the database schema; serve does this as well')
    .action(async () => {
      await withServices(terminal, {}, async () => printLine(terminal, 'the database is up to date'))
    })

  program.command('reset-db').description('delete all accounts, tokens and roles; the audit log is kept')
    .option('--yes', 'skip the confirmation')
    .action(async ({ yes = false }: { yes?: boolean }) => {
      await withServices(terminal, { database: true }, async (services, { databaseUrl }) => {
        const accounts = await services.users.count()
        if (!yes && await prompt(terminal, `Delete ${accounts} accounts in ${printableUrl(databaseUrl)} with their tokens, and all roles? Type yes: `) !== 'yes') {
          throw new CommandError('nothing was deleted')
        }
        await services.users.deleteAll()
        await services.roles.deleteAll()
        await services.loginFailures.resetAll()
        services.audit.record({ kind: 'reset' })
        printLine(terminal, 'the database is empty')
      })
    })

  program.command('secret').description('print a new random SECRET_KEY')
    .action(() => printLine(terminal, createSecretKey()))
}
