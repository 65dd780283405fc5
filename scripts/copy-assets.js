// tsc emits code only; the migrations and the data files travel with the build.
import { chmodSync, cpSync } from 'node:fs'

for (const folder of ['database/sqlite/migrations', 'database/postgres/migrations', 'data']) {
  // The migrator reads the journal; the snapshots are for making the next migration.
  cpSync(`src/${folder}`, `dist/${folder}`, { recursive: true, filter: (source) => !source.endsWith('_snapshot.json') })
}

// npm does this where it installs the package; here the command is run in its place.
chmodSync('dist/cli.js', 0o755)
