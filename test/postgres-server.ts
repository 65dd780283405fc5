import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import type { Test } from 'tap'
import { openStore as open } from '../src/database/open.js'
import type { Store, StoreOptions } from '../src/database/store.js'
import { embeddedPostgres } from './embedded-postgres.js'
import { freePort } from './free-port.js'
import { endWithUs, removeWithUs } from './reaper.js'

/** Opens a store with the defaults of the settings, but for what is said. */
export async function openStore (url: string, options: Partial<StoreOptions> = {}): Promise<Store> {
  return await open(url, { poolSize: 10, connectTimeoutMs: 2_000, statementTimeoutMs: 3_000, ...options })
}

/** A PostgreSQL of our own: real, started by us, in a temporary folder. */
export interface OwnPostgres {
  /** The URL of a database on it. */
  url: (database?: string) => string
  folder: string
  port: number
  start: () => Promise<void>
  stop: () => Promise<void>
  /** Ends it as a failing machine would. */
  kill: () => Promise<void>
}

async function isListening (port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  return new Promise((resolve) => {
    socket.on('connect', () => resolve(true)).on('error', () => resolve(false))
  }).finally(() => socket.destroy()) as Promise<boolean>
}

const postgresFlags = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  max_connections: '400',
  // What is in it need not survive the machine.
  fsync: 'off',
  full_page_writes: 'off',
  wal_level: 'minimal',
  max_wal_senders: '0',
  checkpoint_timeout: '1h',
  // Tests that need statistics make them.
  autovacuum: 'off',
  jit: 'off'
}

/** Starts a PostgreSQL; it ends, and its folder goes, with the test. */
export async function startPostgres (t: Pick<Test, 'teardown'>): Promise<OwnPostgres> {
  const folder = mkdtempSync(join(tmpdir(), 'latchkey-postgres-'))
  removeWithUs(folder)
  const port = await freePort()
  const [user, password] = ['latchkey', 'p@ss word/?#']
  const printed: string[] = []
  const Postgres = await embeddedPostgres(() => {
    const copy = mkdtempSync(join(tmpdir(), 'latchkey-postgres-'))
    removeWithUs(copy)
    t.teardown(() => rmSync(copy, { recursive: true, force: true }))
    return copy
  })
  const server = new Postgres({
    databaseDir: folder,
    port,
    user,
    password,
    persistent: true,
    authMethod: 'scram-sha-256',
    // PostgreSQL refuses to run as root.
    createPostgresUser: process.getuid?.() === 0,
    initdbFlags: ['--no-sync', '--encoding=UTF8', '--locale=C'],
    postgresFlags: Object.entries(postgresFlags).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
    onLog: (line) => { printed.push(String(line)) },
    onError: (error) => { printed.push(String(error)) }
  })
  // Two test files that make the user at once get in each other's way.
  await server.initialise().catch(async () => {
    await delay(500)
    await server.initialise()
  })
  const pid = () => Number(readFileSync(join(folder, 'postmaster.pid'), 'utf8').split('\n')[0])
  let hasEnded: (() => void) | undefined
  const start = async () => {
    await server.start()
    hasEnded = endWithUs(pid())
  }
  const stop = async (work: () => Promise<void>) => {
    await work()
    hasEnded?.()
    hasEnded = undefined
  }
  await start().catch((error) => { throw new Error(`PostgreSQL does not start: ${printed.join('')}`, { cause: error }) })
  t.teardown(async () => {
    if (hasEnded !== undefined) await stop(() => server.stop())
    rmSync(folder, { recursive: true, force: true })
  })
  return {
    url: (database = 'postgres') => `postgres://${user}:${encodeURIComponent(password)}@127.0.0.1:${port}/${database}`,
    folder,
    port,
    start,
    stop: async () => stop(() => server.stop()),
    kill: async () => stop(async () => {
      process.kill(pid(), 'SIGKILL')
      // Its children notice, and end as well.
      while (await isListening(port)) await delay(20)
    })
  }
}

/** Does something on a connection of its own. */
export async function withClient<Result> (url: string, work: (client: pg.Client) => Promise<Result>): Promise<Result> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}

/** Runs a statement on a connection of its own. */
export const run = (url: string, statement: string) => withClient(url, (client) => client.query(statement))

/** The URL of another database on the same server. */
export const on = (url: string, database: string) => Object.assign(new URL(url), { pathname: `/${database}` }).href

let count = 0
/** A name that no other test uses. */
export const newName = () => `latchkey_test_${process.pid}_${count++}`

/** A server, and a database on it whose copies are ready to use. */
export interface SharedPostgres { adminUrl: string, template: string }

/** Makes the database that others are copied from: copying one that is migrated is faster than migrating each. */
export async function createTemplate (t: Pick<Test, 'teardown'>, adminUrl: string): Promise<string> {
  const template = newName()
  await run(adminUrl, `create database ${template}`)
  await (await openStore(on(adminUrl, template))).close()
  t.teardown(() => run(adminUrl, `drop database if exists ${template}`).catch(() => {}))
  return template
}
