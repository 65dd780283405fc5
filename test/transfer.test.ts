import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdirSync, openSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { PassThrough, Readable, Writable } from 'node:stream'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { run } from '../src/commands/index.js'
import type { UserRecord } from '../src/commands/transfer/format.js'
import { parseNdjson } from '../src/commands/transfer/ndjson.js'
import { transferRepository } from '../src/commands/transfer/repository.js'
import { isConflict } from '../src/database/errors.js'
import { bcryptPasswordBytes } from '../src/plugins/passwords/bcrypt-hash.js'
import { servicesOf } from '../src/services.js'
import { commandLine, notServed, refused } from './command-line.js'
import { databases, type TestDatabase } from './databases.js'
import { bob, build, builtProgram, claimsOf, logIn, needLogin, secretKey, signUp, tokenOf } from './helper.js'

const alice = { username: 'Alice', email: 'Alice@Example.com', password: 'another horse battery staple' }

// Hashes of others: crypt_blowfish's test vectors (wrapper.c), phc-winner-argon2's (src/test.c).
const [bcryptOfUU, bcryptOfUUU] = ['$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW', '$2a$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a']
const argon2iOfPassword = '$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweHKfbftvj+qf+YFY4NeBbtA'
const argon2idOfPassword = '$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc'

const lines = (...records: unknown[]) => records.map((record) => typeof record === 'string' ? record : JSON.stringify(record)).join('\n')
const user = (more: object = {}) => ({ type: 'user', username: 'bob', password_hash: bcryptOfUU, ...more })
const tokenId = '4e808214-e320-4173-bb6c-b75fbdd51003'
const token = (more: object = {}) => ({ id: tokenId, kind: 'login', description: 'curl', created_at: '2026-11-23T20:44:00.000Z', expires_at: '2026-11-25T20:44:00.000Z', last_used_at: null, ...more })

/** The command line on a database of its own. */
async function on (t: Test, database: TestDatabase, options = {}) {
  return commandLine(t, { DATABASE_URL: await database.create(t, { isShared: true, ...options }) })
}

