import * as argon2 from '@node-rs/argon2'
import t from 'tap'
import { buildApp } from '../src/app.js'
import { recommendedParameters } from '../src/plugins/passwords/argon2-hash.js'
import { parseHash } from '../src/plugins/passwords/stored-hash.js'
import { servicesOf } from '../src/services.js'
import { loadConfig } from '../src/standalone/config.js'
import { databases } from './databases.js'
import { bob, buildOn, claimsOf, logIn, needLogin, secretKey, signUp, tokenOf, until } from './helper.js'

for (const database of databases) {
  t.test(database.name, async (t) => {
    const build = buildOn(database)

    t.test('POST /api/v1/login · 200; empty field → 422; unknown username → 404 USERNAME_UNKNOWN; wrong password → 401 PASSWORD_INCORRECT', async (t) => {
      const app = await build(t)
      await signUp(app, { username: 'testuser', password: 'test_user' })
      const response = await logIn(app, { username: 'testuser', password: 'test_user' })
      t.equal(response.statusCode, 200)
      t.match(response.json(), { token: /^[\w-]+\.[\w-]+\.[\w-]+$/, token_type: 'Bearer', expires_in: 172_800 })
      for (const [account, statusCode, code, message] of [
        [{ username: '', password: 'test_user' }, 422, 'VALIDATION_FAILED', 'username is empty'],
        [{ username: 'testuser', password: '' }, 422, 'VALIDATION_FAILED', 'password is empty'],
        [{ username: 'nobody', password: 'test_user' }, 404, 'USERNAME_UNKNOWN', 'username incorrect'],
        [{ username: 'testuser', password: 'wrong' }, 401, 'PASSWORD_INCORRECT', 'password incorrect']
      ] as const) {
        const response = await logIn(app, account)
        t.equal(response.statusCode, statusCode, message)
        t.match(response.json(), { statusCode, code, message })
        t.notMatch(response.body, /argon2|test_user|stack|select/i)
      }
    })

    t.test('POST /api/v1/login · default settings, real hash parameters → 200; wrong password → 401', async (t) => {
      const app = await buildApp(loadConfig({ DATABASE_URL: await database.create(t), SECRET_KEY: secretKey, LOG_LEVEL: 'silent' }))
      t.teardown(() => app.close())
      await signUp(app)
      t.match((await servicesOf(app).users.findCredentials('bob'))?.passwordHash, /^\$argon2id\$v=19\$m=19456,t=2,p=1\$/)
      t.equal((await logIn(app)).statusCode, 200)
      t.equal((await logIn(app, { ...bob, password: 'wrong' })).statusCode, 401)
      await t.rejects(servicesOf(app).users.create({ username: 'not a username', email: null, passwordHash: '' }), TypeError)
    })

    t.test('POST /api/v1/login · 200 → the token lives exactly TOKEN_TTL_SECONDS, in its claims and in its row', async (t) => {
      for (const [env, seconds] of [[{}, 172_800], [{ TOKEN_TTL_SECONDS: '60' }, 60]] as const) {
        const app = await build(t, env)
        const token = await tokenOf(app)
        const { user_id: userId, jti, iat, exp, ...others } = claimsOf(token)
        t.equal(exp - iat, seconds)
        t.equal(userId, 1)
        t.match(jti, /^[0-9a-f-]{36}$/)
        t.same(others, {})
        t.same(JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString()), { alg: 'HS256', typ: 'JWT' })
        const [row] = await servicesOf(app).store.db.select().from(servicesOf(app).store.tables.tokens)
        t.match(row, { id: jti, userId: 1, kind: 'login', createdAt: Date, expiresAt: Date, lastUsedAt: null })
        t.equal(Number(row?.expiresAt) - Number(row?.createdAt), seconds * 1000)
        t.equal(Math.floor(Number(row?.createdAt) / 1000), iat)
      }
    })

    t.test('POST /api/v1/login · username in any case → 200; any other text → 404 USERNAME_UNKNOWN', async (t) => {
      const app = await build(t)
      await signUp(app)
      t.equal((await logIn(app, { ...bob, username: 'BoB' })).statusCode, 200)
      for (const username of ['bob ', 'b\u00f6b', 'bob\0', '\ud800', 'x'.repeat(5000), "' or 1=1 --"]) {
        t.match((await logIn(app, { ...bob, username })).json(), { statusCode: 404, code: 'USERNAME_UNKNOWN' })
      }
    })

    t.test('POST /api/v1/login · password in another Unicode form → 200; with a space more, without its accent → 401', async (t) => {
      const app = await build(t)
      await signUp(app, { username: 'bob', password: 'cafe\u0301 au lait' })
      t.equal((await logIn(app, { username: 'bob', password: 'caf\u00e9 au lait' })).statusCode, 200)
      t.equal((await logIn(app, { username: 'bob', password: ' caf\u00e9 au lait' })).statusCode, 401, 'nothing is trimmed')
      t.equal((await logIn(app, { username: 'bob', password: 'cafe au lait' })).statusCode, 401)
    })

    t.test('POST /api/v1/login · 200 → Cache-Control: no-store', async (t) => {
      const app = await build(t)
      await signUp(app)
      t.equal((await logIn(app)).headers['cache-control'], 'no-store')
    })

    t.test('POST /api/v1/login · LOGIN_ERRORS=uniform, unknown username or wrong password → the same 401 CREDENTIALS_INCORRECT', async (t) => {
      const app = await build(t, { LOGIN_ERRORS: 'uniform' })
      await signUp(app)
      const { passed } = servicesOf(app).passwords.load()
      const unknown = await logIn(app, { username: 'nobody', password: 'wrong password' })
      t.equal(servicesOf(app).passwords.load().passed, passed + 1, 'a hash is computed for an unknown username too')
      const wrong = await logIn(app, { username: 'bob', password: 'wrong password' })
      t.equal(servicesOf(app).passwords.load().passed, passed + 2)
      t.match(unknown.json(), { statusCode: 401, code: 'CREDENTIALS_INCORRECT', message: 'username or password incorrect' })
      t.equal(unknown.body, wrong.body)
      t.same({ ...unknown.headers, date: '' }, { ...wrong.headers, date: '' })
      t.equal((await logIn(app)).statusCode, 200)
      t.equal(await servicesOf(app).passwords.verify(undefined, 'anything'), false)
    })

    t.test('POST /api/v1/login · LOGIN_ERRORS=uniform, failed logins wait → they delay no other login', async (t) => {
      const app = await build(t, { LOGIN_ERRORS: 'uniform', HASH_CONCURRENCY: '1' })
      await signUp(app, { ...bob, username: 'weak' })
      let order: string[] = []
      // Where the machine stands still for as long as they wait, the order says nothing: once more.
      for (let attempt = 0; attempt < 5 && order[0] !== 'succeeded'; attempt++) {
        order = []
        const { passed } = servicesOf(app).passwords.load()
        const failing = Promise.all(['nobody', 'weak', 'nobody'].map(async (username) => {
          await logIn(app, { username, password: 'wrong password' })
          order.push('failed')
        }))
        await until(() => servicesOf(app).passwords.load().passed >= passed + 3)
        t.equal((await logIn(app, { ...bob, username: 'weak' })).statusCode, 200)
        order.push('succeeded')
        await failing
      }
      t.same(order, ['succeeded', 'failed', 'failed', 'failed'], 'their wait takes no place in the queue')
    })

    t.test('POST /api/v1/login · stored hash with other parameters → 200, and the hash is upgraded to the configured ones', async (t) => {
      const file = await database.create(t, { isShared: true })
      const weak = await build(t, { DATABASE_URL: file })
      await signUp(weak)
      const hashOf = async () => (await servicesOf(weak).users.findCredentials('bob'))?.passwordHash
      t.match(await hashOf(), /^\$argon2id\$v=19\$m=8,t=1,p=1\$/)
      t.equal((await logIn(weak, { ...bob, password: 'wrong' })).statusCode, 401)

      const strong = await build(t, { DATABASE_URL: file }, { hashParameters: { memoryCost: 19_456, timeCost: 2, parallelism: 1 } })
      t.equal((await logIn(strong, { ...bob, password: 'wrong' })).statusCode, 401)
      t.match(await hashOf(), /m=8,/, 'not by a failed login')
      t.equal((await logIn(strong)).statusCode, 200)
      const upgraded = await hashOf()
      t.match(upgraded, /^\$argon2id\$v=19\$m=19456,t=2,p=1\$/)
      t.equal((await logIn(strong)).statusCode, 200)
      t.equal(await hashOf(), upgraded, 'once')
      t.equal(servicesOf(strong).passwords.needsRehash(String(upgraded), bob.password), false)
      t.equal(servicesOf(strong).passwords.needsRehash(String(upgraded).replace('argon2id', 'argon2i'), bob.password), true)
      const { users } = servicesOf(strong).store.tables
      for (const other of ['m=65536,t=3,p=4', 'm=19456,t=2,p=2', 'm=19457,t=2,p=1', 'm=19456,t=3,p=1', 'm=19456,t=1,p=1', 'm=4096,t=2,p=1']) {
        const [memoryCost, timeCost, parallelism] = (other.match(/\d+/g) ?? []).map(Number)
        await servicesOf(strong).store.db.update(users).set({ passwordHash: await argon2.hash(bob.password, { memoryCost, timeCost, parallelism }) })
        t.match(await hashOf(), `$${other}$`)
        t.equal((await logIn(strong)).statusCode, 200)
        t.match(await hashOf(), '$argon2id$v=19$m=19456,t=2,p=1$', `${other}: also what is stronger, which would take its own time for ever`)
        t.equal((await logIn(strong)).statusCode, 200)
      }
    })

    t.test('POST /api/v1/login · the upgrade of the hash fails → 200, and the failure is logged', async (t) => {
      const lines: string[] = []
      const file = await database.create(t, { isShared: true })
      await signUp(await build(t, { DATABASE_URL: file }))
      const app = await build(t, { DATABASE_URL: file, LOG_LEVEL: 'error' }, { hashParameters: { memoryCost: 16, timeCost: 1, parallelism: 1 }, logStream: { write: (line) => { lines.push(line) } } })
      await database.addTrigger(servicesOf(app).store, 'before update on users', database.fault('not today'))
      t.equal((await logIn(app)).statusCode, 200)
      t.match(JSON.parse(String(lines.at(-1))), { msg: 'a password hash could not be upgraded', err: { message: 'not today' }, reqId: String })
    })

    t.test('POST /api/v1/login · stored hash with excessive parameters → 500 INTERNAL_SERVER_ERROR, nothing is computed', async (t) => {
      const app = await build(t)
      await signUp(app)
      const { users } = servicesOf(app).store.tables
      await servicesOf(app).store.db.update(users).set({ passwordHash: `$argon2id$v=19$m=1048576,t=9,p=1$${'a'.repeat(22)}$${'b'.repeat(43)}` })
      const { passed } = servicesOf(app).passwords.load()
      const response = await logIn(app)
      t.same(response.json(), { statusCode: 500, code: 'INTERNAL_SERVER_ERROR', error: 'Internal Server Error', message: 'Internal Server Error' })
      t.equal(servicesOf(app).passwords.load().passed, passed, 'a gigabyte and nine passes would take seconds')
      t.ok(servicesOf(app).passwords.needsRehash('nonsense', ''))
    })

    t.test('POST /api/v1/login · user deleted concurrently → 404 USERNAME_UNKNOWN', async (t) => {
      const app = await build(t, { LOGIN_FAILURES_PER_ACCOUNT: '10' })
      await signUp(app)
      // A correct password deletes the failures before it, and only then a token is issued.
      await logIn(app, { ...bob, password: 'wrong' })
      await database.addTrigger(servicesOf(app).store, 'before delete on login_failures', 'delete from users')
      t.match((await logIn(app)).json(), { statusCode: 404, code: 'USERNAME_UNKNOWN' })
    })

    t.test('POST /api/v1/login · hash upgraded concurrently → 200', async (t) => {
      const app = await build(t, { LOGIN_FAILURES_PER_ACCOUNT: '10' })
      await signUp(app)
      await logIn(app, { ...bob, password: 'wrong' })
      await database.addTrigger(servicesOf(app).store, 'before delete on login_failures', `update users set password_hash = '${await servicesOf(app).passwords.hash(bob.password)}'`)
      const response = await logIn(app)
      t.equal(response.statusCode, 200)
      t.equal((await needLogin(app, response.json().token)).statusCode, 200)
    })
  })
}

