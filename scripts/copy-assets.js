// tsc emits code only; the migrations and the data files travel with the build.
import { chmodSync, cpSync } from 'node:fs'

for (const folder of ['database/sqlite/migrations', 'database/postgres/migrations', 'data']) {
  cpSync(`src/${folder}`, `dist/${folder}`, { recursive: true })
}

// npm does this where it installs the package; here the command is run in its place.
chmodSync('dist/cli.js', 0o755)
