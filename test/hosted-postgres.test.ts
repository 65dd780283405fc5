// PostgreSQL as hosters run it: few rights, and a pooler in front of it.
import { once } from 'node:events'
import { Agent, request } from 'node:http'
import { createServer } from 'node:net'
import { sql } from 'drizzle-orm'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { isUnavailable } from '../src/database/errors.js'
import type { Store } from '../src/database/store.js'
import { servicesOf } from '../src/services.js'
import { commandLine } from './command-line.js'
import { createPostgres, openStore, withClient } from './databases.js'
import { as, bob, build, logIn, makeAdmin, needLogin, signUp, tokenOf } from './helper.js'
import { startPgBouncer, withoutOldPgBouncer, withoutPgBouncer } from './pgbouncer.js'

const change = (url: string, changes: Partial<URL>) => Object.assign(new URL(url), changes).href
/** The rows of a query, on the store's own connections. */
const rowsOf = async (store: Store, query: string): Promise<unknown[]> => (await Object(store.db).execute(sql.raw(query))).rows
const databaseOf = (url: string) => new URL(url).pathname.slice(1)

let roles = 0
/** A role that may log in and nothing else, dropped when the test ends; the URL of a database as that role. */
async function createRole (t: Test, url: string): Promise<{ role: string, roleUrl: string }> {
  const role = `latchkey_hosted_${process.pid}_${roles++}`
  await withClient(url, (dba) => dba.query(`create role ${role} login password 'only for this test'`))
  t.teardown(() => withClient(url, (dba) => dba.query(`drop owned by ${role}; drop role ${role}`)))
  return { role, roleUrl: change(url, { username: role, password: 'only for this test' }) }
}

t.test('schemas that a DBA has created · the server needs no right on the database, and after its first start only rights on tables', async (t) => {
  const url = await createPostgres(t, { isEmpty: true })
  const { role: owner, roleUrl: ownersUrl } = await createRole(t, url)
  const { role: server, roleUrl: serversUrl } = await createRole(t, url)
  await t.rejects(openStore(ownersUrl), { name: 'StoreError', message: /permission denied for database/ })

  await withClient(url, (dba) => dba.query(`create schema latchkey; create schema drizzle; grant usage, create on schema latchkey, drizzle to ${owner}`))
  const first = await build(t, { DATABASE_URL: ownersUrl })
  const token = await tokenOf(first)
  t.equal((await needLogin(first, token)).statusCode, 200)
  await withClient(ownersUrl, async (client) => {
    t.same((await client.query(`select has_database_privilege('${databaseOf(url)}', 'create') as may`)).rows, [{ may: false }])
    t.match((await client.query('select distinct tableowner from pg_tables where schemaname in ($1, $2)', ['latchkey', 'drizzle'])).rows, [{ tableowner: owner }])
  })
  await withClient(url, (dba) => dba.query(`grant usage on schema latchkey, drizzle to ${server}; grant select on all tables in schema drizzle to ${server}; grant select, insert, update, delete on all tables in schema latchkey to ${server}; grant usage, select, update on all sequences in schema latchkey to ${server}`))
  await first.close()

  const second = await build(t, { DATABASE_URL: serversUrl })
  t.equal((await needLogin(second, token)).statusCode, 200)
  t.equal((await signUp(second, { ...bob, username: 'alice' })).statusCode, 200)
  await t.rejects(withClient(serversUrl, (client) => client.query('create table latchkey.other (id int)')), /permission denied for schema latchkey/)
  await second.close()

  // As after an update that brings a migration.
  await withClient(url, (dba) => dba.query('delete from drizzle.latchkey_migrations where created_at = (select max(created_at) from drizzle.latchkey_migrations)'))
  await t.rejects(openStore(serversUrl), { name: 'StoreError', message: /already exists|permission denied|must be owner/ }, 'it may not migrate')
  t.equal(await withClient(url, async (dba) => (await dba.query("select count(*)::int as locks from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())")).rows[0].locks), 0)
})

