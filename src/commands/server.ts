import type { Command } from 'commander'
import { printableUrl } from '../database/urls.js'
import { createSecretKey } from '../lib/secret-key.js'
import { withServices } from './with-services.js'
import { countOf, printLine } from './output.js'
import { confirm, integerUpTo, type Terminal } from './terminal.js'

/** `latchkey serve`, `migrate`, `reset-db`, `secret` */
export function serverCommands (program: Command, terminal: Terminal): void {
  program.command('serve').description('start the server')
    .option('--port <number>', 'the port to listen on, instead of PORT', integerUpTo(65_535, 0))
    .action(async ({ port }: { port?: number }) => {
      if (port !== undefined) terminal.env.PORT = String(port)
      await terminal.serve()
    })

  program.command('migrate').description('update the database schema; serve does this as well')
    .action(async () => {
      await withServices(terminal, {}, () => printLine(terminal, 'the database is up to date'))
    })

  program.command('reset-db').description('delete all accounts, tokens, roles and codes; the audit log is kept')
    .option('--yes', 'skip the confirmation')
    .action(async ({ yes = false }: { yes?: boolean }) => {
      await withServices(terminal, { database: true }, async (services, { databaseUrl }) => {
        const accounts = await services.users.count()
        if (!yes) await confirm(terminal, `Delete ${countOf(accounts, 'account')} in ${printableUrl(databaseUrl)} with all tokens, and all roles and codes?`, 'nothing was deleted')
        await services.users.deleteAll()
        await services.codes.deleteAll()
        await services.roles.deleteAll()
        await services.codes.deleteAll()
        await services.loginFailures.resetAll()
        services.audit.record({ kind: 'reset' })
        await printLine(terminal, 'the database is empty')
      })
    })

  program.command('secret').description('print a new random SECRET_KEY')
    .action(() => printLine(terminal, createSecretKey()))
}