t.test('parseHash · argon2 and bcrypt within bounds are accepted, everything else is undefined', async (t) => {
  const hash = (parameters: string, variant = 'argon2id') => `$${variant}$v=19$${parameters}$${'A'.repeat(22)}$${'A'.repeat(43)}`
  const bcrypt = (cost: string, variant = '2b') => `$${variant}$${cost}$${'a'.repeat(53)}`
  t.match(parseHash(hash('m=19456,t=2,p=1')), { algorithm: 'argon2id', parameters: recommendedParameters })
  t.match(parseHash(hash('m=65536,t=3,p=4', 'argon2i')), { algorithm: 'argon2i', parameters: { memoryCost: 65_536, timeCost: 3, parallelism: 4 } })
  t.match(parseHash(hash('m=102400,t=2,p=8', 'argon2d')), { algorithm: 'argon2d' })
  for (const [cost, variant] of [['04', '2b'], ['10', '2y'], ['12', '2a'], ['13', '2b']] as const) t.match(parseHash(bcrypt(cost, variant)), { algorithm: 'bcrypt' })
  for (const bad of [
    '', 'plain', 'pbkdf2:sha256:1000$a$b', hash('m=1048576,t=2,p=1'), hash('m=19456,t=21,p=1'), hash('m=131072,t=3,p=1'), hash('m=19456,t=2,p=9'), hash('m=99999999999,t=2,p=1'), `${hash('m=19456,t=2,p=1')}\n`, hash('m=8,t=1,p=1', 'argon2'), hash('m=8,t=1,p=1').replace('v=19', 'v=16'),
    hash('m=0,t=0,p=0'), hash('m=7,t=1,p=1'), hash('m=8,t=1,p=2'), hash('m=8,t=0,p=1'), hash('m=8,t=1,p=0'), hash('m=08,t=1,p=1'),
    `$argon2id$v=19$m=8,t=1,p=1$${'A'.repeat(13)}$${'A'.repeat(43)}`, `$argon2id$v=19$m=8,t=1,p=1$${'A'.repeat(22)}$${'A'.repeat(29)}`, `$argon2id$v=19$m=8,t=1,p=1$${'A'.repeat(22)}$${'B'.repeat(43)}`,
    bcrypt('14'), bcrypt('31'), bcrypt('03'), bcrypt('99'), bcrypt('12', '2x'), bcrypt('12', '2'), bcrypt('12').slice(0, -1), `${bcrypt('12')}\n`
  ]) {
    t.equal(parseHash(bad), undefined, JSON.stringify(bad))
  }
})
