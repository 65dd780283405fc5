import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import Database from 'better-sqlite3'
import { sql } from 'drizzle-orm'
import pg from 'pg'
import t, { type Test } from 'tap'
import { openStore as open } from '../src/database/open.js'
import type { Store, StoreOptions } from '../src/database/store.js'
import { embeddedPostgres, freePort } from './embedded-postgres.js'
import { temporaryFolder } from './helper.js'

/** Opens a store with default options, except those given. */
export async function openStore (url: string, options: Partial<StoreOptions> = {}): Promise<Store> {
  return await open(url, { poolSize: 10, connectTimeoutMs: 2_000, statementTimeoutMs: 3_000, ...options })
}

/** A kind of database that Latchkey works on. */
export interface TestDatabase {
  name: 'SQLite' | 'PostgreSQL'
  /** The URL of a new database, deleted when the test ends; `isShared`: for several apps at once, `isEmpty`: without our tables. */
  create: (t: Test, options?: { isShared?: boolean, isEmpty?: boolean }) => Promise<string>
  /** Runs a statement that drizzle has no builder for. */
  execute: (store: Store, statement: string) => Promise<unknown>
  /** Adds a trigger that runs a statement at an event like `before insert on tokens`, for rows that meet a condition. */
  addTrigger: (store: Store, event: string, statement: string, condition?: string) => Promise<unknown>
  /** Removes our triggers from a table. */
  removeTriggers: (store: Store, table: string) => Promise<unknown>
  /** A statement that fails. */
  fault: (message: string) => string
  /** The plans of the queries that `work` runs. */
  explain: (store: Store, work: () => Promise<unknown>) => Promise<string[]>
  /** Matches a plan that reads, or sorts, more rows than it returns. */
  scans: RegExp
  /** Counts the queries that the driver runs from now on. */
  countQueries: (t: Test) => () => number
}

/** A real PostgreSQL server, started for a test in a temporary folder. */
export interface OwnPostgres {
  /** The URL of a database on it. */
  url: (database?: string) => string
  folder: string
  port: number
  start: () => Promise<void>
  stop: () => Promise<void>
  /** Kills it, as a failing machine would. */
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
  max_connections: '200',
  // Its data need not survive a crash.
  fsync: 'off'
}

