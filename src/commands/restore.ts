import type { Command } from 'commander'
import { loadBackups } from '../database/backups.js'
import type { EventKind } from '../plugins/audit/event.js'
import { countOf, printResult } from './output.js'
import { confirm, type Terminal } from './terminal.js'
import { loadSettings } from './with-services.js'

interface Options { yes?: boolean, keepTokens?: boolean, json?: boolean }

async function restoreBackup (terminal: Terminal, backup: string, options: Options): Promise<void> {
  const { yes = false, keepTokens = false } = options
  const { databaseUrl, auditRetentionDays } = loadSettings(terminal)
  const { restore } = await loadBackups(databaseUrl, 'use pg_restore --clean --if-exists, while no server runs')
  const { file, users, revokedTokens, deletedCodes, previous, wasDamaged } = await restore(databaseUrl, backup, {
    keepTokens,
    event: auditRetentionDays === 0 ? undefined : { time: new Date(), kind: 'restore' satisfies EventKind, outcome: 'success', source: 'cli' },
    async confirm (database, count) {
      if (!yes) await confirm(terminal, `Replace the database ${database} by ${backup}, which has ${countOf(count, 'user')}?`, 'nothing was restored')
    }
  })
  if (wasDamaged) terminal.stderr.write('latchkey: warning: the previous database was damaged: it was moved, and the last ids of its users may not be known. A server that is running must be started again\n')
  const record = { file, users, revoked_tokens: revokedTokens, deleted_codes: deletedCodes, previous: previous ?? null }
  const sentences = [`restored ${countOf(users, 'user')} from ${backup}`, keepTokens ? 'its tokens are valid again' : 'all tokens were revoked', ...previous === undefined ? [] : [`the previous database is ${previous}`]]
  await printResult(terminal, options, record, sentences.join('; '))
}

/** `latchkey restore` */
export function restoreCommand (program: Command, terminal: Terminal): void {
  program.command('restore').argument('<file>', 'a file that backup has created').description('replace the SQLite database by a backup, also while the server runs; the present one is kept next to it')
    .option('--yes', 'skip the confirmation')
    .option('--keep-tokens', 'keep the tokens and codes of the backup, which may have been revoked or used since')
    .option('--json', 'print a JSON object')
    .action((file: string, options: Options) => restoreBackup(terminal, file, options))
}