t.test('DATABASE_PREPARE=off · no named statements, limits inside transactions only', async (t) => {
  const url = await createPostgres(t)
  const app = await build(t, { DATABASE_URL: url, DATABASE_PREPARE: 'off', DATABASE_POOL_SIZE: '1', DATABASE_STATEMENT_TIMEOUT_MS: '700' })
  const { store } = servicesOf(app)
  for (const token of [await tokenOf(app), (await logIn(app)).json().token]) {
    t.same(await Promise.all([1, 2, 3].map(async () => (await needLogin(app, token)).statusCode)), [200, 200, 200])
  }
  t.same(await rowsOf(store, 'select name from pg_prepared_statements'), [])
  t.match(await rowsOf(store, 'show statement_timeout'), [{ statement_timeout: '0' }], 'of a connection')
  const isLimited = "current_setting('statement_timeout') = '700ms' and current_setting('idle_in_transaction_session_timeout') = '700ms'"
  t.same(await store.batch([{ toSQL: () => ({ sql: `select id from latchkey.users where ${isLimited}`, params: [] }) }]), [1])
  const error = await store.batch([{ toSQL: () => ({ sql: 'select pg_sleep(5)', params: [] }) }]).catch((error) => error)
  t.match([isUnavailable(error), error.code], [true, '57014'], 'the server ends a statement of a transaction')
  for await (const row of store.snapshot(async function * (db) { yield (await Object(db).execute(sql.raw('show statement_timeout'))).rows })) t.same(row, [{ statement_timeout: '700ms' }], 'a snapshot')
})

t.test('DATABASE_PREPARE=off · a database whose times are not in ISO style is refused with one line', async (t) => {
  const url = await createPostgres(t)
  await withClient(url, (client) => client.query(`alter database ${databaseOf(url)} set datestyle = 'SQL, DMY'`))
  await t.rejects(openStore(url, { preparesStatements: false }), { name: 'StoreError', message: /: its DateStyle must be ISO: alter the database, or the role, with set datestyle = 'ISO'$/ })
  await (await openStore(url)).close()
})

t.test('a prepared statement that is lost, or whose name is taken → 503 with Retry-After, and one line in the log names the setting', async (t) => {
  const url = await createPostgres(t)
  const lines: string[] = []
  const app = await build(t, { DATABASE_URL: url, DATABASE_POOL_SIZE: '1', LOG_LEVEL: 'error' }, { logStream: { write: (line) => { lines.push(line) } } })
  const token = await tokenOf(app)
  t.equal((await needLogin(app, token)).statusCode, 200)
  // What another connection to the server, which a pooler gives us, has prepared.
  for (const statement of ['deallocate all', 'prepare token_owner as select 1']) {
    await rowsOf(servicesOf(app).store, statement)
    t.match(await needLogin(app, token), { statusCode: 503, headers: { 'retry-after': '1' } }, statement)
  }
  t.equal((await needLogin(app, token)).statusCode, 200)
  t.equal(lines.filter((line) => line.includes('DATABASE_PREPARE=off')).length, 1, lines.join(''))
  const quiet = await openStore(url, { poolSize: 1 })
  const { db, tables: { users } } = quiet
  const hot = quiet.prepare('hot', db.select({ id: users.id }).from(users))
  await hot.execute()
  await rowsOf(quiet, 'deallocate all')
  t.ok(isUnavailable(await hot.execute().catch((error) => error)), 'without a listener')
  await quiet.close()
})

t.test('a pooler that refuses a startup parameter → one line that names the setting', async (t) => {
  const text = Buffer.from('SFATAL\0C08P01\0Munsupported startup parameter: options\0\0')
  const length = Buffer.alloc(4)
  length.writeInt32BE(text.length + 4)
  const pooler = createServer((socket) => socket.on('error', () => {}).once('data', () => socket.end(Buffer.concat([Buffer.from('E'), length, text])))).listen(0, '127.0.0.1')
  await once(pooler, 'listening')
  t.teardown(() => pooler.close())
  await t.rejects(openStore(`postgres://bob@127.0.0.1:${Object(pooler.address()).port}/x`), { name: 'StoreError', message: /: unsupported startup parameter: options: a pooler needs DATABASE_PREPARE=off$/ })
})

/** Sends requests from 50 connections, and counts the answers by status. */
async function flood (t: Test, app: FastifyInstance, token: string, count: number): Promise<Record<number, number>> {
  const { port } = new URL(await app.listen({ host: '127.0.0.1', port: 0 }))
  const agent = new Agent({ keepAlive: true, maxSockets: 50 })
  t.teardown(() => agent.destroy())
  const tally: Record<number, number> = {}
  await Promise.all(Array.from({ length: count }, async (_, i) => {
    const sent = request({ port, agent, path: i % 2 === 0 ? '/need_login' : '/api/v1/me', headers: { authorization: token } }).end()
    const [response] = await once(sent, 'response')
    await once(response.resume(), 'end')
    tally[response.statusCode] = (tally[response.statusCode] ?? 0) + 1
  }))
  return tally
}

