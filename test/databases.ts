import { join } from 'node:path'
import Database from 'better-sqlite3'
import { sql } from 'drizzle-orm'
import pg from 'pg'
import root, { type Test } from 'tap'
import type { Store } from '../src/database/store.js'
import { temporaryFolder } from './helper.js'
import { createTemplate, newName, on, run, type SharedPostgres, startPostgres } from './postgres-server.js'
import { reusedDatabase } from './reused-databases.js'

export { openStore, startPostgres, withClient } from './postgres-server.js'

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

let opening: Promise<SharedPostgres> | undefined

/** The server of this run (`with-postgres.ts`), or one of TEST_DATABASE_URL, or where a file is run by itself one of its own. */
function sharedPostgres (): Promise<SharedPostgres> {
  opening ??= (async () => {
    const adminUrl = process.env.TEST_DATABASE_URL ?? (await startPostgres(root)).url()
    return { adminUrl, template: process.env.TEST_DATABASE_TEMPLATE ?? await createTemplate(root, adminUrl) }
  })()
  return opening
}

/** The URL of a new PostgreSQL database, migrated unless it shall be empty. */
export async function createPostgres (t: Test, { isEmpty = false } = {}): Promise<string> {
  const shared = await sharedPostgres()
  if (!isEmpty) return await reusedDatabase(t, root, shared)
  const { adminUrl } = shared
  const name = newName()
  await run(adminUrl, `create database ${name} template template0 strategy file_copy`)
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
