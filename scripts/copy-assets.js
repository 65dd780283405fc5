// tsc emits code only; the migrations and the data files travel with the build.
import { cpSync } from 'node:fs'

for (const folder of ['database/sqlite/migrations', 'data']) {
  cpSync(`src/${folder}`, `dist/${folder}`, { recursive: true })
}
