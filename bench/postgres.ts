import { chmodSync } from 'node:fs'
import { join } from 'node:path'
import { embeddedPostgres } from '../test/embedded-postgres.js'
import { freePort } from '../test/free-port.js'
import { stopAtExit, temporaryFolder } from './cleanup.js'

/** Starts PostgreSQL with default settings until this process exits, and returns the URL of an empty database. */
export async function startPostgres (): Promise<string> {
  const port = await freePort()
  const folder = temporaryFolder()
  // The postgres user must have access to the folder.
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
  // The package leaves a file in TMPDIR when it is interrupted: this folder is removed at exit.
  const { TMPDIR } = process.env
  process.env.TMPDIR = folder
  await server.initialise()
  if (TMPDIR === undefined) delete process.env.TMPDIR
  else process.env.TMPDIR = TMPDIR
  stopAtExit(() => server.stop())
  await server.start().catch(() => { throw new Error(`PostgreSQL does not start: ${printed.join('')}`) })
  return `postgres://latchkey:latchkey@127.0.0.1:${port}/postgres`
}
