import { execFileSync } from 'node:child_process'
import fs, { chmodSync, chownSync, closeSync, existsSync, linkSync, lstatSync, lutimesSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'
import { setImmediate as nextTurn, setTimeout as delay } from 'node:timers/promises'
import Database from 'better-sqlite3'
import { DrizzleQueryError, eq, sql } from 'drizzle-orm'
import { getTableConfig } from 'drizzle-orm/sqlite-core'
import Fastify from 'fastify'
import t from 'tap'
import { isConflict, isForeignKeyViolation, isUnavailable } from '../src/database/errors.js'
import { errorCode, errorMessage, isNodeError } from '../src/lib/error-code.js'
import { unwrapDatabaseError } from '../src/lib/unwrap-error.js'
import { keepBallast } from '../src/database/sqlite/ballast.js'
import { batchReads } from '../src/database/sqlite/batched-reads.js'
import type { Store } from '../src/database/store.js'
import latchkey from '../src/index.js'
import { openNewFile } from '../src/lib/new-file.js'
import { servicesOf } from '../src/services.js'
import { testOptions } from '../src/testing.js'
import { openStore } from './databases.js'
import { asStranger, bob, build, fillDisks, isRoot, logIn, needLogin, signUp, stranger, temporaryFolder, tokenOf } from './helper.js'

const mode = (path: string) => statSync(path).mode & 0o777
const pragma = async (store: Store, name: string) => Object.values(await store.db.get<object>(sql.raw(`pragma ${name}`)))[0]

t.test('openStore', async (t) => {
  t.test('creates the folder and the file unreadable for others, with the documented pragmas, also when opened again', async (t) => {
    const folder = join(temporaryFolder(t), 'data', 'deep')
    const file = join(folder, 'latchkey.sqlite')
    for (const attempt of ['first', 'second']) {
      const store = await openStore(`sqlite:///${file}`)
      t.equal(await pragma(store, 'journal_mode'), 'wal', attempt)
      t.equal(await pragma(store, 'synchronous'), 2, 'FULL')
      t.equal(await pragma(store, 'foreign_keys'), 1)
      t.ok(await pragma(store, 'busy_timeout') <= 250)
      t.equal(mode(folder), 0o700)
      t.equal(mode(file), 0o600)
      t.equal(mode(`${file}-wal`), 0o600)
      await store.close()
    }
  })

  t.test('makes an existing file unreadable for others', async (t) => {
    const file = join(temporaryFolder(t), 'latchkey.sqlite')
    writeFileSync(file, '')
    chmodSync(file, 0o644)
    const store = await openStore(`sqlite:///${file}`)
    for (const suffix of ['', '-wal', '-shm']) t.equal(mode(file + suffix), 0o600, suffix)
    await store.close()
  })

  t.test('reads the path as SQLAlchemy does', async (t) => {
    const folder = temporaryFolder(t)
    const home = process.cwd()
    t.teardown(() => process.chdir(home))
    process.chdir(folder)
    await (await openStore('sqlite:///relative.sqlite')).close()
    t.ok(statSync(join(folder, 'relative.sqlite')))
    await (await openStore(`sqlite:////${folder}/absolute.sqlite`)).close()
    t.ok(statSync(join(folder, 'absolute.sqlite')))
    for (const url of ['sqlite://', 'sqlite:///', 'sqlite:///:memory:']) {
      const store = await openStore(url)
      t.equal(await pragma(store, 'journal_mode'), 'memory', url)
      await store.close()
    }
  })

  t.test('the bundled SQLite has the WAL-reset fix', async (t) => {
    const store = await openStore('sqlite://')
    const [major = 0, minor = 0, patch = 0] = String(Object.values(await store.db.get<object>(sql`select sqlite_version()`))[0]).split('.').map(Number)
    t.ok(major * 1e6 + minor * 1e3 + patch >= 3_051_003)
    await store.close()
  })

  t.test('a file that is no database is refused with one line and left as it was', async (t) => {
    const file = join(temporaryFolder(t), 'latchkey.sqlite')
    writeFileSync(file, 'this is not a database, but it is long enough to look like a file that matters to somebody')
    chmodSync(file, 0o644)
    const before = readFileSync(file)
    await t.rejects(openStore(`sqlite:///${file}`), { name: 'StoreError', message: `cannot open the database ${file}: file is not a database` })
    t.same(readFileSync(file), before)
    t.equal(mode(file), 0o644)
  })

  t.test('a folder in the place of the file is refused with one line', async (t) => {
    const file = join(temporaryFolder(t), 'latchkey.sqlite')
    mkdirSync(file)
    await t.rejects(openStore(`sqlite:///${file}`), { name: 'StoreError', message: `cannot open the database ${file}: it is not a regular file` })
  })

  t.test('a symbolic link to a file that does not exist is not followed; a pipe does not block the start', async (t) => {
    const folder = temporaryFolder(t)
    const [file, victim, pipe] = ['latchkey.sqlite', 'victim', 'pipe'].map((name) => join(folder, name)) as [string, string, string]
    symlinkSync(victim, file)
    await t.rejects(openStore(`sqlite:///${file}`), { name: 'StoreError', message: `cannot open the database ${file}: it is a symbolic link to a missing file` })
    t.same(readdirSync(folder), ['latchkey.sqlite'])
    execFileSync('mkfifo', [pipe])
    await t.rejects(openStore(`sqlite:///${pipe}`), { name: 'StoreError', message: `cannot open the database ${pipe}: it is not a regular file` })
    symlinkSync('loop', join(folder, 'loop'))
    await t.rejects(openStore(`sqlite:///${join(folder, 'loop')}`), { name: 'StoreError', message: /ELOOP/ })
  })

  t.test('a database behind a symbolic link is used where it is, with its other files', async (t) => {
    const [here, there] = [temporaryFolder(t), temporaryFolder(t)]
    const [link, file, victim] = [join(here, 'latchkey.sqlite'), join(there, 'real.sqlite'), join(here, 'victim')] as const
    writeFileSync(file, '')
    chmodSync(file, 0o644)
    symlinkSync(file, link)
    writeFileSync(victim, '')
    chmodSync(victim, 0o644)
    symlinkSync(victim, `${link}-wal`)
    const store = await openStore(`sqlite:///${link}`)
    for (const suffix of ['', '-wal', '-shm']) t.equal(mode(file + suffix), 0o600, suffix)
    t.equal(mode(victim), 0o644, 'a file that only has the name of one of ours is left alone')
    await store.close()
  })

  t.test('spaces around the name of the file are ignored', async (t) => {
    const folder = temporaryFolder(t)
    const store = await openStore(`sqlite:///${folder}/latchkey.sqlite `)
    t.same(readdirSync(folder).sort(), ['latchkey.sqlite', 'latchkey.sqlite-shm', 'latchkey.sqlite-wal'])
    t.equal(mode(join(folder, 'latchkey.sqlite')), 0o600)
    await store.close()
  })

  t.test('SQLite opens another file than the one that was meant → refused, and the other file stays as it was', async (t) => {
    const folder = temporaryFolder(t)
    const [meant, other, link] = ['latchkey.sqlite ', 'latchkey.sqlite', 'link.sqlite'].map((name) => join(folder, name)) as [string, string, string]
    writeFileSync(meant, '')
    writeFileSync(other, '')
    chmodSync(other, 0o644)
    symlinkSync(meant, link)
    await t.rejects(openStore(`sqlite:///${link}`), { name: 'StoreError', message: `cannot open the database ${link}: SQLite opened another file: ${other}` })
    t.same([statSync(other).size, mode(other)], [0, 0o644])
  })

  t.test('a link in the place of -wal or -shm → refused, and not followed', async (t) => {
    for (const suffix of ['-wal', '-shm']) {
      const folder = temporaryFolder(t)
      const [file, victim] = [join(folder, 'latchkey.sqlite'), join(folder, 'victim')] as const
      writeFileSync(victim, 'precious')
      chmodSync(victim, 0o644)
      symlinkSync(victim, file + suffix)
      await t.rejects(openStore(`sqlite:///${file}`), { name: 'StoreError', message: `cannot open the database ${file}: ${file}${suffix} is not a regular file` })
      t.same([readFileSync(victim, 'utf8'), mode(victim)], ['precious', 0o644])
    }
  })

  t.test('a file system without modes → refused', async (t) => {
    const file = join(temporaryFolder(t), 'latchkey.sqlite')
    writeFileSync(file, '')
    chmodSync(file, 0o640)
    const original = { chmodSync }
    const set = (replaced: object) => {
      Object.assign(fs, replaced)
      syncBuiltinESMExports()
    }
    t.teardown(() => set(original))
    set({ chmodSync: () => {} })
    await t.rejects(openStore(`sqlite:///${file}`), { name: 'StoreError', message: `cannot open the database ${file}: other users can read or change ${file}, and its mode cannot be changed: use a file system with modes` })
    set(original)
    await (await openStore(`sqlite:///${file}`)).close()
    t.equal(mode(file), 0o600)
  })

  t.test('no database is created in a folder that everybody can write to', async (t) => {
    const folder = temporaryFolder(t)
    const file = join(folder, 'latchkey.sqlite')
    chmodSync(folder, 0o777)
    await t.rejects(openStore(`sqlite:///${file}`), { name: 'StoreError', message: `cannot open the database ${file}: the folder ${folder} can be written to by everybody` })
    await t.rejects(openStore(`sqlite:///${join(folder, 'data', 'deep', 'latchkey.sqlite')}`), { name: 'StoreError', message: /: the folder \S+ can be written to by everybody$/ })
    t.same(readdirSync(folder), [])

    chmodSync(folder, 0o1777)
    await (await openStore(`sqlite:///${file}`)).close()
    chmodSync(folder, 0o777)
    const store = await openStore(`sqlite:///${file}`, { keepsBallast: true })
    await delay(1_500)
    t.notOk(existsSync(`${file}-reserve`), 'an existing one is used, without a ballast file')
    await store.close()
  })

  t.test('no database is created in the folder of another user, unless by root', { skip: isRoot ? false : 'only root can act as another user' }, async (t) => {
    const folder = temporaryFolder(t)
    const file = join(folder, 'latchkey.sqlite')
    chownSync(folder, 65_533, 65_533)
    chmodSync(folder, 0o1777)
    await asStranger(async () => {
      await t.rejects(openStore(`sqlite:///${file}`), { name: 'StoreError', message: `cannot open the database ${file}: the folder ${folder} belongs to another user` })
    })
    t.same(readdirSync(folder), [])
    await (await openStore(`sqlite:///${file}`)).close()
    t.equal(mode(file), 0o600)

    chownSync(folder, 0, 0)
    await asStranger(() => closeSync(openNewFile(join(folder, 'other.sqlite'))))
    t.equal(statSync(join(folder, 'other.sqlite')).uid, stranger, 'a folder of root is accepted')
  })

  t.test('a scheme without a driver is refused with one line', async (t) => {
    await t.rejects(openStore('mysql://localhost/latchkey'), { name: 'StoreError', message: 'no database driver for the scheme mysql:' })
  })

  t.test('two that start at once on an empty file both come up', async (t) => {
    const file = join(temporaryFolder(t), 'latchkey.sqlite')
    const first = await openStore(`sqlite:///${file}`)
    const second = await openStore(`sqlite:///${file}`)
    await second.ping()
    await first.close()
    await second.close()
  })

  t.test('waits while another process migrates the file', async (t) => {
    const file = join(temporaryFolder(t), 'latchkey.sqlite')
    const other = new Database(file)
    other.exec('begin exclusive; create table migrating (id integer)')
    const opening = openStore(`sqlite:///${file}`)
    await new Promise((resolve) => setTimeout(resolve, 400))
    other.exec('rollback')
    other.close()
    const store = await opening
    await store.ping()
    await store.close()
  })

  t.test('a database with the tables of another program is refused', async (t) => {
    const file = join(temporaryFolder(t), 'latchkey.sqlite')
    const other = new Database(file)
    other.exec('create table tokens (id integer)')
    other.close()
    const before = readFileSync(file)
    await t.rejects(openStore(`sqlite:///${file}`), { name: 'StoreError', message: `cannot open the database ${file}: it has the tables of another program` })
    t.same(readFileSync(file), before, 'and left alone')

    const stranger = join(temporaryFolder(t), 'latchkey.sqlite')
    const drizzles = new Database(stranger)
    drizzles.exec('create table tokens (id integer); create table __drizzle_migrations (id integer, hash text, created_at numeric)')
    drizzles.close()
    await t.rejects(openStore(`sqlite:///${stranger}`), { name: 'StoreError', message: /table `tokens` already exists/ })
  })

  t.test('reads of one turn of the event loop share a transaction; where that fails each is run by itself, and no transaction stays open', async (t) => {
    const client = new Database(':memory:')
    client.exec('create table parent (id integer primary key); create table child (id references parent (id) deferrable initially deferred); insert into parent values (1)')
    const batchRead = batchReads(client)
    const count = client.prepare('select count(*) from parent').pluck()
    const ask = () => batchRead(() => count.get())
    const isShared = () => batchRead(() => client.inTransaction)
    t.same(await Promise.all([isShared(), isShared()]), [true, true])
    t.equal(await isShared(), false, 'a single read needs none')

    t.same(await Promise.all([ask(), batchRead(() => client.exec('rollback').open), ask()]), [1, true, 1], 'SQLite has rolled back, as it does when a disk fails')
    const [before, failed, after] = await Promise.allSettled([ask(), batchRead(() => { throw new Error('a failure') }), ask()])
    t.match([before, failed, after], [{ value: 1 }, { reason: { message: 'a failure' } }, { value: 1 }])
    await Promise.all([ask(), batchRead(() => client.exec('insert into child values (7)').open)])
    t.equal(client.inTransaction, false, 'what cannot be committed is rolled back')
    t.equal(client.prepare('select count(*) from child').pluck().get(), 0)

    client.exec('begin')
    t.same(await Promise.all([ask(), ask()]), [1, 1], 'inside another transaction')
    t.equal(client.inTransaction, true)
    client.exec('commit')
    const rows = client.prepare('select * from parent').iterate()
    rows.next()
    t.same(await Promise.all([ask(), ask()]), [1, 1], 'while rows are iterated')
    rows.return?.()
    t.same(await Promise.all([ask(), ask()]), [1, 1])
    client.close()
    for (const { status } of await Promise.allSettled([ask(), ask()])) t.equal(status, 'rejected')
  })

  t.test('durability · only login tokens, login failures and audit events are relaxed', async (t) => {
    const writes = new Map<string, Set<number>>()
    const prototype = Object.getPrototypeOf(new Database(':memory:').prepare('select 1'))
    const originals = { run: prototype.run, all: prototype.all }
    for (const [name, original] of Object.entries(originals)) {
      prototype[name] = function (...args: unknown[]) {
        const [, what] = /^((?:insert into|update|delete from) "\w+")/.exec(this.source) ?? []
        // In a transaction its commit counts, on the same connection.
        if (what !== undefined) writes.set(what, (writes.get(what) ?? new Set()).add(this.database.pragma('synchronous', { simple: true })))
        return Reflect.apply(original, this, args)
      }
    }
    t.teardown(() => Object.assign(prototype, originals))
    const app = await build(t, { DATABASE_URL: `sqlite:///${join(temporaryFolder(t), 'latchkey.sqlite')}`, LOGIN_FAILURES_PER_ACCOUNT: '10' })
    const [normal, full] = [1, 2]
    /** By table, the value of `synchronous` with which it was written meanwhile. */
    async function durabilityOf (work: () => Promise<unknown>): Promise<Record<string, number[]>> {
      writes.clear()
      await work()
      return Object.fromEntries([...writes].map(([what, levels]) => [what, [...levels]]))
    }
    let token = ''
    const ask = (method: 'POST' | 'PUT' | 'DELETE', path: string, payload?: object) => async () => {
      const { statusCode } = await app.inject({ method, url: `/api/v1${path}`, headers: { authorization: token }, payload })
      if (statusCode >= 300) throw new Error(`${method} ${path}: ${statusCode}`)
    }
    t.match(await durabilityOf(() => signUp(app)), { 'insert into "users"': [full] })
    t.match(await durabilityOf(async () => { token = (await logIn(app)).json().token }), { 'insert into "tokens"': [normal] })
    t.same((await durabilityOf(() => logIn(app, { ...bob, password: 'wrong' })))['insert into "login_failures"'], [normal])
    t.same((await durabilityOf(async () => { token = (await logIn(app)).json().token }))['delete from "login_failures"'], [normal])
    t.match(await durabilityOf(ask('POST', '/tokens', { description: 'a script' })), { 'insert into "tokens"': [full] })
    t.match(await durabilityOf(ask('PUT', '/me/password', { current_password: bob.password, new_password: 'another horse battery' })), { 'update "users"': [full], 'delete from "tokens"': [full] })
    t.match(await durabilityOf(ask('POST', '/logout')), { 'delete from "tokens"': [full] })
    t.same((await durabilityOf(() => servicesOf(app).audit.list({}, 9)))['insert into "events"'], [normal])
  })

  t.test('store.relaxed · does not wait for the disk, sees what store.db has written, and can be prepared as well', async (t) => {
    const store = await openStore(`sqlite:///${join(temporaryFolder(t), 'latchkey.sqlite')}`)
    t.teardown(() => store.close())
    const { db, relaxed, tables: { roles } } = store
    t.equal(await pragma(store, 'synchronous'), 2, 'FULL')
    t.same(await relaxed.get(sql.raw('pragma synchronous')), { synchronous: 1 }, 'NORMAL')
    t.same(await relaxed.get(sql.raw('pragma foreign_keys')), { foreign_keys: 1 })
    for (const [name, builder] of Object.entries({ db, relaxed })) {
      const insert = store.prepare(name, builder.insert(roles).values({ name: sql.placeholder('name'), description: '' }))
      await insert.execute({ name })
    }
    for (const builder of [db, relaxed]) t.same((await builder.select({ name: roles.name }).from(roles)).map(({ name }) => name), ['admin', 'db', 'relaxed'])
    await store.batch([relaxed.insert(roles).values({ name: 'batch', description: '' }), db.delete(roles)])
    t.equal(await relaxed.$count(roles), 0, 'in a batch a query of either is part of the transaction')
    const inMemory = await openStore('sqlite://')
    await inMemory.relaxed.insert(roles).values({ name: 'one', description: '' })
    t.equal(await inMemory.db.$count(roles), 2)
    await inMemory.close()
  })

  t.test('locked by another process · once a write has waited in vain, others fail at once on both connections, and reads go on', async (t) => {
    const file = join(temporaryFolder(t), 'latchkey.sqlite')
    const store = await openStore(`sqlite:///${file}`)
    t.teardown(() => store.close())
    const { roles } = store.tables
    const write = async (builder: Store['db']) => builder.insert(roles).values({ name: 'one', description: '' }).then(() => 'written', (error) => errorCode(unwrapDatabaseError(error)))
    const busyTimeouts = async () => Promise.all([store.db, store.relaxed].map(async (builder) => Object.values(await builder.get<object>(sql.raw('pragma busy_timeout')))[0]))
    const other = new Database(file)
    other.exec('begin immediate')
    t.same(await busyTimeouts(), [250, 250])
    t.equal(await write(store.relaxed), 'SQLITE_BUSY')
    t.same(await busyTimeouts(), [0, 0])
    t.equal(await write(store.db), 'SQLITE_BUSY')
    t.equal(await store.db.$count(roles), 1)
    other.exec('rollback')
    other.close()
    await delay(1_100)
    t.equal(await write(store.db), 'written')
    t.same(await busyTimeouts(), [250, 250])
  })

  t.test('prepareGet · refuses parameters that are not placeholders', async (t) => {
    const store = await openStore('sqlite://')
    t.teardown(() => store.close())
    const { db, tables: { users } } = store
    const columns = { username: users.username }
    t.throws(() => store.prepareGet('fixed', columns, db.select(columns).from(users).where(eq(users.id, 1))), TypeError)
    const find = store.prepareGet('by_id', columns, db.select(columns).from(users).where(eq(users.id, sql.placeholder('id'))))
    t.equal(await find({ id: 1 }), undefined)
  })

  t.test('rows that refer to rows that do not exist are found after a migration', async (t) => {
    const file = join(temporaryFolder(t), 'latchkey.sqlite')
    await (await openStore(`sqlite:///${file}`)).close()
    const other = new Database(file)
    other.pragma('foreign_keys = OFF')
    other.exec("insert into users (id, username, username_key, password_hash, created_at, updated_at) values (1, 'bob', 'bob', '', 0, 0)")
    other.exec("insert into tokens (id, user_id, kind, description, created_at, expires_at, last_used_at) values ('y', 1, 'personal', 'a script', 1, 2, 3)")
    other.exec("insert into tokens (id, user_id, description, created_at, expires_at) values ('x', 42, '', 0, 0)")
    // The last migrations are applied again: the first of them rebuilds a table.
    other.exec('drop index events_user_id_kind_index; drop table cleanup_clock; drop table address_unlocks; drop table signing_keys; drop table codes; drop table second_factors; drop index users_disabled_index')
    for (const column of ['disabled_at', 'email_verified_at', 'second_factor_at']) other.exec(`alter table users drop column ${column}`)
    for (const column of ['logged_in_at', 'renewed_at']) other.exec(`alter table tokens drop column ${column}`)
    other.exec('delete from __drizzle_migrations where created_at in (select created_at from __drizzle_migrations order by created_at desc limit 7)')
    for (let start = 1; start <= 2; start++) await t.rejects(openStore(`sqlite:///${file}`), { name: 'StoreError', message: /rows refer to rows that do not exist/ })
    other.exec('delete from tokens where user_id = 42')
    await (await openStore(`sqlite:///${file}`)).close()
    t.same(other.prepare('select * from tokens').all(), [{ id: 'y', user_id: 1, kind: 'personal', description: 'a script', created_at: 1, expires_at: 2, last_used_at: 3, logged_in_at: null, renewed_at: null }], 'other rows are kept')
    other.close()
  })

  t.test('the migrations make the tables that the schema describes', async (t) => {
    const store = await openStore('sqlite://')
    for (const table of Object.values(store.tables)) {
      const { name, columns, indexes, foreignKeys, primaryKeys } = getTableConfig(table)
      const inDatabase = await store.db.all<{ name: string, type: string, notnull: number, pk: number }>(sql.raw(`pragma table_info(${name})`))
      // A column that came later stands last in the database, wherever it stands in the schema.
      const byName = (a: { name: string }, b: { name: string }) => a.name.localeCompare(b.name)
      t.same(
        inDatabase.toSorted(byName).map((column) => ({ name: column.name, type: column.type.toLowerCase(), notNull: column.notnull === 1, primary: column.pk !== 0 })),
        columns.toSorted(byName).map((column) => ({ name: column.name, type: column.getSQLType(), notNull: column.notNull, primary: column.primary || primaryKeys.some((key) => key.columns.includes(column)) }))
      )
      const indexNames = (await store.db.all<{ name: string }>(sql.raw(`pragma index_list(${name})`))).map((index) => index.name)
      for (const expected of [...indexes.map((index) => index.config.name), ...columns.flatMap(({ isUnique, uniqueName }) => isUnique ? [uniqueName] : [])]) {
        t.ok(indexNames.includes(String(expected)), String(expected))
      }
      const keys = await store.db.all<{ from: string, table: string, to: string, on_delete: string }>(sql.raw(`pragma foreign_key_list(${name})`))
      t.same(
        keys.map((key) => [key.from, key.table, key.to, key.on_delete.toLowerCase()].join()).sort(),
        foreignKeys.map((key) => [key.reference().columns[0]?.name, getTableConfig(key.reference().foreignTable).name, key.reference().foreignColumns[0]?.name, key.onDelete].join()).sort()
      )
    }
    await store.close()
  })

  t.test('the id of a deleted user is never given again', async (t) => {
    const store = await openStore('sqlite://')
    const { users } = store.tables
    const add = async () => store.db.insert(users).values({ username: 'bob', usernameKey: 'bob', passwordHash: '', createdAt: new Date(), updatedAt: new Date() }).returning()
    const [first] = await add()
    await store.db.delete(users)
    const [second] = await add()
    t.same([first?.id, second?.id], [1, 2])
    await store.close()
  })

  t.test('after close a ping rejects', async (t) => {
    const store = await openStore('sqlite://')
    await store.ping()
    await store.close()
    await t.rejects(store.ping())
  })
})

t.test('file of a database · deleted, moved or replaced while it is open → ping rejects, and each change is reported once', async (t) => {
  const timers: Array<() => void> = []
  const { setInterval } = globalThis
  t.teardown(() => { globalThis.setInterval = setInterval })
  globalThis.setInterval = Object.assign((callback: () => void, ms: number) => {
    if (ms === 10_000) timers.push(callback)
    return setInterval(() => {}, ms)
  }, setInterval)
  const move = (from: string, to: string) => [() => renameSync(from, to), () => renameSync(to, from)] as const
  for (const [name, change] of Object.entries({
    'its folder is moved': (folder: string) => move(folder, `${folder}-2`),
    'it is moved': (folder: string) => move(`${folder}/latchkey.sqlite`, `${folder}/other.sqlite`),
    'its -wal is moved': (folder: string) => move(`${folder}/latchkey.sqlite-wal`, `${folder}/other`),
    'its -shm is moved': (folder: string) => move(`${folder}/latchkey.sqlite-shm`, `${folder}/other`),
    'it is replaced': (folder: string) => [() => {
      renameSync(`${folder}/latchkey.sqlite`, `${folder}/other.sqlite`)
      writeFileSync(`${folder}/latchkey.sqlite`, '')
    }, () => renameSync(`${folder}/other.sqlite`, `${folder}/latchkey.sqlite`)] as const,
    'the link to its folder leads elsewhere': (folder: string) => [() => {
      rmSync(`${folder}-link`)
      symlinkSync(temporaryFolder(t), `${folder}-link`)
    }, () => {
      rmSync(`${folder}-link`)
      symlinkSync(folder, `${folder}-link`)
    }] as const
  })) {
    const folder = join(temporaryFolder(t), 'data')
    mkdirSync(folder, { mode: 0o700 })
    symlinkSync(folder, `${folder}-link`)
    const changes: Array<string | undefined> = []
    const store = await openStore(`sqlite:///${folder}-link/latchkey.sqlite`, { onFileChange: (problem) => changes.push(problem) })
    const look = timers.at(-1)
    const [lose, restore] = change(folder)
    await store.ping()
    look?.()
    t.same(changes, [])
    lose()
    look?.()
    look?.()
    for (let i = 0; i < 2; i++) await t.rejects(store.ping(), { code: 'SQLITE_READONLY_DBMOVED', message: /^\S+latchkey\.sqlite\S* (?:is gone|was replaced): what the server writes now will be lost\. Stop the server, put the database back in its place, and start the server again\.$/ }, name)
    t.match(changes, [/ (?:is gone|was replaced): /])
    t.equal(changes.length, 1)
    restore()
    await store.ping()
    t.equal(changes.length, 2)
    t.equal(changes[1], undefined)
    await store.close()
  }
  globalThis.setInterval = setInterval

  const folder = temporaryFolder(t)
  const store = await openStore(`sqlite:///${folder}/latchkey.sqlite`)
  for (const name of readdirSync(folder)) rmSync(join(folder, name))
  await t.rejects(store.ping(), { message: `${folder}/latchkey.sqlite is gone: what the server writes now will be lost. Stop the server, put the database back in its place, and start the server again.` })
  await store.close()
})

t.test('file of a database · deleted under a server → GET /health/ready 503, GET /health/live 200; the log says so once', async (t) => {
  const folder = join(temporaryFolder(t), 'data')
  const lines: string[] = []
  const app = await build(t, { DATABASE_URL: `sqlite:///${folder}/latchkey.sqlite`, LOG_LEVEL: 'info' }, { logStream: { write: (line) => { lines.push(line) } } })
  const statuses = async () => [(await app.inject('/health/ready')).statusCode, (await app.inject('/health/live')).statusCode]
  t.same(await statuses(), [200, 200])
  renameSync(folder, `${folder}-2`)
  for (let i = 0; i < 3; i++) t.same(await statuses(), [503, 200])
  t.match((await app.inject('/health/ready')).json(), { statusCode: 503, code: 'SERVICE_UNAVAILABLE', message: 'Service Unavailable' })
  await t.rejects(app.latchkey.ping(), { code: 'SQLITE_READONLY_DBMOVED' }, 'an embedding app learns it as well')
  const logged = (message: RegExp) => lines.map((line) => JSON.parse(line)).filter(({ msg }) => message.test(msg)).map(({ level }) => level)
  t.same(logged(/latchkey\.sqlite is gone: what the server writes now will be lost\. Stop the server,/), [50])
  renameSync(`${folder}-2`, folder)
  t.same(await statuses(), [200, 200])
  t.same(logged(/^the database is back in its place$/), [30])
  rmSync(folder, { recursive: true })
  t.same(await statuses(), [503, 200])
  await app.close()
  t.notOk(existsSync(folder), 'the shutdown creates nothing')
})

t.test('file of a database · another database takes its place → the shutdown leaves the files of the other one alone', async (t) => {
  const folder = temporaryFolder(t)
  const file = join(folder, 'latchkey.sqlite')
  const old = await openStore(`sqlite:///${file}`)
  const { roles } = old.tables
  for (const suffix of ['', '-wal', '-shm']) renameSync(file + suffix, `${file}-old${suffix}`)
  const current = await openStore(`sqlite:///${file}`)
  await current.db.insert(roles).values({ name: 'kept', description: '' })
  const wal = statSync(`${file}-wal`)
  await t.rejects(old.ping(), { message: /was replaced/ })
  await old.close()
  t.equal(statSync(`${file}-wal`).ino, wal.ino)
  await current.ping()
  t.equal(await current.db.$count(roles), 2)
  await current.close()
})

t.test('free space · is looked up at most once a second', async (t) => {
  const { statfsSync } = fs
  let [now, lookups] = [Date.now(), 0]
  const setStatfs = (fake: typeof fs.statfsSync) => {
    Object.assign(fs, { statfsSync: fake })
    syncBuiltinESMExports()
  }
  t.teardown(() => setStatfs(statfsSync))
  setStatfs(((path: string) => {
    lookups++
    return statfsSync(path)
  }) as typeof fs.statfsSync)
  const store = await openStore(`sqlite:///${join(temporaryFolder(t), 'latchkey.sqlite')}`, { keepsBallast: true, now: () => now })
  t.teardown(() => store.close())
  const lookupsAt = (time: number) => {
    now = time
    lookups = 0
    for (let i = 0; i < 1_000; i++) store.isNearlyFull()
    return lookups
  }
  const start = now
  t.equal(lookupsAt(start), 1)
  t.equal(lookupsAt(start + 999), 0)
  t.equal(lookupsAt(start + 1_000), 1)
  t.equal(lookupsAt(start - 3_600_000), 1, 'also when the clock was set back')
})

t.test('ballast file · only the server creates one; any store releases it when the disk is full', async (t) => {
  const file = join(temporaryFolder(t), 'latchkey.sqlite')
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(latchkey, testOptions({ databaseUrl: `sqlite:///${file}` }))
  const { store } = servicesOf(app)
  await delay(1_500)
  t.notOk(existsSync(`${file}-reserve`))
  fillDisks(t)
  t.notOk(store.isNearlyFull(), 'without a ballast file the whole disk is for everybody')

  writeFileSync(`${file}-reserve`, 'of a server')
  await store.db.run(sql.raw('pragma max_page_count = 1'))
  await t.rejects(store.batch([store.db.insert(store.tables.roles).values({ name: 'one', description: 'x'.repeat(100_000) })]), { code: 'SQLITE_FULL' })
  t.notOk(existsSync(`${file}-reserve`))
})

t.test('ballast file · is created soon after the start, unreadable for others, and released when the disk is full', async (t) => {
  const folder = join(temporaryFolder(t), 'data')
  const file = join(folder, 'latchkey.sqlite')
  const ballast = `${file}-reserve`
  const store = await openStore(`sqlite:///${file}`, { keepsBallast: true })
  const { roles } = store.tables
  t.notOk(store.isNearlyFull())
  t.notOk(existsSync(ballast), 'the start does not wait for it')
  const isCreated = async () => {
    for (let i = 0; i < 200 && !existsSync(ballast); i++) await delay(50)
    t.match(statSync(ballast), { size: 16_777_216, mode: 0o100600 })
  }
  await isCreated()

  const long = 'x'.repeat(100_000)
  await store.db.run(sql.raw('pragma max_page_count = 1'))
  const insert = async () => store.db.insert(roles).values({ name: 'one', description: long }).then(() => 'inserted', (error) => errorCode(unwrapDatabaseError(error)))
  t.equal(await insert(), 'SQLITE_FULL')
  t.notOk(existsSync(ballast), 'it was released, and the write retried')
  t.equal(await insert(), 'SQLITE_FULL')
  await t.rejects(store.batch([store.db.insert(roles).values({ name: 'one', description: long })]), { code: 'SQLITE_FULL' })
  await store.db.run(sql.raw('pragma max_page_count = 1000000'))
  await store.batch([store.db.insert(roles).values({ name: 'one', description: long })])
  await store.close()

  const again = await openStore(`sqlite:///${file}`, { keepsBallast: true })
  await isCreated()
  await again.db.run(sql.raw('pragma max_page_count = 1'))
  await t.rejects(again.batch([again.db.insert(roles).values({ name: 'two', description: long })]), { code: 'SQLITE_FULL' })
  t.notOk(existsSync(ballast), 'for a batch as well')
  t.same((await again.db.select({ name: roles.name }).from(roles)).map(({ name }) => name), ['admin', 'one'], 'which is retried as a whole')
  await again.close()
})

t.test('ballast file · in memory, or in a folder that disappeared, there is none', async (t) => {
  const inMemory = await openStore('sqlite://', { keepsBallast: true })
  await inMemory.db.run(sql.raw('pragma max_page_count = 1'))
  await t.rejects(inMemory.batch([inMemory.db.insert(inMemory.tables.roles).values({ name: 'one', description: 'x'.repeat(100_000) })]), { code: 'SQLITE_FULL' })
  t.notOk(inMemory.isNearlyFull())
  await inMemory.close()

  const folder = join(temporaryFolder(t), 'data')
  const file = join(folder, 'latchkey.sqlite')
  const store = await openStore(`sqlite:///${file}`, { keepsBallast: true })
  rmSync(folder, { recursive: true })
  await delay(1_500)
  t.notOk(store.isNearlyFull())
  await store.close()
})

t.test('ballast file · folder that cannot be read → there is none, and the server goes on', async (t) => {
  const file = join(temporaryFolder(t), 'latchkey.sqlite')
  const { lstatSync } = fs
  t.teardown(() => {
    Object.assign(fs, { lstatSync })
    syncBuiltinESMExports()
  })
  const ballast = keepBallast(file, Date.now)
  let isChecked = false
  Object.assign(fs, {
    lstatSync () {
      isChecked = true
      throw Object.assign(new Error('EACCES'), { code: 'EACCES' })
    }
  })
  syncBuiltinESMExports()
  while (await delay(20, !isChecked)) { /* waiting */ }
  await ballast.close()
  t.notOk(existsSync(`${file}-reserve`))
})

t.test('ballast file · overwrites nothing at its path', async (t) => {
  const [victim, linked] = [join(temporaryFolder(t), 'victim'), join(temporaryFolder(t), 'linked')]
  for (const path of [victim, linked, `${linked}-2`]) writeFileSync(path, 'precious')
  const plants: Record<string, (path: string) => void> = {
    'a symbolic link': (path) => symlinkSync(victim, path),
    'a link to nothing': (path) => symlinkSync(`${victim}-2`, path),
    'a hard link': (path) => linkSync(statSync(linked).nlink === 1 ? linked : `${linked}-2`, path),
    'a folder': (path) => mkdirSync(path),
    'a pipe': (path) => execFileSync('mkfifo', [path]),
    'a file': (path) => writeFileSync(path, 'half a ballast file')
  }
  await Promise.all(Object.entries(plants).flatMap(([name, plant]) => [true, false].map(async (isOld) => {
    const file = join(temporaryFolder(t), 'latchkey.sqlite')
    const unfinished = `${file}-reserve.part`
    plant(unfinished)
    if (isOld) lutimesSync(unfinished, 1, 1)
    const store = await openStore(`sqlite:///${file}`, { keepsBallast: true })
    await delay(2_500)
    const isCreated = isOld && name !== 'a folder'
    t.equal(existsSync(`${file}-reserve`), isCreated, `${name}, ${isOld ? 'old: left by a crash, and deleted' : 'recent: another process is creating one'}`)
    t.equal(lstatSync(unfinished, { throwIfNoEntry: false }) === undefined, isCreated)
    await store.close()
  })))
  for (const path of [victim, linked, `${linked}-2`]) t.equal(readFileSync(path, 'utf8'), 'precious')
  t.notOk(existsSync(`${victim}-2`))
})

t.test('ballast file · leaves no unfinished file behind when it cannot be created', async (t) => {
  const file = join(temporaryFolder(t), 'latchkey.sqlite')
  const store = await openStore(`sqlite:///${file}`, { keepsBallast: true })
  t.teardown(() => store.close())
  const unfinished = `${file}-reserve.part`
  while (!existsSync(unfinished)) await nextTurn()
  // Its name is taken while it is being written.
  mkdirSync(`${file}-reserve`)
  while (existsSync(unfinished)) await delay(10)
  t.ok(statSync(`${file}-reserve`).isDirectory())
})

t.test('ballast file · anything else under its name is neither followed nor an obstacle', async (t) => {
  for (const plant of [mkdirSync, (path: string) => symlinkSync('/nowhere', path)]) {
    const file = join(temporaryFolder(t), 'latchkey.sqlite')
    plant(`${file}-reserve`)
    const store = await openStore(`sqlite:///${file}`, { keepsBallast: true })
    await delay(1_500)
    t.notOk(existsSync(`${file}-reserve.part`))
    await store.db.run(sql.raw('pragma max_page_count = 1'))
    await t.rejects(store.batch([store.db.insert(store.tables.roles).values({ name: 'one', description: 'x'.repeat(100_000) })]), { code: 'SQLITE_FULL' })
    await store.close()
  }
})

t.test('last-used times of tokens · a failure is logged once and retried; after close nothing is written', async (t) => {
  const lines: string[] = []
  const app = await build(t, { LOG_LEVEL: 'error' }, { logStream: { write: (line) => { lines.push(line) } } })
  const { store, tokens } = servicesOf(app)
  const token = await tokenOf(app)
  await store.db.run("create trigger faults before update on tokens begin select raise(abort, 'not today'); end")
  await needLogin(app, token)
  while (lines.length === 0) await delay(20)
  t.match(lines.map((line) => JSON.parse(line)), [{ level: 50, err: { message: 'not today' }, msg: 'Last-used times of tokens cannot be written now; they are retried.' }])
  await store.db.run('drop trigger faults')
  while ((await store.db.select().from(store.tables.tokens))[0]?.lastUsedAt === null) await delay(20)
  await app.close()
  for (let i = 0; i < 2; i++) tokens.touch('another', null)
  t.match(lines.slice(1).map((line) => JSON.parse(line)), [{ level: 50, msg: 'Last-used times of tokens dropped: the queue is closed.' }])
})

t.test('nearly full disk · POST /api/v1/signup → 503, POST /api/v1/login → 200', async (t) => {
  let now = Date.now()
  const app = await build(t, { DATABASE_URL: `sqlite:///${join(temporaryFolder(t), 'latchkey.sqlite')}` }, { now: () => now })
  await signUp(app)
  fillDisks(t)
  now += 1_000
  const refused = await signUp(app, { ...bob, username: 'alice' })
  t.match(refused.json(), { statusCode: 503, code: 'SERVICE_UNAVAILABLE', message: 'Service Unavailable' })
  t.equal(refused.headers['retry-after'], '1')
  t.equal((await logIn(app)).statusCode, 200)
})

t.test('database errors · classification', async (t) => {
  const errorWith = (code: string) => Object.assign(new Error('driver'), { code })
  const wrapped = new DrizzleQueryError('select ?', ['secret'], errorWith('SQLITE_BUSY'))
  t.notMatch(String(unwrapDatabaseError(wrapped)), 'secret')
  t.ok(isUnavailable(wrapped))
  for (const code of [
    'SQLITE_BUSY_SNAPSHOT', 'SQLITE_FULL', 'SQLITE_IOERR_WRITE', 'SQLITE_READONLY',
    '08006', '28P01', '3D000', '40001', '40P01', '53300', '57014', '57P01', '57P03', '58030', '25006', '55P03', 'ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ENOTFOUND', 'EAI_AGAIN'
  ]) t.ok(isUnavailable(errorWith(code)), code)
  for (const code of ['SQLITE_CONSTRAINT_UNIQUE', 'SQLITE_ERROR', 'ENOENT', '23505', '42P01', '22021', '0A000', '5', '25001']) t.notOk(isUnavailable(errorWith(code)), code)
  t.notOk(isUnavailable('SQLITE_BUSY'))
  t.notOk(isUnavailable(new Error('SQLITE_BUSY')))
  for (const code of ['SQLITE_CONSTRAINT_FOREIGNKEY', '23503']) t.ok(isForeignKeyViolation(errorWith(code)) && isConflict(errorWith(code)), code)
  for (const code of ['SQLITE_CONSTRAINT_UNIQUE', '23505']) t.ok(isConflict(errorWith(code)), code)
  for (const code of ['SQLITE_CONSTRAINT_TRIGGER', '23514', '57P01']) t.notOk(isConflict(errorWith(code)), code)
})

t.test('errors of any kind · code and message', async (t) => {
  const coded = Object.assign(new Error('no such file'), { code: 'ENOENT' })
  t.same([coded, new Error('x'), { code: 'ENOENT' }, 'ENOENT', undefined].map(isNodeError), [true, false, false, false, false])
  t.same([coded, Object.assign(new Error('x'), { code: 5 }), new Error('x'), null].map(errorCode), ['ENOENT', undefined, undefined, undefined])
  t.same([coded, 'a text', undefined].map(errorMessage), ['no such file', 'a text', 'undefined'])
})