t.test('PgBouncer with transaction pooling · DATABASE_PREPARE=off', { skip: withoutPgBouncer }, async (t) => {
  const url = await createPostgres(t, { isEmpty: true })
  // Fewer connections to the server than clients: each transaction gets another one.
  const pooled = await startPgBouncer(t, url, ['pool_mode = transaction', 'default_pool_size = 4'])
  const env = { DATABASE_URL: pooled, DATABASE_PREPARE: 'off' }

  t.test('servers that start at once on an empty database migrate it through the pooler', async (t) => {
    const stores = await Promise.all(Array.from({ length: 6 }, () => openStore(pooled, { preparesStatements: false })))
    for (const store of stores) await store.close()
    t.match(await withClient(url, async (client) => (await client.query('select count(*) = count(distinct hash) as once, max(created_at) > 0 as are_there from drizzle.latchkey_migrations')).rows), [{ once: true, are_there: true }])
    t.match(await withClient(url, async (client) => (await client.query("select count(*)::int as held from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())")).rows), [{ held: 0 }])
  })

  t.test('1,000 guarded requests over 50 connections → 200, with logins, logouts, roles and passwords in between', async (t) => {
    const app = await build(t, env)
    const token = await tokenOf(app)
    await signUp(app, { ...bob, username: 'root' })
    await makeAdmin(app, 'root')
    const admin = as(app, (await logIn(app, { ...bob, username: 'root' })).json().token)
    t.equal((await admin('POST', '/roles', { name: 'editor', description: 'May write.' })).statusCode, 201)
    const changes = async () => {
      for (let i = 0; i < 10; i++) {
        const account = { ...bob, username: `user-${i}` }
        const { token } = (await signUp(app, account), await logIn(app, account)).json()
        t.equal((await admin('PUT', `/users/user-${i}/roles/editor`)).statusCode, 204)
        t.equal((await admin('DELETE', `/users/user-${i}/roles/editor`)).statusCode, 204)
        t.equal((await as(app, token)('PUT', '/me/password', { current_password: bob.password, new_password: 'another battery staple' })).statusCode, 204)
        t.equal((await logIn(app, account)).statusCode, 401)
        t.equal((await as(app, token)('POST', '/logout')).statusCode, 200)
        t.equal((await needLogin(app, token)).statusCode, 401)
      }
    }
    const [tally] = await Promise.all([flood(t, app, token, 1_000), changes()])
    t.same(tally, { 200: 1_000 })
    t.equal((await app.inject('/health/ready')).statusCode, 200)
  })

  t.test('commands work', async (t) => {
    const { latchkey } = commandLine(t, env)
    t.match(await latchkey(['migrate']), { code: 0 })
    t.match(await latchkey(['user', 'create', 'carol', '--password-stdin'], 'correct horse battery staple\n'), { code: 0 })
    t.match(await latchkey(['user', 'list', '--search', 'carol']), { code: 0, out: /carol/ })
    t.match(await latchkey(['export']), { code: 0, out: /"carol"/ })
  })
})

t.test('PgBouncer with transaction pooling · DATABASE_PREPARE=on', { skip: withoutOldPgBouncer }, async (t) => {
  const url = await createPostgres(t)

  t.test('a pooler that refuses the parameters of a connection → one line that names the setting', async (t) => {
    const pooled = await startPgBouncer(t, url, ['pool_mode = transaction'])
    await t.rejects(openStore(pooled), { name: 'StoreError', message: /: unsupported startup parameter: \w+: a pooler needs DATABASE_PREPARE=off$/ })
  })

  t.test('a pooler that loses prepared statements → 503 with Retry-After, never 500; one line in the log names the setting', async (t) => {
    const pooled = await startPgBouncer(t, url, ['pool_mode = transaction', 'default_pool_size = 2', 'ignore_startup_parameters = options,statement_timeout,idle_in_transaction_session_timeout'])
    const token = await tokenOf(await build(t, { DATABASE_URL: url }))
    const lines: string[] = []
    const app = await build(t, { DATABASE_URL: pooled, LOG_LEVEL: 'error' }, { logStream: { write: (line) => { lines.push(line) } } })
    const advice = () => lines.filter((line) => line.includes('DATABASE_PREPARE=off'))
    const statuses = new Set<number>()
    for (let i = 0; i < 100 && !(statuses.has(503) && i > 20); i++) {
      const answers = await Promise.all(Array.from({ length: 8 }, (_, j) => app.inject({ url: j % 2 === 0 ? '/need_login' : '/health/ready', headers: { authorization: token } })))
      for (const { statusCode, headers } of answers) {
        statuses.add(statusCode)
        if (statusCode === 503) t.equal(headers['retry-after'], '1')
      }
      statuses.add((await logIn(app)).statusCode)
    }
    t.ok(statuses.has(503), [...statuses].join())
    t.same([...statuses].filter((status) => status !== 200 && status !== 503), [])
    t.equal(advice().length, 1, lines.join(''))
    t.notMatch(lines.join(''), token)
  })
})