/** Starts a PostgreSQL server; it is stopped, and its folder deleted, when the test ends. */
export async function startPostgres (t: Pick<Test, 'teardown'>): Promise<OwnPostgres> {
  const folder = mkdtempSync(join(tmpdir(), 'latchkey-postgres-'))
  const port = await freePort()
  const [user, password] = ['latchkey', 'p@ss word/?#']
  const printed: string[] = []
  const Postgres = await embeddedPostgres(() => {
    const copy = mkdtempSync(join(tmpdir(), 'latchkey-postgres-'))
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
  // Two test files that create the user at once fail.
  await server.initialise().catch(async () => {
    await delay(500)
    await server.initialise()
  })
  await server.start().catch(() => { throw new Error(`PostgreSQL does not start: ${printed.join('')}`) })
  let isRunning = true
  t.teardown(async () => {
    if (isRunning) await server.stop()
    rmSync(folder, { recursive: true, force: true })
  })
  return {
    url: (database = 'postgres') => `postgres://${user}:${encodeURIComponent(password)}@127.0.0.1:${port}/${database}`,
    folder,
    port,
    async start () {
      await server.start()
      isRunning = true
    },
    async stop () {
      isRunning = false
      await server.stop()
    },
    async kill () {
      isRunning = false
      const [pid] = readFileSync(join(folder, 'postmaster.pid'), 'utf8').split('\n')
      process.kill(Number(pid), 'SIGKILL')
      // Its child processes notice, and end as well.
      while (await isListening(port)) await delay(20)
    }
  }
}

/** Opens a connection for `work`, and closes it. */
export async function withClient<Result> (url: string, work: (client: pg.Client) => Promise<Result>): Promise<Result> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}

const run = (url: string, statement: string) => withClient(url, (client) => client.query(statement))

const on = (url: string, database: string) => Object.assign(new URL(url), { pathname: `/${database}` }).href

let count = 0
const newName = () => `latchkey_test_${process.pid}_${count++}`

let opening: Promise<{ adminUrl: string, template: string }> | undefined

/** The server that the tests of this file share: an existing one, if TEST_DATABASE_URL names it, or one of our own. */
function sharedPostgres () {
  opening ??= (async () => {
    const adminUrl = process.env.TEST_DATABASE_URL ?? (await startPostgres(t)).url()
    // Copying a database that is migrated already is faster than migrating each.
    const template = newName()
    await run(adminUrl, `create database ${template}`)
    await (await openStore(on(adminUrl, template))).close()
    t.teardown(() => run(adminUrl, `drop database if exists ${template}`).catch(() => {}))
    return { adminUrl, template }
  })()
  return opening
}

/** The URL of a new PostgreSQL database, migrated unless it shall be empty. */
export async function createPostgres (t: Test, { isEmpty = false } = {}): Promise<string> {
  const { adminUrl, template } = await sharedPostgres()
  const name = newName()
  await run(adminUrl, `create database ${name} template ${isEmpty ? 'template0' : template}`)
  t.teardown(() => run(adminUrl, `drop database ${name} with (force)`))
  return on(adminUrl, name)
}

/** Counts the calls of methods, until the test ends. */
function countCalls (t: Test, prototype: Record<string, (...args: unknown[]) => unknown>, names: string[]): () => number {
  let calls = 0
  for (const name of names) {
    const method = prototype[name]
    prototype[name] = function (...args) {
      calls++
      return method?.apply(this, args)
    }
    t.teardown(() => Object.assign(prototype, { [name]: method }))
  }
  return () => calls
}

/** The arguments of a method's calls during `work`. */
async function callsOf (owner: Record<string, (...args: unknown[]) => unknown>, name: string, work: () => Promise<unknown>): Promise<unknown[][]> {
  const method = owner[name]
  const calls: unknown[][] = []
  owner[name] = function (...args) {
    calls.push(args)
    return method?.apply(this, args)
  }
  await work().finally(() => Object.assign(owner, { [name]: method }))
  return calls
}

/** The driver's connection or pool, which drizzle keeps. */
const driverOf = (store: Store) => Object(store.db).$client

const sqlite: TestDatabase = {
  name: 'SQLite',
  create: async (t, { isShared = false } = {}) => isShared ? `sqlite:///${join(temporaryFolder(t), 'latchkey.sqlite')}` : 'sqlite://',
  execute: (store, statement) => store.db.run(sql.raw(statement)),
  addTrigger: (store, event, statement, condition = 'true') => sqlite.execute(store, `create trigger ${newName()} ${event} when (${condition}) begin ${statement}; end`),
  async removeTriggers (store, table) {
    const triggers = await store.db.all<{ name: string }>(sql`select name from sqlite_schema where type = 'trigger' and tbl_name = ${table}`)
    for (const { name } of triggers) await sqlite.execute(store, `drop trigger ${name}`)
  },
  fault: (message) => `select raise(abort, '${message}')`,
  async explain (store, work) {
    const client = driverOf(store)
    const texts = (await callsOf(client, 'prepare', work)).map(([text]) => String(text))
    return texts.map((text) => JSON.stringify(client.prepare(`explain query plan ${text}`).all(...Array.from(text.matchAll(/\?/g), () => 1))))
  },
  scans: /USE TEMP B-TREE/,
  countQueries: (t) => countCalls(t, Object.getPrototypeOf(new Database(':memory:').prepare('select 1')), ['all', 'get', 'run', 'iterate'])
}

const postgres: TestDatabase = {
  name: 'PostgreSQL',
  create: createPostgres,
  execute: (store, statement) => store.batch(['set local search_path to latchkey', statement].map((sql) => ({ toSQL: () => ({ sql, params: [] }) }))),
  async addTrigger (store, event, statement, condition = 'true') {
    const name = newName()
    await postgres.execute(store, `create function ${name}() returns trigger language plpgsql set search_path to latchkey as $$ begin ${statement}; return coalesce(new, old); end $$`)
    await postgres.execute(store, `create trigger ${name} ${event} for each row when (${condition}) execute function ${name}()`)
  },
  removeTriggers: (store, table) => postgres.execute(store, `alter table ${table} disable trigger user`),
  fault: (message) => `raise exception '${message}'`,
  async explain (store, work) {
    const plans: string[] = []
    for (const [query, values] of await callsOf(driverOf(store), 'query', work)) {
      plans.push(JSON.stringify((await driverOf(store).query(`explain ${Object(query).text}`, values)).rows))
    }
    return plans
  },
  scans: /Seq Scan on events|Sort/,
  countQueries: (t) => countCalls(t, Object(pg.Client.prototype), ['query'])
}

/** Tests of what must hold on both databases run on each. */
export const databases = [sqlite, postgres] as const