for (const from of databases) {
  for (const to of databases) {
    t.test(`latchkey export, import · ${from.name} to ${to.name} → tokens, passwords and roles are the same`, async (t) => {
      const source = await on(t, from)
      const before = await build(t, source.settings)
      const bobs = await tokenOf(before)
      const personal = (await before.inject({ method: 'POST', url: '/api/v1/tokens', headers: { authorization: bobs }, payload: { description: 'backup — script' } })).json().token
      await needLogin(before, personal)
      const renewedToken = await tokenOf(before, alice)
      const alices = (await before.inject({ method: 'POST', url: '/api/v1/renew', headers: { authorization: renewedToken } })).json().token
      const loggedOut = (await logIn(before)).json().token
      await before.inject({ method: 'POST', url: '/api/v1/logout', headers: { authorization: loggedOut } })
      const carols = await tokenOf(before, { ...bob, username: 'carol' })
      await servicesOf(before).roles.create({ name: 'editor', description: 'May change articles.' })
      await servicesOf(before).roles.create({ name: 'author', description: 'x' })
      for (const [id, role] of [[1, 'editor'], [2, 'editor'], [2, 'admin']] as const) await servicesOf(before).roles.grant(id, role)
      await servicesOf(before).users.delete(3)
      const { tokens } = servicesOf(before).store.tables
      await servicesOf(before).store.db.insert(tokens).values({ ...token(), userId: 1, kind: 'login', createdAt: new Date(1), expiresAt: new Date(2) })
      const me = async (app: typeof before) => (await app.inject({ url: '/api/v1/me', headers: { authorization: alices } })).json()
      const account = await me(before)
      await before.close()

      const exported = await source.latchkey(['export'])
      t.match(exported, { code: 0, err: '' })
      t.equal(exported.out.split('\n').length, 1 + 3 + 2 + 1 + 1, 'a line for the whole, for each role, for each user, for the end')
      t.same(JSON.parse(String(exported.out.split('\n')[0])), { type: 'export', version: 2, last_user_id: 3 })
      for (const id of [tokenId, claimsOf(renewedToken).jti]) t.notOk(exported.out.includes(id), 'expired and renewed tokens stay behind')
      t.match(exported.out, /"logged_in_at":"20/)
      for (const secret of [bobs, personal, bob.password, secretKey]) t.notOk(exported.out.includes(secret))

      const target = await on(t, to, { isEmpty: true })
      t.match(await target.latchkey(['import'], exported.out), { code: 0, out: 'imported 2 users, 3 roles and 3 tokens\n', err: '' })
      t.equal((await target.latchkey(['export'])).out, exported.out, 'nothing is lost or changed')

      const after = await build(t, target.settings)
      for (const living of [bobs, personal, alices]) t.equal((await needLogin(after, living)).statusCode, 200)
      for (const gone of [loggedOut, renewedToken]) t.match((await needLogin(after, gone)).json(), { code: 'TOKEN_REVOKED' })
      t.match((await needLogin(after, carols)).json(), { code: 'USER_NOT_FOUND' })
      for (const each of [bob, alice]) t.equal((await logIn(after, each)).statusCode, 200)
      t.same(await me(after), account)
      t.equal((await signUp(after, { ...bob, username: 'dave' })).json().user.id, 4, 'the id of a deleted user does not return')
      refused(t, await target.latchkey(['import'], exported.out), /line 5: the username "\w+" is already taken; nothing was imported/)
    })
  }
}

for (const database of databases) {
  t.test(database.name, async (t) => {
    t.test('latchkey import · bcrypt, argon2i and argon2id hashes of other systems → login 200, upgraded to argon2id', async (t) => {
      const { settings, latchkey } = await on(t, database, { isEmpty: true })
      const long = 'x'.repeat(bcryptPasswordBytes)
      const { hash } = await import('@node-rs/bcrypt')
      const cases = [['U*U', bcryptOfUU], ['U*U*U', bcryptOfUUU], ['U*U', bcryptOfUU?.replace('2a', '2y')], ['password', argon2iOfPassword], ['password', argon2idOfPassword], [long, await hash(long, 4)]] as const
      const input = lines(...cases.map(([, hash], i) => user({ username: `user${i}`, password_hash: hash })))
      t.match(await latchkey(['import', '--json'], input), { code: 0, out: '{"users":6,"roles":0,"tokens":0,"skipped":0,"without_password":0}\n' })
      const app = await build(t, settings)
      const hashOf = async (username: string) => (await servicesOf(app).users.findCredentials(username))?.passwordHash
      for (const [i, [password, before]] of cases.entries()) {
        const username = `user${i}`
        t.match((await logIn(app, { username, password: `${password.slice(0, -1)}?` })).json(), { code: 'PASSWORD_INCORRECT' })
        t.equal(await hashOf(username), before)
        t.equal((await logIn(app, { username, password })).statusCode, 200, before)
        t.match(await hashOf(username), /^\$argon2id\$v=19\$m=8,/, 'as it is configured, also in place of a stronger one')
        t.equal((await logIn(app, { username, password })).statusCode, 200)
        t.equal((await logIn(app, { username, password: `${password}!` })).statusCode, 401)
      }
      t.match((await servicesOf(app).users.find('user0'))?.createdAt, Date)
    })

    t.test('latchkey import · bcrypt hash of a password longer than 72 bytes → login 200, the hash is not upgraded', async (t) => {
      const { settings, latchkey } = await on(t, database)
      const { hash } = await import('@node-rs/bcrypt')
      const long = 'x'.repeat(bcryptPasswordBytes + 1)
      await latchkey(['import'], lines(user({ password_hash: await hash(long, 4) })))
      const app = await build(t, settings)
      for (const password of [`${long}mistyped`, long]) t.equal((await logIn(app, { ...bob, password })).statusCode, 200)
      t.match((await servicesOf(app).users.findCredentials('bob'))?.passwordHash, /^\$2b\$04/)
      const { token } = (await logIn(app, { ...bob, password: long })).json()
      const change = await app.inject({ method: 'PUT', url: '/api/v1/me/password', headers: { authorization: token }, payload: { current_password: long, new_password: bob.password } })
      t.equal(change.statusCode, 204)
      t.match((await servicesOf(app).users.findCredentials('bob'))?.passwordHash, /^\$argon2id/)
    })

    t.test('latchkey import · bcrypt hash, password with NUL → login 422, never the shorter password', async (t) => {
      const { settings, latchkey } = await on(t, database)
      const { hash, verify } = await import('@node-rs/bcrypt')
      const stored = await hash('P', 4)
      t.ok(await verify('P\0P', stored), 'to the algorithm they are one')
      await latchkey(['import'], lines(user({ password_hash: stored }), user({ username: 'nothing', password_hash: await hash('', 4) })))
      const app = await build(t, settings)
      t.equal(await servicesOf(app).passwords.verify(stored, 'P\0P'), false, 'nor to an app that embeds us')
      for (const password of ['P\0P', 'P\0', 'P\0P\0P']) t.match((await logIn(app, { ...bob, password })).json(), { statusCode: 422, message: 'password must not contain NUL' })
      for (const password of ['\0', '\0\0']) t.equal((await logIn(app, { username: 'nothing', password })).statusCode, 422)
      t.equal((await servicesOf(app).users.findCredentials('bob'))?.passwordHash, stored, 'and none of them becomes the password')
      t.equal((await logIn(app, { ...bob, password: 'P' })).statusCode, 200)
      t.equal((await logIn(app, { ...bob, password: 'P' })).statusCode, 200)
    })

    t.test('latchkey import · invalid line → its number and its problem, nothing is imported', async (t) => {
      const { settings, latchkey } = await on(t, database)
      const app = await build(t, settings)
      await tokenOf(app, { ...bob, username: 'taken', email: 'taken@example.com' })
      const before = await latchkey(['export'])
      const [present] = await servicesOf(app).tokens.list(1)
      const good = user({ id: 1_000, username: 'good', email: 'good@example.com', tokens: [token()] })
      for (const [line, problem] of [
        ['{', 'it is not JSON'],
        ['null', 'its type must be export, role, user or end'],
        ['[]', 'its type must be'],
        [{ type: 'admin' }, 'its type must be'],
        [{ type: 'end' }, 'users is missing or'],
        [{ type: 'end', users: 1, roles: '1' }, 'roles is missing or'],
        [{ type: 'export', version: 3 }, 'its version must be 1 or 2'],
        [{ type: 'export', version: '2' }, 'its version must be'],
        [{ type: 'export' }, 'its version must be'],
        [{ type: 'export', version: 1, last_user_id: -1 }, 'last_user_id is missing or invalid'],
        [{ type: 'export', version: 1, last_user_id: 2 ** 53 - 1 }, 'last_user_id is missing or'],
        [{ type: 'role', name: 'Editor', description: 'x' }, 'the role name may only contain'],
        [{ type: 'role', name: 'editor', description: '' }, 'the role description is empty'],
        [{ type: 'role', name: 'editor' }, 'description is missing or'],
        [user({ username: undefined }), 'username is missing or'],
        [user({ username: '' }), 'the username is empty'],
        [user({ username: 'b b' }), 'the username may only contain'],
        [user({ username: 'bob\0' }), 'the username may only contain'],
        [user({ username: '..' }), 'the username must not be . or ..'],
        [user({ username: '-x' }), 'the username must not begin with -'],
        [user({ username: ['bob'] }), 'username is missing or'],
        [user({ email: 'nowhere' }), 'the email must be one address'],
        [user({ email: '' }), 'the email is empty'],
        [user({ password: 'secret' }), 'it has an unknown member'],
        ['{"type":"user","__proto__":{"id":1},"username":"bob","password_hash":"x"}', 'it has an unknown member'],
        [user({ password_hash: 'plain text' }), 'the password_hash has an unknown format: argon2, bcrypt, PBKDF2'],
        [user({ password_hash: bcryptOfUU?.replace('$05', '$31') }), 'the password_hash has a bcrypt cost outside of 4 to 13'],
        [user({ password_hash: argon2iOfPassword.replace('m=65536', 'm=1048576') }), 'the password_hash costs too much: m must be at most 131072 (128 MiB)'],
        [user({ id: 0 }), 'id is missing or'],
        [user({ id: 1.5 }), 'id is missing or'],
        [user({ id: '7' }), 'id is missing or'],
        [user({ id: 2 ** 53 - 1 }), 'id is missing or'],
        [user({ created_at: 'yesterday' }), 'created_at is missing or'],
        [user({ created_at: '2026-13-01T00:00:00Z' }), 'a date or time does not exist'],
        [user({ created_at: '2024-02-30T00:00:00Z' }), 'a date or time does not exist'],
        [user({ created_at: '9999-12-31T23:59:59-23:59' }), 'a date or time does not exist'],
        [user({ updated_at: '0000-01-01T00:00:00Z' }), 'a date or time does not exist'],
        [user({ updated_at: '2026-01-01T25:00:00Z' }), 'a date or time does not exist'],
        [user({ roles: ['nothing'] }), 'there is no role "nothing"'],
        [user({ roles: ['admin', 'admin'] }), 'the role "admin" is listed twice'],
        [user({ roles: 'admin' }), 'roles is missing or'],
        [user({ tokens: [token()] }), 'tokens need the id of their user'],
        [user({ id: 7, disabled_at: '2026-11-25T20:44:00Z', tokens: [token()] }), 'an account that is disabled has no tokens'],
        [user({ id: 7, tokens: [token({ id: 'x' })] }), 'the token id must be a UUID'],
        [user({ id: 7, tokens: [token({ description: 'two\nlines' })] }), 'the token description must be one line'],
        [user({ id: 7, tokens: [token({ expires_at: '2036-11-25T20:44:00Z' })] }), 'a token must expire within a year'],
        [user({ id: 7, tokens: [token({ last_used_at: '2026-02-30T25:00:00Z' })] }), 'a date or time does not exist'],
        [user({ id: 7, tokens: [token({ logged_in_at: '2026-02-30T25:00:00Z' })] }), 'a date or time does not exist'],
        [user({ id: 7, tokens: [token({ kind: 'admin' })] }), 'tokens.0.kind is missing or'],
        [user({ id: 7, tokens: [token({ user_id: 1 })] }), 'it has an unknown member'],
        [user({ username: 'GOOD' }), 'the username "GOOD" is already on line 2'],
        [user({ email: 'GOOD@example.com' }), 'the email "GOOD@example.com" is already on line 2'],
        [user({ id: 1_000 }), 'the id 1000 is already on line 2'],
        [user({ id: 7, tokens: [token()] }), 'the token id "'],
        [{ type: 'role', name: 'twice', description: 'x' }, 'the role "twice" is already on line 1'],
        [user({ username: 'TAKEN' }), 'the username "TAKEN" is already taken'],
        [user({ email: 'Taken@example.com' }), 'the email "Taken@example.com" is already signed up'],
        [user({ id: 1 }), 'the id 1 was used before: leave it out, or import into a new database'],
        [user({ id: 7, tokens: [token({ id: present?.id })] }), 'the token id "'],
        [`{"type":"user","username":"${'x'.repeat(1_048_577)}"`, 'it is longer than 1 MiB']
      ] as const) {
        const answer = await latchkey(['import'], lines({ type: 'role', name: 'twice', description: 'x' }, good, '', line, user({ username: 'last' })))
        refused(t, answer, `latchkey: line 4: ${problem}`)
        t.match(answer.err, /; nothing was imported\n$/)
        t.ok(answer.err.length < 200 && !answer.err.includes('\0'))
      }
      t.equal((await latchkey(['export'])).out, before.out)
      t.match(await latchkey(['import'], `\ufeff${lines(good, '', user()).replaceAll('\n', '\r\n')}\r\n\r\n`), { code: 0, out: 'imported 2 users, 0 roles and 1 token\n' }, 'spaces, a byte order mark and the line ends of Windows break nothing')
      t.same((await servicesOf(app).users.list()).map(({ id, username }) => `${id} ${username}`), ['1 taken', '1000 good', '1001 bob'])
      t.equal((await signUp(app, { ...bob, username: 'next' })).json().user.id, 1_002)
    })

    t.test('latchkey import · id of a deleted user → rejected, nothing is imported', async (t) => {
      const { settings, latchkey } = await on(t, database)
      const app = await build(t, settings)
      const dave = { ...bob, username: 'dave' }
      for (const account of [bob, alice]) {
        const authorization = await tokenOf(app, account)
        t.equal((await app.inject({ method: 'DELETE', url: '/api/v1/me', headers: { authorization }, payload: { password: account.password } })).statusCode, 204)
      }
      const passwordHash = await servicesOf(app).passwords.hash(bob.password)
      const newcomer = (more: object = {}) => user({ username: 'dave', password_hash: passwordHash, ...more })
      const refuse = async () => {
        const before = (await latchkey(['export'])).out
        for (const [id, more] of [[1, {}], [2, {}], [2, { tokens: [token()] }]] as const) {
          refused(t, await latchkey(['import'], lines(newcomer({ id, ...more }))), `latchkey: line 1: the id ${id} was used before: leave it out, or import into a new database; nothing was imported`)
        }
        t.equal((await latchkey(['export'])).out, before)
      }
      await refuse()
      t.match(await latchkey(['reset-db', '--yes']), { code: 0 })
      await refuse()

      t.match(await latchkey(['import'], lines(newcomer())), { code: 0 })
      t.equal((await servicesOf(app).users.find('dave'))?.id, 3)
      const { token: authorization } = (await logIn(app, dave)).json()
      const { events } = (await app.inject({ url: '/api/v1/me/events', headers: { authorization } })).json()
      t.same(events.map(({ kind }: { kind: string }) => kind), ['login'], 'nothing of those who were here before')
      t.match(await latchkey(['import'], lines(newcomer({ id: 4, username: 'erin' }), newcomer({ id: 9, username: 'frank' }), newcomer({ username: 'grace' }))), { code: 0 })
      t.same((await servicesOf(app).users.list()).map(({ id, username }) => `${id} ${username}`), ['3 dave', '4 erin', '9 frank', '10 grace'])
      refused(t, await latchkey(['import'], lines(newcomer({ id: 8, username: 'heidi' }))), 'the id 8 was used before')
    })

    t.test('latchkey import · id used during the import → rejected, nothing is imported', async (t) => {
      const { settings } = await on(t, database)
      const [importing, app] = [await build(t, settings), await build(t, settings)]
      const transfer = transferRepository(servicesOf(importing).store)
      const record: UserRecord = { type: 'user', id: 1, username: 'dave', password_hash: argon2idOfPassword }
      const { lastUserId } = await transfer.findConflicts([record])
      t.equal(lastUserId, 0)
      await signUp(app)
      await servicesOf(app).users.delete(1)
      const failure = await transfer.write([], [record], 0).catch((error) => error)
      t.ok(isConflict(failure))
      t.equal(await servicesOf(app).users.count(), 0)
      await transfer.write([], [{ ...record, id: undefined }], 0)
      t.match(await servicesOf(app).users.list(), [{ id: 2, username: 'dave' }])
    })

    t.test('latchkey import · the database fails half-way → nothing is imported, and it can be repeated', async (t) => {
      const { settings, latchkey } = await on(t, database)
      const app = await build(t, settings)
      const input = lines({ type: 'export', version: 1, last_user_id: 50 }, { type: 'role', name: 'editor', description: 'x' }, user({ id: 9, tokens: [token()], roles: ['admin', 'editor'] }), { type: 'end', users: 1, roles: 1 })
      const before = (await latchkey(['export'])).out
      await database.addTrigger(servicesOf(app).store, 'before insert on tokens', database.fault('a fault'))
      t.match(await latchkey(['import'], input), { code: 1, out: '', err: /a fault/ })
      t.equal((await latchkey(['export'])).out, before, 'no id counts as given either')
      await database.removeTriggers(servicesOf(app).store, 'tokens')
      t.match(await latchkey(['import'], input), { code: 0, out: 'imported 1 user, 1 role and 1 token\n' }, 'so that it can be tried again')
      t.match(await latchkey(['export']), { out: /"last_user_id":50/ })
      await app.close()

      const racing = await on(t, database)
      const other = await build(t, racing.settings)
      await database.addTrigger(servicesOf(other).store, 'before insert on roles', "insert into users (id, username, username_key, password_hash, created_at, updated_at) values (9, 'Bob', 'bob', '', (select max(0) - 1), 0)".replace('(select max(0) - 1), 0', database.name === 'SQLite' ? '0, 0' : 'now(), now()'))
      refused(t, await racing.latchkey(['import'], input), 'the database changed during the import: nothing was imported, try again')
      t.same((await servicesOf(other).roles.list()).map(({ name }) => name), ['admin'])
      t.equal(await servicesOf(other).users.count(), 0)
    })

    t.test('latchkey import, export · 3000 users', async (t) => {
      const { settings, latchkey } = await on(t, database)
      const input = lines(...Array.from({ length: 3_000 }, (_, i) => user({ id: i + 1, username: `user${i}`, email: `user${i}@example.com`, roles: i % 2 === 0 ? ['admin'] : [], tokens: [token({ id: tokenId.replace(/^.{8}/, String(10_000_000 + i)), expires_at: '2027-11-01T00:00:00.000Z' })] })))
      t.match(await latchkey(['import'], input), { code: 0, out: 'imported 3000 users, 0 roles and 3000 tokens\n' })
      const { out } = await latchkey(['export'])
      t.equal(out.trimEnd().split('\n').length, 3_003)
      t.equal(JSON.parse((await latchkey(['user', 'list', '--json'])).out).length, 3_000)
      const app = await build(t, settings)
      t.match(await servicesOf(app).users.list(), { length: 3_000, 2_999: { id: 3_000 } })
      t.same(await servicesOf(app).roles.ofUser(2_999), ['admin'])
    })

    t.test('latchkey import · export without its end → rejected', async (t) => {
      const { latchkey } = await on(t, database)
      await latchkey(['import'], lines(...['bob', 'carol', 'dave'].map((username) => user({ username }))))
      const whole = (await latchkey(['export'])).out.trimEnd().split('\n')
      t.same(JSON.parse(String(whole.at(-1))), { type: 'end', users: 3, roles: 1 })
      const target = await on(t, database, { isEmpty: true })
      for (const cut of [whole.slice(0, -1), whole.slice(0, 3), whole.slice(0, 1), whole.toSpliced(3, 1), whole.toSpliced(1, 1)]) {
        refused(t, await target.latchkey(['import'], cut.join('\n')), 'the export is incomplete: nothing was imported')
      }
      t.match(await target.latchkey(['import'], whole.join('\n')), { code: 0 })
    })

    t.test('latchkey export · changes during the export → it is a snapshot', async (t) => {
      const { settings, latchkey } = await on(t, database)
      await latchkey(['import'], lines(...Array.from({ length: 1_200 }, (_, i) => user({ username: `user${i}` }))))
      const [exporting, app] = [await build(t, settings), await build(t, settings)]
      const transfer = transferRepository(servicesOf(exporting).store)
      const names: string[] = []
      for await (const record of transfer.read()) {
        if (record.type !== 'user') continue
        if (record.id === 1) {
          await servicesOf(app).roles.create({ name: 'late', description: 'x' })
          await servicesOf(app).roles.grant(1_200, 'late')
          await servicesOf(app).users.delete(1)
          await servicesOf(app).users.create({ username: 'user0', email: null, passwordHash: 'x' })
        }
        names.push(record.username)
        t.same(record.roles, [])
      }
      t.equal(new Set(names).size, 1_200)
      t.equal(names.length, 1_200)
    })

    t.test('latchkey import · POST /api/v1/signup during the import → 200 or 503', async (t) => {
      const { settings, latchkey } = await on(t, database)
      const app = await build(t, settings)
      await signUp(app)
      const importing = latchkey(['import'], lines(...Array.from({ length: 3_000 }, (_, i) => user({ id: i + 2, username: `user${i}` }))))
      const statuses: number[] = []
      const running = new Set([importing])
      importing.finally(() => running.clear()).catch(() => {})
      for (let i = 0; running.size > 0; i++) statuses.push(...(await Promise.all(['x', 'y', 'z'].map((name) => signUp(app, { ...bob, username: `${name}${i}` })))).map(({ statusCode }) => statusCode))
      const { code, err } = await importing
      t.ok(code === 0 || /the id \d+ was used before|changed during the import/.test(err), err)
      for (const status of statuses) t.ok(status === 200 || status === 503, String(status))
      t.equal((await signUp(app, { ...bob, username: 'after' })).statusCode, 200)
    })

    t.test('latchkey export, import · usernames that are not valid any more → kept', async (t) => {
      const old = user({ id: 3, username: '-old' })
      const { latchkey } = await on(t, database)
      refused(t, await latchkey(['import'], lines({ type: 'role', name: 'editor', description: 'x' }, old)), 'line 2: the username must not begin with -')
      t.match(await latchkey(['import'], lines({ type: 'export', version: 1 }, old, { type: 'end', users: 1, roles: 0 })), { code: 0 })
      const target = await on(t, database, { isEmpty: true })
      t.match(await target.latchkey(['import'], (await latchkey(['export'])).out), { code: 0 })
      t.match(await target.latchkey(['user', 'show', '--', '-old']), { code: 0, out: /username: -old/ })
    })

    t.test('latchkey import · export without users → ids of deleted users are not used again', async (t) => {
      const { latchkey } = await on(t, database)
      t.match(await latchkey(['import'], lines({ type: 'export', version: 1, last_user_id: 41 }, { type: 'end', users: 0, roles: 0 })), { code: 0, out: 'imported 0 users, 0 roles and 0 tokens\n' })
      t.match(await latchkey(['export']), { out: /"last_user_id":41/ })
      await latchkey(['import'], lines({ type: 'export', version: 1, last_user_id: 7 }, { type: 'end', users: 0, roles: 0 }, { type: 'export', version: 1 }, { type: 'end', users: 0, roles: 0 }))
      t.match(await latchkey(['user', 'create', 'bob', '--password-stdin', '--json'], bob.password), { code: 0, out: /"id":42,/ })
    })
  })
}

t.test('latchkey export FILE, import FILE · permissions, existing files, links, missing files, missing key', async (t) => {
  const { folder, settings, latchkey } = commandLine(t)
  const app = await build(t, settings)
  await tokenOf(app)
  const file = join(folder, 'export.ndjson')
  t.same(await latchkey(['export', file]), { code: 0, out: `exported to ${file}: keep this file secret, it contains password hashes\n`, err: '' })
  t.equal(statSync(file).mode & 0o777, 0o600)
  t.equal(readFileSync(file, 'utf8'), (await latchkey(['export'])).out)
  refused(t, await latchkey(['export', file]), /cannot create \S+: file already exists/)
  t.ok(statSync(file).size > 0, 'and is not overwritten')
  refused(t, await latchkey(['export', join(folder, 'nowhere', 'file')]), /cannot create \S+: no such file or directory/)
  const [link, victim] = [join(folder, 'link'), join(folder, 'victim')]
  symlinkSync(victim, link)
  refused(t, await latchkey(['export', link]), /cannot create \S+: file already exists/)
  t.notOk(existsSync(victim), 'no link is followed')
  const open = join(folder, 'open')
  mkdirSync(open)
  chmodSync(open, 0o777)
  refused(t, await latchkey(['export', join(open, 'file')]), /cannot create \S+: the folder \S+ can be written to by everybody/)
  t.notOk(existsSync(join(open, 'file')))

  const target = commandLine(t)
  t.match(await target.latchkey(['import', file]), { code: 0, out: 'imported 1 user, 1 role and 1 token\n' })
  refused(t, await target.latchkey(['import', join(folder, 'nothing')]), /cannot read \S+nothing: no such file or directory/)
  refused(t, await target.latchkey(['import', folder]), /cannot read \S+: it is a folder/)

  const keyless = commandLine(t)
  delete keyless.settings.SECRET_KEY
  refused(t, await keyless.latchkey(['import', file]), 'SECRET_KEY is not set: set it to the key of the server')
  t.notOk(existsSync(keyless.file), 'tokens that another key signed would be worth nothing')
  const withoutTokens = join(folder, 'accounts.ndjson')
  writeFileSync(withoutTokens, lines(user()))
  t.match(await keyless.latchkey(['import', withoutTokens]), { code: 0, err: '' })

  refused(t, await commandLine(t).latchkey(['export']), /there is no database/)
  await servicesOf(app).store.db.run('drop table roles')
  const partial = join(folder, 'partial.ndjson')
  t.match(await latchkey(['export', partial]), { code: 1 })
  t.notOk(existsSync(partial), 'of a file that cannot be finished nothing is left')
})

t.test('latchkey export · the reader closes the pipe, or the disk is full → one line, exit code 1', async (t) => {
  const { folder, settings, latchkey } = commandLine(t)
  await latchkey(['import'], lines(...Array.from({ length: 2_000 }, (_, i) => user({ username: `user${i}` }))))
  const start = (output: 'pipe' | number) => {
    const [program = '', ...args] = builtProgram('cli.ts')
    return spawn(program, [...args, 'export'], { cwd: folder, env: { ...process.env, ...settings }, stdio: ['ignore', output, 'pipe'] })
  }
  const leaving = start('pipe')
  leaving.stdout?.once('data', () => leaving.stdout?.destroy())
  const [said, [code]] = await Promise.all([text(Object(leaving.stderr)), once(leaving, 'exit')])
  t.equal(code, 141)
  t.equal(said, '')

  const full = start(openSync('/dev/full', 'w'))
  const [problem, [failed]] = await Promise.all([text(Object(full.stderr)), once(full, 'exit')])
  t.equal(failed, 1)
  t.match(problem, /^latchkey: cannot write to standard output: the disk is full\n$/)
})

t.test('parseNdjson · lines that are empty, split, not UTF-8 or too long', async (t) => {
  const read = async (...chunks: Array<string | Buffer>) => {
    const lines: unknown[] = []
    for await (const { number, text } of parseNdjson(Readable.from(chunks.map((chunk) => Buffer.from(chunk))))) lines.push([number, text?.slice(0, 5)])
    return lines
  }
  t.same(await read(), [])
  t.same(await read('a\nb', 'c\n\n', '\r\nd'), [[1, 'a'], [2, 'bc'], [5, 'd']])
  t.same(await read('a\n', Buffer.from([0xff, 0x0a]), 'b\n'), [[1, 'a'], [2, undefined], [3, 'b']], 'what is not UTF-8')
  const euro = Buffer.from('€')
  t.same(await read(euro.subarray(0, 1), euro.subarray(1)), [[1, '€']])
  const long = Array.from({ length: 40 }, () => 'x'.repeat(65_536))
  t.same(await read(...long, '\nshort\n'), [[1, undefined], [2, 'short']], 'what is too long is not kept')
  t.same(await read(...long), [[1, undefined]])
  t.same(await read('x'.repeat(1_048_576), '\n', 'x'.repeat(1_048_577)), [[1, 'xxxxx'], [2, undefined]])
})

t.test('parseNdjson · a line in small pieces → each byte is copied once', async (t) => {
  const { concat } = Buffer
  let copied = 0
  t.teardown(() => { Buffer.concat = concat })
  Buffer.concat = (list, length) => {
    const all = concat(list, length)
    copied += all.length
    return all
  }
  const read = async (bytes: number) => {
    const pieces = Array.from({ length: bytes / 512 }, () => Buffer.alloc(512, 'x'))
    for await (const line of parseNdjson(Readable.from(pieces))) t.equal(line.text?.length, bytes > 1_048_576 ? undefined : bytes)
  }
  await read(1_048_576)
  await read(4 * 1_048_576)
  t.ok(copied <= 2 * 1_048_576, `${copied} bytes copied`)
})

t.test('latchkey export · standard output fails → one line, exit code 1; its reader has ended → 141; any other error → its stack', async (t) => {
  const { folder, settings, latchkey } = commandLine(t)
  await latchkey(['migrate'])
  const exportTo = async (stdout: Writable) => {
    const stderr = new PassThrough()
    const stdin = Object.assign(new PassThrough(), { isTTY: false })
    const code = await run(['export'], { env: settings, dotEnvPath: join(folder, '.env'), serve: notServed, stdin, stdout, stderr })
    stderr.end()
    return { code, err: await text(stderr) }
  }
  const failing = (error: Error) => new Writable({ write: (chunk, encoding, done) => done(error) })
  t.same(await exportTo(failing(Object.assign(new Error('write EIO'), { code: 'EIO', syscall: 'write' }))), { code: 1, err: 'latchkey: cannot write to standard output: write EIO\n' })
  t.same(await exportTo(new Writable().destroy()), { code: 141, err: '' })
  t.match(await exportTo(failing(new Error('a fault'))), { code: 1, err: /^latchkey: Error: a fault\n +at / })
  t.match(await exportTo(failing(Object.assign(new Error('a fault'), { code: 'EOTHER', syscall: 'read' }))), { code: 1, err: /a fault/ })
})
