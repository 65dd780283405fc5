// tsc emits only code: this copies the migrations and the data files.
import { chmodSync, cpSync } from 'node:fs'

for (const folder of ['database/sqlite/migrations', 'database/postgres/migrations', 'data']) {
  // The migrator needs the journal; only drizzle-kit needs the snapshots.
  cpSync(`src/${folder}`, `dist/${folder}`, { recursive: true, filter: (source) => !source.endsWith('_snapshot.json') })
}

// npm does this on installation; in a clone the command runs from dist.
chmodSync('dist/cli.cjs', 0o755)
