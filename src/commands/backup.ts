import type { Command } from 'commander'
import { loadBackups } from '../database/backups.js'
import { countOf, printResult } from './output.js'
import type { Terminal } from './terminal.js'
import { loadSettings } from './with-services.js'

/** `latchkey backup` */
export function backupCommand (program: Command, terminal: Terminal): void {
  program.command('backup').argument('<file>', 'the file to create').description('copy the SQLite database to a new file, also while the server runs')
    .option('--json', 'print a JSON object')
    .action(async (file: string, options: { json?: boolean }) => {
      const { databaseUrl } = loadSettings(terminal)
      const { backUp } = await loadBackups(databaseUrl, 'use pg_dump --format=custom --schema=latchkey --schema=drizzle, where drizzle.latchkey_migrations is needed too')
      const { bytes, users } = await backUp(databaseUrl, file)
      await printResult(terminal, options, { file, bytes, users }, `backed up ${countOf(users, 'user')} to ${file} (${countOf(bytes, 'byte')}): keep this file secret, it contains password hashes`)
    })
}
