import { createReadStream } from 'node:fs'
import type { Command } from 'commander'
import { isNodeError } from '../../lib/error-code.js'
import { describeError } from '../../lib/system-error.js'
import { countOf, printLine, printResult } from '../output.js'
import { CommandError, type Terminal } from '../terminal.js'
import { withServices } from '../with-services.js'
import { writeExport } from './export.js'
import { applyImport, countTokens, type ImportCounts, type ImportOptions, readImport } from './import.js'

function importText ({ users, roles, tokens, skipped, without_password: withoutPassword }: ImportCounts, isDryRun: boolean): string {
  return [
    `${isDryRun ? 'would import' : 'imported'} ${countOf(users, 'user')}, ${countOf(roles, 'role')} and ${countOf(tokens, 'token')}`,
    ...withoutPassword === 0 ? [] : [`${withoutPassword} of them without a password`],
    ...skipped === 0 ? [] : [`${countOf(skipped, 'user')} left out because of a username or an email that is taken`]
  ].join('; ')
}

/** `latchkey export`, `latchkey import` */
export function transferCommands (program: Command, terminal: Terminal): void {
  program.command('export').argument('[file]', 'the file to create; default: standard output')
    .description('export all accounts, roles and active tokens, to import them into another database')
    .action(async (path?: string) => {
      await withServices(terminal, { database: true }, (services) => writeExport(services, path, terminal))
      if (path !== undefined) await printLine(terminal, `exported to ${path}: keep this file secret, it contains password hashes`)
    })

  program.command('import').argument('[file]', 'records of accounts, such as an export; default: standard input')
    .description('import accounts, roles and tokens: all of them or none')
    .option('--dry-run', 'check everything, say what would be imported, and write nothing')
    .option('--skip-existing', 'leave out accounts whose username or email is taken in the database')
    .option('--json', 'print a JSON object')
    .action(async (path: string | undefined, options: ImportOptions & { json?: boolean }) => {
      const records = await readImport(path === undefined ? terminal.stdin : createReadStream(path)).catch((error: unknown) => {
        if (!isNodeError(error) || error.syscall === undefined) throw error
        throw new CommandError(`cannot read ${path ?? 'standard input'}: ${describeError(error)}`)
      })
      const { dryRun = false } = options
      // Imported tokens are valid only under the key that signed them, second factors only under the one that sealed them. A dry run creates no database.
      const needsKey = countTokens(records) > 0 || records.users.some(({ record }) => record.second_factor != null)
      await withServices(terminal, { database: dryRun, secretKey: needsKey }, async (services) => {
        const counts = await applyImport(services, records, options)
        await printResult(terminal, options, counts, importText(counts, dryRun))
      })
    })
}
