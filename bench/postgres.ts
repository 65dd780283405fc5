import { chmodSync } from 'node:fs'
import { join } from 'node:path'
import { embeddedPostgres, freePort } from '../test/embedded-postgres.js'
import { stopBeforeEnd, temporaryFolder } from './cleanup.js'

/** Starts a PostgreSQL with its default settings, which ends with this process; answers the URL of an empty database on it. */
export async function startPostgres (): Promise<string> {
  const port = await freePort()
  const folder = temporaryFolder()
  // PostgreSQL's own user must get at what is in it.
  chmodSync(folder, 0o755)
  const printed: string[] = []
  const Postgres = await embeddedPostgres(temporaryFolder)
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
