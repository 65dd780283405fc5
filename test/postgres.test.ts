import { once } from 'node:events'
import { chownSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { TLSSocket } from 'node:tls'
import { eq, sql } from 'drizzle-orm'
import { getTableConfig as postgresTable } from 'drizzle-orm/pg-core'
import { getTableConfig as sqliteTable } from 'drizzle-orm/sqlite-core'
import type { FastifyInstance } from 'fastify'
import pg from 'pg'
import { generate } from 'selfsigned'
import t, { type Test } from 'tap'
import { isForeignKeyViolation, isUnavailable } from '../src/database/errors.js'
import * as postgresTables from '../src/database/postgres/schema.js'
import * as sqliteTables from '../src/database/sqlite/schema.js'
import type { Store, StoreOptions } from '../src/database/store.js'
import { NIL_UUID } from '../src/plugins/tokens/claims.js'
import { tokensRepository } from '../src/plugins/tokens/repository.js'
import { servicesOf } from '../src/services.js'
import { createPostgres, databases, openStore, startPostgres, withClient } from './databases.js'
import { bob, build, isLongRun, logIn, needLogin, signUp, startServer, temporaryFolder, tokenOf, until } from './helper.js'
import { startPgBouncer, withoutPgBouncer } from './pgbouncer.js'

/** A store on a database, closed when the test ends. */
async function open (t: Test, url: string, options: Partial<StoreOptions> = {}): Promise<Store> {
  const store = await openStore(url, options)
  t.teardown(() => store.close())
  return store
}

/** The rows of a query, on the store's own connections. */
const rowsOf = async (store: Store, query: string): Promise<Array<Record<string, unknown>>> => (await Object(store.db).execute(sql.raw(query))).rows

const change = (url: string, changes: Partial<URL>) => Object.assign(new URL(url), changes).href

t.test('openStore', async (t) => {
  t.test('the migrations make the tables that the schema describes', async (t) => {
    const url = await createPostgres(t, { isEmpty: true })
    const store = await open(t, url)
    const { latchkey, ...tables } = postgresTables
    for (const table of Object.values(tables)) {
      const { name, schema, columns, indexes, foreignKeys, primaryKeys } = postgresTable(table)
      t.equal(schema, latchkey.schemaName)
      const inDatabase = await rowsOf(store, `select column_name as name, format_type(atttypid, atttypmod) || coalesce(' COLLATE "' || collation_name || '"', '') as type, attnotnull as "notNull" from information_schema.columns join pg_attribute on attrelid = 'latchkey.${name}'::regclass and attname = column_name where table_schema = 'latchkey' and table_name = '${name}' order by ordinal_position`)
      t.same(inDatabase, columns.map((column) => ({ name: column.name, type: column.getSQLType().replace(' (3)', '(3)'), notNull: column.notNull })))
      const present = (await rowsOf(store, `select indexname from pg_indexes where schemaname = 'latchkey' and tablename = '${name}'`)).map(({ indexname }) => indexname)
      const expected = [...indexes.map(({ config }) => config.name), ...columns.flatMap(({ isUnique, uniqueName }) => isUnique ? [uniqueName] : []), ...primaryKeys.map((key) => key.getName())]
      for (const index of expected) t.ok(present.includes(index), String(index))
      const keys = await rowsOf(store, `select conname, confdeltype from pg_constraint where contype = 'f' and conrelid = 'latchkey.${name}'::regclass`)
      t.equal(keys.length, foreignKeys.length)
      for (const key of keys) t.equal(key.confdeltype, 'c', 'on delete cascade')
    }
    t.same(await rowsOf(store, 'select name from latchkey.roles'), [{ name: 'admin' }])
  })

  t.test('both schemas have the same tables, columns, keys and indexes', async (t) => {
    const types: Record<string, string> = { SQLiteInteger: 'number', PgBigInt53: 'number', PgInteger: 'number', SQLiteTimestamp: 'date', PgTimestamp: 'date', SQLiteText: 'string', PgText: 'string', PgCustomColumn: 'string' }
    const shape = ({ name, columns, indexes, foreignKeys, primaryKeys }: ReturnType<typeof sqliteTable> | ReturnType<typeof postgresTable>) => ({
      name,
      columns: columns.map((column) => ({ name: column.name, type: types[column.columnType], notNull: column.notNull, isPrimary: column.primary, isUnique: column.isUnique, uniqueName: column.isUnique ? column.uniqueName : undefined, hasDefault: column.hasDefault && !column.primary, default: column.default, values: column.enumValues })),
      indexes: indexes.map(({ config }) => [config.name, ...config.columns.map((column) => Object(column).name)]),
      primaryKeys: primaryKeys.map((key) => key.columns.map((column) => column.name)),
      foreignKeys: foreignKeys.map((key) => [...key.reference().columns, ...key.reference().foreignColumns].map((column) => column.name).concat(String(key.onDelete)))
    })
    const { latchkey: _, ...tables } = postgresTables
    t.same(Object.keys(tables).sort(), Object.keys(sqliteTables).sort())
    for (const [name, table] of Object.entries(sqliteTables)) {
      const expected = shape(sqliteTable(table))
      t.same(shape(postgresTable(Object(postgresTables)[name])), expected, name)
      for (const { type } of expected.columns) t.type(type, 'string')
    }
  })

  t.test('of several servers that start at once on an empty database one migrates, the others wait', async (t) => {
    const url = await createPostgres(t, { isEmpty: true })
    const stores = await Promise.all(Array.from({ length: 8 }, () => open(t, url)))
    for (const store of stores) await store.ping()
    t.same(await rowsOf(stores[0] as Store, 'select count(*)::int as migrations, count(distinct hash)::int as different from drizzle.latchkey_migrations'), [{ migrations: 9, different: 9 }])
  })

  t.test('a server that does not answer the first query ends the start, in bounded time', { timeout: 30_000 }, async (t) => {
    const url = await createPostgres(t)
    const { port, cut } = await interruptibleProxy(t, Number(new URL(url).port))
    // What follows the greeting is lost.
    cut('after the greeting')
    await t.rejects(openStore(change(url, { hostname: '127.0.0.1', port })), { name: 'StoreError', message: /Query read timeout$/ })
  })

  t.test('waits for another server that migrates', async (t) => {
    const url = await createPostgres(t, { isEmpty: true })
    await withClient(url, async (other) => {
      await other.query("select pg_advisory_lock(hashtextextended('latchkey migrations', 0))")
      let isOpen = false
      const opening = open(t, url).then(() => { isOpen = true })
      await delay(500)
      t.notOk(isOpen)
      await other.query('select pg_advisory_unlock_all()')
      await opening
    })
  })

  t.test('with nothing to migrate it takes no lock, and needs no privilege but to read and write', async (t) => {
    const url = await createPostgres(t)
    const role = `latchkey_server_${process.pid}`
    await withClient(url, async (owner) => {
      await owner.query(`create role ${role} login password 'only for this test'`)
      await owner.query(`grant usage on schema latchkey, drizzle to ${role}; grant select on all tables in schema drizzle to ${role}; grant select, insert, update, delete on all tables in schema latchkey to ${role}; grant usage, select, update on all sequences in schema latchkey to ${role}`)
      await owner.query("select pg_advisory_lock(hashtextextended('latchkey migrations', 0))")
      const app = await build(t, { DATABASE_URL: change(url, { username: role, password: 'only for this test' }) })
      t.equal((await needLogin(app, await tokenOf(app))).statusCode, 200)
      await app.close()
      await owner.query(`drop owned by ${role}; drop role ${role}`)
    })
  })

  t.test('leaves the tables and the migrations of another app alone', async (t) => {
    const url = await createPostgres(t, { isEmpty: true })
    await withClient(url, (client) => client.query('create table users (name text); create schema drizzle; create table drizzle.__drizzle_migrations (id serial primary key, hash text, created_at bigint); insert into drizzle.__drizzle_migrations (created_at) values (9999999999999)'))
    const app = await build(t, { DATABASE_URL: url })
    t.equal((await needLogin(app, await tokenOf(app))).statusCode, 200)
    t.same(await rowsOf(servicesOf(app).store, 'select * from public.users'), [])
  })

  t.test('an error is one line, without credentials', async (t) => {
    const ownersUrl = await createPostgres(t)
    const username = `latchkey_secretive_${process.pid}`
    const password = encodeURIComponent('s3cr3t/ä#?@')
    await withClient(ownersUrl, (owner) => owner.query(`create role ${username} login password '${decodeURIComponent(password)}'`))
    t.teardown(() => withClient(ownersUrl, (owner) => owner.query(`drop role ${username}`)))
    const url = change(ownersUrl, { username, password })
    for (const [wrong, problem, options] of [
      [change(url, { port: '1' }), 'connect ECONNREFUSED 127.0.0.1:1'],
      [change(url, { hostname: 'localhost', port: '1' }), 'connect ECONNREFUSED'],
      [change(url, { password: 'not-the-password' }), `password authentication failed for user "${username}"`],
      [change(url, { pathname: '/latchkey_nothing' }), 'database "latchkey_nothing" does not exist'],
      [await createPostgres(t, { isEmpty: true }), 'it has no Latchkey in it', { mustExist: true }],
      [`${url}?sslmode=require`, 'The server does not support SSL connections'],
      [`${url}?sslmode=verify-full&sslrootcert=/nothing.pem`, "ENOENT: no such file or directory, open '/nothing.pem'"],
      [`${url}?host=/nothing`, 'connect ENOENT /nothing/.s.PGSQL.']
    ] as Array<[string, string, StoreOptions?]>) {
      const { host, pathname, searchParams } = new URL(wrong)
      const shown = `postgres://${searchParams.get('host') ?? host}${pathname}`
      const error = await openStore(wrong, options).then(() => undefined, (error) => error)
      t.match(error, { name: 'StoreError', message: `cannot open the database ${shown}: ${problem}` }, problem)
      t.equal(error?.message.split('\n').length, 1)
      for (const secret of [password, decodeURIComponent(password), 'not-the-password']) t.notOk(error?.message.includes(secret), problem)
    }
    const permitted = 'it can have sslmode, sslrootcert, sslcert, sslkey, channel_binding, connect_timeout, application_name, host'
    for (const [parameters, problem] of [
      ['sslmode=verify-full&sslmode=disable', 'must set sslmode only once'],
      ...['sslMode=verify-full', 'ssl_mode=require', 'port=5433', 'statement_timeout=0', 'options=-c%20x', 'password=s3cr3t', 'uselibpqcompat=false', 'constructor=x'].map((parameter) => [parameter, `must not have the parameter "${parameter.split('=')[0]}": ${permitted}`]),
      ['s3cr3t%2F=1', `must not have the parameter: ${permitted}`],
      ['application_name=s3cr3t&nonsense', `must not have the parameter "nonsense": ${permitted}`],
      ...['prefer', 'allow', 'verify', ''].map((mode) => [`sslmode=${mode}`, 'must set sslmode to disable, require, verify-ca or verify-full']),
      ...['0', '61', '-1', '1.5', '', '10s', '010'].map((seconds) => [`connect_timeout=${seconds}`, 'must set connect_timeout to an integer from 1 to 60 (seconds)']),
      ['sslmode=require&channel_binding=on', 'must set channel_binding to disable, prefer or require'],
      ...['', 'sslmode=disable&'].map((tls) => [`${tls}channel_binding=require`, 'must set sslmode to require, verify-ca or verify-full, because it sets channel_binding to require'])
    ] as Array<[string, string]>) {
      const error = await openStore(`${url}?${parameters}`).then(() => undefined, (error) => error)
      t.match(error, { name: 'StoreError' }, parameters)
      t.equal(error?.message, `the URL of the database ${problem}`)
    }
    const latin = `${new URL(url).pathname.slice(1)}_latin`
    await withClient(ownersUrl, (client) => client.query(`create database ${latin} encoding 'LATIN1' locale 'C' template template0`))
    t.teardown(() => withClient(ownersUrl, (client) => client.query(`drop database ${latin} with (force)`)))
    await t.rejects(openStore(change(url, { pathname: `/${latin}` })), { name: 'StoreError', message: /its encoding must be UTF8$/ })
    await t.rejects(openStore('postgres://user:p/w@host/db'), { name: 'StoreError', message: /^the URL of the database must be like .*postgres:\/\/user:password@host:port\/database$/ })
  })

  t.test('sets application_name, keeps frequent queries prepared, and closes once', async (t) => {
    const url = await createPostgres(t)
    for (const [address, name] of [[url, 'latchkey'], [`${url}?application_name=login-1`, 'login-1']]) {
      const store = await openStore(String(address), { poolSize: 1 })
      t.same(await rowsOf(store, 'show application_name'), [{ application_name: name }])
      await store.close()
      await store.close()
      await t.rejects(store.ping())
    }
    const app = await build(t, { DATABASE_URL: url.replace('postgres:', 'postgresql:'), DATABASE_POOL_SIZE: '1' })
    for (const token of [await tokenOf(app), (await logIn(app)).json().token]) t.equal((await needLogin(app, token)).statusCode, 200)
    const prepared = await rowsOf(servicesOf(app).store, 'select name, (generic_plans + custom_plans)::int as times from pg_prepared_statements order by name')
    t.same(prepared, ['credentials', 'login_token', 'token_owner'].map((name) => ({ name, times: 2 })))
  })

  t.test('reads times correctly, whatever DateStyle and time zone the database has', async (t) => {
    const url = await createPostgres(t)
    await withClient(url, (client) => client.query(`alter database ${new URL(url).pathname.slice(1)} set datestyle = 'SQL, DMY'; alter database ${new URL(url).pathname.slice(1)} set timezone = 'Asia/Kathmandu'`))
    const app = await build(t, { DATABASE_URL: url }, { now: () => Date.UTC(2026, 1, 3, 20, 44, 0, 7) })
    t.equal((await signUp(app)).json().user.created_at, '2026-02-03T20:44:00.007Z')
    t.equal((await servicesOf(app).users.find('bob'))?.createdAt.toISOString(), '2026-02-03T20:44:00.007Z')
  })

  t.test('two apps in one process, on two databases, are independent', async (t) => {
    const [here, there] = [await build(t, { DATABASE_URL: await createPostgres(t) }), await build(t, { DATABASE_URL: await createPostgres(t) })]
    await signUp(here)
    t.equal((await logIn(here)).statusCode, 200)
    t.equal((await logIn(there)).statusCode, 404)
  })
})

t.test('sslmode · means what PostgreSQL says it means', async (t) => {
  const server = await startPostgres(t)
  const { cert, private: key } = await generate([{ name: 'commonName', value: '127.0.0.1' }], { keySize: 2048, algorithm: 'sha256', extensions: [{ name: 'subjectAltName', altNames: [{ type: 7, ip: '127.0.0.1' }] }] })
  const other = await generate([{ name: 'commonName', value: 'another' }], { keySize: 2048, algorithm: 'sha256' })
  const folder = temporaryFolder(t)
  for (const [name, content] of [['server.crt', cert], ['server.key', key]] as const) {
    const path = join(server.folder, name)
    writeFileSync(path, content, { mode: 0o600 })
    const { uid, gid } = statSync(server.folder)
    chownSync(path, uid, gid)
  }
  const [rootCert, otherCert] = [join(folder, 'root.crt'), join(folder, 'other.crt')]
  writeFileSync(rootCert, cert)
  writeFileSync(otherCert, other.cert)
  await withClient(server.url(), async (client) => {
    await client.query('alter system set ssl = on')
    await client.query('select pg_reload_conf()')
  })
  const isEncrypted = async (parameters: string) => {
    const store = await open(t, `${server.url()}${parameters}`)
    const [row] = await rowsOf(store, 'select ssl from pg_stat_ssl where pid = pg_backend_pid()')
    return row?.ssl
  }
  const local = server.url().replace('127.0.0.1', 'localhost')
  t.equal(await isEncrypted(''), false)
  t.equal(await isEncrypted('?sslmode=disable'), false)
  t.equal(await isEncrypted('?sslmode=require'), true, 'whatever the certificate')
  t.equal(await isEncrypted(`?sslmode=verify-ca&sslrootcert=${rootCert}`), true)
  t.equal(await isEncrypted(`?sslmode=verify-full&sslrootcert=${rootCert}`), true)
  await (await openStore(`${local}?sslmode=verify-ca&sslrootcert=${rootCert}`)).close()
  for (const [url, parameters, problem] of [
    [server.url(), '?sslmode=verify-full', /self.signed certificate/],
    [server.url(), `?sslmode=verify-full&sslrootcert=${otherCert}`, /self.signed certificate|unable to verify/],
    [server.url(), `?sslmode=require&sslrootcert=${otherCert}`, /self.signed certificate|unable to verify/],
    [server.url(), '?sslmode=verify-ca', /requires specifying a CA with sslrootcert/],
    [local, `?sslmode=verify-full&sslrootcert=${rootCert}`, /does not match certificate/]
  ] as const) {
    await t.rejects(openStore(url + parameters), { name: 'StoreError', message: problem }, parameters)
  }
})

t.test('channel_binding · means what PostgreSQL says it means', async (t) => {
  const server = await startPostgres(t)
  const { cert, private: key } = await generate([{ name: 'commonName', value: '127.0.0.1' }], { keySize: 2048, algorithm: 'sha256' })
  for (const [name, content] of [['server.crt', cert], ['server.key', key]] as const) {
    const path = join(server.folder, name)
    writeFileSync(path, content, { mode: 0o600 })
    const { uid, gid } = statSync(server.folder)
    chownSync(path, uid, gid)
  }
  const hba = join(server.folder, 'pg_hba.conf')
  writeFileSync(hba, `host all plain 127.0.0.1/32 password\nhost all trusted 127.0.0.1/32 trust\n${readFileSync(hba, 'utf8')}`)
  await withClient(server.url(), async (client) => {
    await client.query("create role plain superuser login password 'x'")
    await client.query('create role trusted superuser login')
    await client.query('alter system set ssl = on')
    await client.query('select pg_reload_conf()')
  })
  for (const parameters of ['sslmode=require&channel_binding=require', 'sslmode=require&channel_binding=prefer', 'sslmode=require&channel_binding=disable', 'channel_binding=prefer', 'channel_binding=disable', 'sslmode=require&channel_binding=require&connect_timeout=10']) {
    const app = await build(t, { DATABASE_URL: `${server.url()}?${parameters}` })
    t.equal((await app.inject('/health/ready')).statusCode, 200, parameters)
    await app.close()
  }
  for (const username of ['plain', 'trusted']) {
    const url = change(server.url(), { username, password: 'x' })
    await (await openStore(`${url}?sslmode=require&channel_binding=prefer`)).close()
    await t.rejects(openStore(`${url}?sslmode=require&channel_binding=require`), { name: 'StoreError', message: `cannot open the database postgres://127.0.0.1:${server.port}/postgres: it does not support channel binding, which channel_binding=require asks for` }, username)
  }
})

/** A server that speaks TLS, answers each message of a client with the next of `answers`, and keeps what it has received. */
async function fakePostgres (t: Test, answers: Array<Buffer | 'challenge'>) {
  const { cert, private: key } = await generate([{ name: 'commonName', value: 'fake' }], { keySize: 2048, algorithm: 'sha256' })
  const received: Buffer[] = []
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    const left = [...answers]
    socket.on('error', () => {}).once('data', () => {
      socket.write('S')
      const secure = new TLSSocket(socket, { isServer: true, key, cert })
      secure.on('error', () => {}).on('data', (bytes) => {
        received.push(bytes)
        const answer = left.shift()
        // The nonce of the client, continued. @see https://www.rfc-editor.org/rfc/rfc5802#section-5
        const nonce = /r=(.*)$/.exec(bytes.toString('latin1'))?.[1]
        if (answer !== undefined) secure.write(answer === 'challenge' ? authentication(11, `r=${nonce}server,s=c2FsdHNhbHQ=,i=4096`) : answer)
      })
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return { url: `postgres://bob:hunter2@127.0.0.1:${Object(server.address()).port}/latchkey?sslmode=require&channel_binding=require&connect_timeout=5`, received }
}

/** A request of the server to authenticate. @see https://www.postgresql.org/docs/current/protocol-message-formats.html */
function authentication (code: number, data = ''): Buffer {
  const head = Buffer.from('R\0\0\0\0\0\0\0\0', 'latin1')
  head.writeInt32BE(8 + data.length, 1)
  head.writeInt32BE(code, 5)
  return Buffer.concat([head, Buffer.from(data, 'latin1')])
}

t.test('channel_binding=require · a server that asks for less than it learns nothing, and gets no query', async (t) => {
  const ready = Buffer.from('Z\0\0\0\x05I', 'latin1')
  const [ok, scram, scramPlus] = [authentication(0), authentication(10, 'SCRAM-SHA-256\0\0'), authentication(10, 'SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0')]
  for (const [name, answers, messages] of [
    ['clear text', [authentication(3)], 1],
    ['MD5', [authentication(5, 'salt')], 1],
    ['SCRAM without channel binding', [scram], 1],
    ['no authentication', [ok], 1],
    ['no authentication, and ready at once', [Buffer.concat([ok, ready])], 1],
    ['SCRAM with channel binding, without its proof', [scramPlus, Buffer.concat([ok, ready])], 2],
    ['SCRAM with channel binding, with an invented proof', [scramPlus, 'challenge', Buffer.concat([authentication(12, 'v=AAAA'), ok, ready])], 3],
    ['SCRAM without channel binding, with an invented proof', [scram, Buffer.concat([authentication(12, 'v=AAAA'), ok, ready])], 1]
  ] as const) {
    const { url, received } = await fakePostgres(t, [...answers])
    await t.rejects(openStore(url), { name: 'StoreError', message: /: (?:it does not support channel binding, which channel_binding=require asks for|SASL: [\w-]+: server signature does not match)$/ }, name)
    await delay(50)
    const isGoodbye = (bytes: Buffer) => bytes.toString('latin1') === 'X\0\0\0\x04'
    t.equal(received.filter((bytes) => !isGoodbye(bytes)).length, messages, name)
    t.notMatch(Buffer.concat(received).toString('latin1'), /hunter2|md5|select/i, name)
  }
})

t.test('connect_timeout · replaces DATABASE_CONNECT_TIMEOUT_MS', async (t) => {
  // Takes connections, and never answers.
  const sockets: Socket[] = []
  const silent = createServer((socket) => { sockets.push(socket) }).listen(0, '127.0.0.1')
  await once(silent, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    silent.close()
  })
  const opening = openStore(`postgres://bob@127.0.0.1:${Object(silent.address()).port}/latchkey?connect_timeout=1`, { connectTimeoutMs: 60_000 })
  await t.rejects(opening, { name: 'StoreError', message: /timeout expired$/ })
})

t.test('without its driver PostgreSQL is refused with one clear line, and SQLite needs none', async (t) => {
  // The bundle requires pg, and imports bcrypt. Node's message has a line for each file that led to the call.
  const hooks = 'export async function resolve (name, context, next) { if (name === "@node-rs/bcrypt") throw new Error("not found"); return next(name, context) }'
  const prelude = `
    import Module, { register } from 'node:module'
    register('data:text/javascript,${encodeURIComponent(hooks)}')
    const { _load: load } = Module
    Module._load = function (name, ...rest) {
      if (name === 'pg') throw Object.assign(new Error('not found\\nRequire stack:\\n- here'), { code: 'MODULE_NOT_FOUND' })
      return load.call(this, name, ...rest)
    }`
  const refused = startServer(t, temporaryFolder(t), { DATABASE_URL: 'postgres://localhost/latchkey' }, prelude, ['cli.ts', 'migrate'])
  t.equal(await refused.exited, 1)
  t.equal(refused.output(), 'latchkey: PostgreSQL needs the package pg (npm install pg): not found\n')
  const server = startServer(t, temporaryFolder(t), {}, prelude)
  t.equal((await fetch(`${await server.listening}/health/ready`)).status, 200)
  server.child.kill('SIGTERM')
  t.equal(await server.exited, 0)
})

/** The id of the token that `seed` gives a user. */
const tokenIdOf = (userId: number) => `00000000-0000-4000-8000-${String(userId).padStart(12, '0')}`

/** A database with the users 1, 2, 3 …, each with a token and a role, and the queries of guarded requests. */
async function seed (t: Test, users: number, options: Partial<StoreOptions> = {}) {
  const store = await open(t, await createPostgres(t), options)
  await rowsOf(store, `insert into latchkey.users (username, username_key, password_hash, created_at, updated_at) select 'user' || id, 'user' || id, '', '2026-02-03 20:44:00.007Z', now() from generate_series(1, ${users}) id order by id`)
  await rowsOf(store, "insert into latchkey.tokens (id, user_id, description, created_at, expires_at) select '00000000-0000-4000-8000-' || lpad(id::text, 12, '0'), id, '', now(), now() from latchkey.users")
  await rowsOf(store, "insert into latchkey.user_roles (user_id, role_name) select id, 'admin' from latchkey.users")
  return { store, ...tokensRepository(store, { now: Date.now, pendingLastUsed: () => new Map() }) }
}

t.test('prepareGet', async (t) => {
  t.test('reads of one turn of the event loop share a statement of at most 100; each gets its own row', async (t) => {
    const { findOwner, findOwnerWithRoles } = await seed(t, 300)
    const [, { countQueries }] = databases
    const createdAt = new Date('2026-02-03T20:44:00.007Z')
    const owner = (userId: number) => ({ username: `user${userId}`, email: null, emailVerified: false, createdAt, tokenUserId: userId, lastUsedAt: null, renewedAt: null })
    const cases = [
      ...[3, 1, 300, 3, 3].map((userId) => [{ userId, tokenId: tokenIdOf(userId) }, owner(userId)] as const),
      [{ userId: 4, tokenId: tokenIdOf(5) }, { ...owner(4), tokenUserId: null }],
      [{ userId: 4, tokenId: NIL_UUID }, { ...owner(4), tokenUserId: null }],
      [{ userId: 301, tokenId: tokenIdOf(5) }, undefined],
      [{ userId: Number.MAX_SAFE_INTEGER, tokenId: tokenIdOf(9) }, undefined]
    ] as const
    for (const [reads, statements] of [[1, 1], [2, 1], [100, 1], [101, 2], [250, 3]] as const) {
      for (const [find, expected] of [[findOwner, {}], [findOwnerWithRoles, { roleNames: 'admin', secondFactorAt: null, roles: ['admin'] }]] as const) {
        const queries = countQueries(t)
        const asked = Array.from({ length: reads }, (_, i) => cases[i % cases.length] ?? cases[0])
        const rows = await Promise.all(asked.map(([ids]) => find(ids)))
        t.same(rows, asked.map(([, row]) => row && { ...row, ...expected }), `${reads} reads`)
        t.equal(queries(), statements)
      }
    }
  })

  t.test('batches search indexes only, whatever the statistics say, and are not planned each time', async (t) => {
    for (const users of [1_000, 20_000]) {
      const { store, findOwner, findOwnerWithRoles } = await seed(t, users, { poolSize: 1 })
      const { db, prepareGet, tables } = store
      const columns = { username: tables.users.username }
      const findName = prepareGet('name', columns, db.select(columns).from(tables.users).where(eq(tables.users.id, sql.placeholder('userId'))), { userId: tables.users.id })
      const finds = [findOwner, findOwnerWithRoles, (ids: { userId: number, tokenId: string }) => findName(ids)]
      for (let i = 0; i < 20; i++) await Promise.all(finds.flatMap((find) => [1, 2].map((userId) => find({ userId, tokenId: tokenIdOf(userId) }))))
      const plans = await rowsOf(store, "select name, custom_plans::int as custom, generic_plans::int as generic from pg_prepared_statements where name like '%\\_batch' order by name")
      t.same(plans, ['name_batch', 'token_owner_batch', 'token_owner_roles_batch'].map((name) => ({ name, custom: 5, generic: 15 })))
      for (const analyze of ['select', 'analyze']) {
        await rowsOf(store, analyze)
        for (const mode of ['force_generic_plan', 'force_custom_plan']) {
          await rowsOf(store, `set plan_cache_mode = ${mode}`)
          for (const [name, values, indexes] of [
            ['name', "'{1, 2}'", ['users_pkey']],
            ['token_owner', `'{${[tokenIdOf(1), tokenIdOf(2)]}}', '{1, 2}'`, ['users_pkey', 'tokens_']],
            ['token_owner_roles', `'{${[tokenIdOf(1), tokenIdOf(2)]}}', '{1, 2}'`, ['users_pkey', 'tokens_', 'user_roles_']]
          ] as const) {
            const plan = JSON.stringify(await rowsOf(store, `explain execute ${name}_batch (${values})`))
            for (const index of indexes) t.match(plan, new RegExp(`Index (?:Only )?Scan (?:using|on) ${index}`), `${mode}, ${name}`)
            t.notMatch(plan, /Seq Scan|Hash|Merge|Sort/, plan)
          }
        }
      }
    }
  })

  t.test('refuses parameters that are not placeholders, and placeholders without a column', async (t) => {
    const { db, prepareGet, tables: { users } } = await open(t, await createPostgres(t))
    const columns = { username: users.username }
    const byId = db.select(columns).from(users).where(eq(users.id, sql.placeholder('id')))
    t.throws(() => prepareGet('fixed', columns, db.select(columns).from(users).where(eq(users.id, 1))), { name: 'TypeError', message: 'prepareGet takes placeholders only' })
    t.throws(() => prepareGet('by_id', columns, byId, { userId: users.id }), { name: 'TypeError', message: 'prepareGet takes a column for each placeholder, or none' })
    t.equal(await prepareGet('by_id', columns, byId)({ id: 1 }), undefined)
  })

  t.test('what an embedding app does to the parsers of the driver changes nothing', async (t) => {
    const { findOwner } = await seed(t, 2)
    const { INT8, TIMESTAMPTZ } = pg.types.builtins
    for (const type of [INT8, TIMESTAMPTZ]) {
      const parser = pg.types.getTypeParser(type)
      t.teardown(() => pg.types.setTypeParser(type, parser))
    }
    pg.types.setTypeParser(INT8, BigInt)
    pg.types.setTypeParser(TIMESTAMPTZ, () => 'a time')
    const createdAt = new Date('2026-02-03T20:44:00.007Z')
    for (const userIds of [[1], [2, 1]]) {
      const rows = await Promise.all(userIds.map((userId) => findOwner({ userId, tokenId: tokenIdOf(userId) })))
      t.same(rows.map((row) => [row?.tokenUserId, row?.createdAt]), userIds.map((userId) => [userId, createdAt]))
    }
  })
})

/** Sends guarded requests in one turn of the event loop; answers their statuses. */
async function guardedStatuses (t: Test, app: FastifyInstance, token: string, url: string): Promise<number[]> {
  const responses = await Promise.all([1, 2, 3].map(() => app.inject({ url, headers: { authorization: token } })))
  for (const { statusCode, headers } of responses) if (statusCode === 503) t.equal(headers['retry-after'], '1')
  return responses.map(({ statusCode }) => statusCode)
}

t.test('guarded requests of one turn · the statement they share fails → 503 for each, no other request fails, and it recovers', async (t) => {
  const url = await createPostgres(t)
  const app = await build(t, { DATABASE_URL: `${url}?application_name=guarded`, DATABASE_STATEMENT_TIMEOUT_MS: '1000' })
  const token = await tokenOf(app)
  const all = (status: number) => [status, status, status]
  await withClient(url, async (other) => {
    await other.query('begin; lock table latchkey.user_roles in access exclusive mode')
    const waiting = guardedStatuses(t, app, token, '/api/v1/me')
    t.same(await guardedStatuses(t, app, token, '/need_login'), all(200), 'while another statement waits')
    t.same(await waiting, all(503), 'a statement that takes too long')

    const ended = guardedStatuses(t, app, token, '/api/v1/me')
    await until(async () => (await other.query("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'guarded' and wait_event_type = 'Lock'")).rowCount)
    t.same(await guardedStatuses(t, app, token, '/need_login'), all(200), 'on another connection')
    t.same(await ended, all(503), 'a connection that is ended')
  })
  t.same(await guardedStatuses(t, app, token, '/api/v1/me'), all(200))
  await rowsOf(servicesOf(app).store, "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'guarded' and pid <> pg_backend_pid()")
  await until(async () => (await guardedStatuses(t, app, token, '/api/v1/me')).every((status) => status === 200))
})

t.test('GET /need_login · revoked on another server while statements are in flight → 401 TOKEN_REVOKED for every later request', async (t) => {
  const DATABASE_URL = await createPostgres(t)
  const [here, there] = [await build(t, { DATABASE_URL }), await build(t, { DATABASE_URL })]
  await signUp(here)
  for (let i = 0; i < (isLongRun ? 200 : 20); i++) {
    const token: string = (await logIn(here)).json().token
    let isRevoked = false
    const clients = Array.from({ length: 8 }, async () => {
      for (;;) {
        const mustFail = isRevoked
        const { statusCode } = await needLogin(here, token)
        if (mustFail) return statusCode
      }
    })
    const { statusCode } = await there.inject({ method: 'POST', url: '/api/v1/logout', headers: { authorization: token } })
    isRevoked = true
    t.equal(statusCode, 200)
    t.same(await Promise.all(clients), clients.map(() => 401))
  }
})

t.test('PgBouncer with session pooling · guarded requests, one and many at once → 200', { skip: withoutPgBouncer }, async (t) => {
  const url = await createPostgres(t)
  const { pathname } = new URL(url)
  const pooled = await startPgBouncer(t, url, ['pool_mode = session', 'ignore_startup_parameters = options,statement_timeout,idle_in_transaction_session_timeout'])
  const app = await build(t, { DATABASE_URL: pooled })
  const token = await tokenOf(app)
  for (let i = 0; i < 10; i++) {
    t.equal((await needLogin(app, token)).statusCode, 200)
    t.same(await guardedStatuses(t, app, token, '/api/v1/me'), [200, 200, 200])
  }
  t.match(await rowsOf(servicesOf(app).store, `select datname from pg_stat_activity where application_name = 'latchkey' and datname = '${pathname.slice(1)}'`), [{}])
  await app.close()
})

t.test('errors of a real server · classification', async (t) => {
  const url = await createPostgres(t)
  const store = await open(t, url, { poolSize: 2, statementTimeoutMs: 1_000, connectTimeoutMs: 1_000 })
  const fault = async (work: Promise<unknown>) => work.then(() => undefined, (error) => error)
  t.ok(isUnavailable(await fault(rowsOf(store, 'select pg_sleep(5)'))), 'a statement that takes too long')
  t.notOk(isUnavailable(await fault(rowsOf(store, 'select nonsense'))))
  t.ok(isUnavailable(await fault(rowsOf(store, "do $$ begin raise exception 'no right' using errcode = '42501'; end $$"))))
  t.ok(isUnavailable(await fault(rowsOf(store, "do $$ begin raise exception 'disk full' using errcode = '53100'; end $$"))))
  t.ok(isUnavailable(await fault(rowsOf(store, 'select pg_terminate_backend(pg_backend_pid())'))), 'a connection that is ended')
  t.ok(isUnavailable(await fault(store.batch([{ toSQL: () => ({ sql: 'select pg_terminate_backend(pg_backend_pid())', params: [] }) }]))), 'also in a batch')
  await store.ping()
  const busy = [1, 2].map(() => rowsOf(store, 'select pg_sleep(0.9)').catch(() => {}))
  const waiting = [fault(store.ping()), fault(store.ping())]
  await Promise.all(busy)
  for (const error of await Promise.all(waiting)) t.ok(error === undefined || isUnavailable(error), 'no connection to be had in time')
  t.ok(isForeignKeyViolation(await fault(store.batch([store.db.insert(store.tables.userRoles).values({ userId: 1, roleName: 'admin' })]))))
  const reachable = await open(t, url, { poolSize: 1, statementTimeoutMs: 300 })
  const { users } = store.tables
  const hot = reachable.prepare('hot', reachable.db.select({ username: users.username }).from(users))
  await hot.execute()
  await withClient(url, (other) => other.query('alter table latchkey.users alter column username type varchar(64)'))
  t.ok(isUnavailable(await fault(hot.execute())), 'a table that changed under a prepared statement')
  t.same(await hot.execute(), [], 'once')
  t.match(await rowsOf(reachable, 'show idle_in_transaction_session_timeout'), [{ idle_in_transaction_session_timeout: '300ms' }])
  t.ok(isUnavailable(new AggregateError([Object.assign(new Error('connect ENETUNREACH'), { code: 'ENETUNREACH', syscall: 'connect' }), new Error('another')])))
  await withClient(url, async (other) => {
    await other.query('alter database ' + new URL(url).pathname.slice(1) + ' set default_transaction_read_only = on')
  })
  const standby = await open(t, url)
  t.ok(isUnavailable(await fault(standby.db.delete(standby.tables.tokens).then())), 'a server that became a standby')
})

t.test('40 signups for one name over two servers make one account', async (t) => {
  const url = await createPostgres(t)
  const [here, there] = [await build(t, { DATABASE_URL: url }), await build(t, { DATABASE_URL: url })]
  const responses = await Promise.all(Array.from({ length: 40 }, (_, i) => signUp(i % 2 === 0 ? here : there, { ...bob, username: i % 3 === 0 ? 'bob' : 'BOB' })))
  t.equal(responses.filter(({ statusCode }) => statusCode === 200).length, 1)
  t.equal(responses.filter(({ statusCode }) => statusCode === 409).length, 39)
})

t.test('several processes · start at once on an empty database; a revocation on one holds on the others', async (t) => {
  const url = await createPostgres(t, { isEmpty: true })
  const servers = Array.from({ length: 3 }, () => startServer(t, temporaryFolder(t), { DATABASE_URL: url }))
  const [one = '', two = ''] = await Promise.all(servers.map((server) => server.listening))
  const post = (address: string, path: string, body?: object, token = '') => fetch(`${address}/api/v1${path}`, { method: 'POST', headers: { 'content-type': 'application/json', authorization: token }, body: JSON.stringify(body) })
  t.equal((await post(one, '/signup', bob)).status, 200)
  const { token } = Object(await (await post(two, '/login', bob)).json())
  const guarded = async (address: string) => (await fetch(`${address}/need_login`, { headers: { authorization: token } })).status
  t.equal(await guarded(one), 200)
  t.equal((await post(one, '/logout', undefined, token)).status, 200)
  t.equal(await guarded(two), 401, 'at once')
  for (const { child, exited } of servers) {
    child.kill('SIGTERM')
    t.equal(await exited, 0)
  }
})

t.test('without SECRET_KEY the log says that the other servers need the new one', async (t) => {
  const server = startServer(t, temporaryFolder(t), { DATABASE_URL: await createPostgres(t), SECRET_KEY: undefined })
  await server.listening
  t.match(server.output(), 'a new one was made and kept in .env: every other server on this database needs the same')
  server.child.kill('SIGTERM')
  t.equal(await server.exited, 0)
})

/** Sends requests at a fixed rate, whatever the responses, and counts these. */
function load (app: FastifyInstance, token: string) {
  const statuses = new Map<string, number>()
  const problems: string[] = []
  const pending = new Set<Promise<void>>()
  let slowestMs = 0
  let count = 0
  const [address] = app.addresses()
  const base = `http://127.0.0.1:${Object(address).port}`
  const json = { 'content-type': 'application/json' }
  const ask = async (name: string, path: string, init: RequestInit = {}) => {
    const before = performance.now()
    const response = await fetch(base + path, { ...init, signal: AbortSignal.timeout(10_000) })
    const body = await response.text()
    slowestMs = Math.max(slowestMs, performance.now() - before)
    const key = `${name} ${response.status}`
    statuses.set(key, (statuses.get(key) ?? 0) + 1)
    if (response.status === 503 && response.headers.get('retry-after') === null) problems.push(`${name}: no Retry-After`)
    if (response.status >= 500 && !/"message":"(?:Service Unavailable)"/.test(body)) problems.push(`${name}: ${body}`)
  }
  const timer = setInterval(() => {
    const each = [
      ask('need_login', '/need_login', { headers: { authorization: token } }),
      ask('login', '/api/v1/login', { method: 'POST', headers: json, body: JSON.stringify(bob) }),
      ask('signup', '/api/v1/signup', { method: 'POST', headers: json, body: JSON.stringify({ ...bob, username: `bob${count++}` }) }),
      ask('ready', '/health/ready'),
      ask('live', '/health/live')
    ]
    for (const asked of each) {
      const tracked = asked.catch((error) => { problems.push(String(error)) }).finally(() => pending.delete(tracked))
      pending.add(tracked)
    }
  }, 100)
  t.teardown(() => clearInterval(timer))
  return {
    statuses,
    problems,
    slowestMs: () => slowestMs,
    /** Resets the counts. */
    reset: () => statuses.clear(),
    async stop () {
      clearInterval(timer)
      await Promise.all(pending)
    }
  }
}

t.test('the server goes away under load · 503 with Retry-After, never "user not found"; it recovers by itself', async (t) => {
  const server = await startPostgres(t)
  const lines: string[] = []
  const app = await build(t, { DATABASE_URL: server.url(), LOG_LEVEL: 'trace' }, { logStream: { write: (line) => { lines.push(line) } } })
  await app.listen({ host: '127.0.0.1', port: 0 })
  const token = await tokenOf(app)
  const traffic = load(app, token)
  const kinds = () => [...traffic.statuses.keys()].sort()
  await delay(1_000)
  t.same(kinds(), ['live 200', 'login 200', 'need_login 200', 'ready 200', 'signup 200'])

  for (const [name, stop, start] of [
    ['stopped', server.stop, server.start],
    ['killed', server.kill, server.start]
  ] as const) {
    await stop()
    await delay(300)
    traffic.reset()
    await delay(1_500)
    t.same(kinds(), ['live 200', 'login 503', 'need_login 503', 'ready 503', 'signup 503'], name)
    await start()
    const startedAt = performance.now()
    for (;;) {
      const { statusCode } = await app.inject('/health/ready')
      if (statusCode === 200 || performance.now() - startedAt > 10_000) break
      await delay(50)
    }
    t.ok(performance.now() - startedAt < 10_000, `${name}: recovered after ${Math.round(performance.now() - startedAt)} ms`)
    await delay(500)
    traffic.reset()
    await delay(1_000)
    t.same(kinds(), ['live 200', 'login 200', 'need_login 200', 'ready 200', 'signup 200'], `${name} and back`)
  }
  await traffic.stop()
  t.same(traffic.problems, [])
  t.ok(traffic.slowestMs() < 4_500, `the slowest answer took ${Math.round(traffic.slowestMs())} ms`)
  const log = lines.join('')
  t.match(log, /ECONNREFUSED|57P01|Connection terminated/)
  for (const secret of ['$argon2', bob.password, token, decodeURIComponent(new URL(server.url()).password), 'insert into', 'username_key']) t.notOk(log.includes(secret), secret)
})

/** Forwards bytes to a server, until it is told to drop them. */
async function interruptibleProxy (t: Test, port: number) {
  const sockets = new Set<Socket>()
  let isCut: boolean | 'after the greeting' = false
  const proxy = createServer((client) => {
    const server = connect(port, '127.0.0.1')
    for (const [from, to] of [[client, server], [server, client]] as const) {
      sockets.add(from)
      from.on('data', (bytes) => {
        if (isCut === true) return
        to.write(bytes)
        // ReadyForQuery with the transaction status idle: the connection is made.
        if (isCut !== false && from === server && bytes.includes('Z\0\0\0\x05I')) isCut = true
      }).on('error', () => {}).on('close', () => to.destroy())
    }
  }).listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  t.teardown(() => {
    proxy.close()
    for (const socket of sockets) socket.destroy()
  })
  return { port: String(Object(proxy.address()).port), cut: (cut: typeof isCut) => { isCut = cut } }
}

t.test('a server that does not answer · every response is 503 in bounded time, and it recovers by itself', async (t) => {
  const url = await createPostgres(t)
  const { port, cut } = await interruptibleProxy(t, Number(new URL(url).port))
  const app = await build(t, { DATABASE_URL: change(url, { hostname: '127.0.0.1', port }), DATABASE_POOL_SIZE: '3', DATABASE_CONNECT_TIMEOUT_MS: '1000', DATABASE_STATEMENT_TIMEOUT_MS: '1000' })
  const token = await tokenOf(app)
  cut(true)
  const before = performance.now()
  const responses = await Promise.all(Array.from({ length: 12 }, (_, i) => i % 2 === 0 ? needLogin(app, token) : logIn(app)))
  for (const { statusCode, headers } of responses) t.match({ statusCode, headers }, { statusCode: 503, headers: { 'retry-after': '1' } })
  t.equal((await app.inject('/health/ready')).statusCode, 503)
  t.equal((await app.inject('/health/live')).statusCode, 200)
  t.ok(performance.now() - before < 9_000)
  cut(false)
  const restoredAt = performance.now()
  while ((await needLogin(app, token)).statusCode !== 200 && performance.now() - restoredAt < 10_000) await delay(50)
  t.equal((await needLogin(app, token)).statusCode, 200)
})

t.test('a locked table · 503 in bounded time', async (t) => {
  const url = await createPostgres(t)
  const app = await build(t, { DATABASE_URL: url, DATABASE_STATEMENT_TIMEOUT_MS: '500' })
  const token = await tokenOf(app)
  await withClient(url, async (other) => {
    await other.query('begin; lock table latchkey.users in access exclusive mode')
    for (const response of [await needLogin(app, token), await logIn(app), await signUp(app, { ...bob, username: 'alice' })]) {
      t.match(response.json(), { statusCode: 503, code: 'SERVICE_UNAVAILABLE', message: 'Service Unavailable' })
      t.equal(response.headers['retry-after'], '1')
    }
    t.equal((await app.inject('/health/ready')).statusCode, 200)
  })
  t.equal((await needLogin(app, token)).statusCode, 200)
})

t.test('a pool of 2 connections serves 50 clients', async (t) => {
  const url = `${await createPostgres(t)}?application_name=small-pool`
  const app = await build(t, { DATABASE_URL: url, DATABASE_POOL_SIZE: '2', DATABASE_CONNECT_TIMEOUT_MS: '10000' })
  const token = await tokenOf(app)
  const responses = await Promise.all(Array.from({ length: 50 }, (_, i) => [
    needLogin(app, token), needLogin(app, token), logIn(app), signUp(app, { ...bob, username: `bob${i}` })
  ]).flat())
  for (const { statusCode } of responses) t.equal(statusCode, 200)
  t.same(await rowsOf(servicesOf(app).store, "select count(*)::int as connections from pg_stat_activity where application_name = 'small-pool'"), [{ connections: 2 }])

  const hung = await build(t, { DATABASE_URL: url, DATABASE_POOL_SIZE: '2', DATABASE_CONNECT_TIMEOUT_MS: '1000', DATABASE_STATEMENT_TIMEOUT_MS: '30000' })
  await hung.ready()
  const sleeping = [1, 2].map(() => rowsOf(servicesOf(hung).store, 'select pg_sleep(20)').catch(() => {}))
  const asleep = async () => (await rowsOf(servicesOf(app).store, "select pid from pg_stat_activity where state = 'active' and query = 'select pg_sleep(20)'")).length
  while (await asleep() < 2) await delay(20)
  const before = performance.now()
  const waiting = await Promise.all(Array.from({ length: 50 }, () => needLogin(hung, token)))
  for (const { statusCode, headers } of waiting) t.match({ statusCode, headers }, { statusCode: 503, headers: { 'retry-after': '1' } })
  t.ok(performance.now() - before < 8_000, `after ${Math.round(performance.now() - before)} ms, and not when the others have slept`)
  await rowsOf(servicesOf(app).store, "select pg_cancel_backend(pid) from pg_stat_activity where query = 'select pg_sleep(20)'")
  await Promise.all(sleeping)
  t.equal((await needLogin(hung, token)).statusCode, 200)
})
