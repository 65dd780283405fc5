import { createReadStream } from 'node:fs'
import type { Command } from 'commander'
import { isNodeError } from '../../lib/error-code.js'
import { describeError } from '../../lib/system-error.js'
import { countOf, printLine, printResult } from '../output.js'
import { CommandError, type Terminal } from '../terminal.js'
import { withServices } from '../with-services.js'
import { writeExport } from './export.js'
import { applyImport, readImport } from './import.js'

/** `latchkey export`, `latchkey import` */
export function transferCommands (program: Command, terminal: Terminal): void {
  program.command('export').argument('[file]', 'the file to create; default: standard output')
    .description('export all accounts, roles and active tokens, to import them into another database')
    .action(async (path?: string) => {
      await withServices(terminal, { database: true }, (services) => writeExport(services, path, terminal))
      if (path !== undefined) await printLine(terminal, `exported to ${path}: keep this file secret, it contains password hashes`)
    })

  program.command('import').argument('[file]', 'an export; default: standard input')
    .description('import accounts, roles and tokens: all of them or none')
    .option('--json', 'print a JSON object')
    .action(async (path: string | undefined, options: { json?: boolean }) => {
      const records = await readImport(path === undefined ? terminal.stdin : createReadStream(path)).catch((error: unknown) => {
        if (!isNodeError(error) || error.syscall === undefined) throw error
        throw new CommandError(`cannot read ${path ?? 'standard input'}: ${describeError(error)}`)
      })
      const tokens = records.users.reduce((sum, { record }) => sum + (record.tokens ?? []).length, 0)
      const hasSecondFactors = records.users.some(({ record }) => record.second_factor != null)
      // Imported tokens are valid only under the key that signed them, second factors only under the one that sealed them.
      await withServices(terminal, { secretKey: tokens > 0 || hasSecondFactors }, (services) => applyImport(services, records))
      const count = { users: records.users.length, roles: records.roles.length, tokens }
      await printResult(terminal, options, count, `imported ${countOf(count.users, 'user')}, ${countOf(count.roles, 'role')} and ${countOf(count.tokens, 'token')}`)
    })
}
