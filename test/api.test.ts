import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import * as argon2 from '@node-rs/argon2'
import * as bcrypt from '@node-rs/bcrypt'
import Fastify from 'fastify'
import t from 'tap'
import { buildApp } from '../src/app.js'
import { servicesOf } from '../src/services.js'
import { loadConfig } from '../src/standalone/config.js'
import latchkey from '../src/index.js'
import { recommendedParameters } from '../src/plugins/passwords/stored-hash.js'
import { databases } from './databases.js'
import { bob, buildOn, claimsOf, logIn, needLogin, secretKey, signToken, signUp, tokenOf } from './helper.js'

for (const database of databases) {
  t.test(database.name, async (t) => {
    const build = buildOn(database)

    t.test('the course, chapter for chapter', async (t) => {
      const app = await build(t)

      t.test('GET / · says hello', async (t) => {
        const response = await app.inject('/')
        t.equal(response.statusCode, 200)
        t.match(response.headers['content-type'], /^text\/plain/)
        t.equal(response.body, 'Hello, World!')
      })

      t.test('POST /api/v1/signup · 200, then 409, and 422 for what is empty', async (t) => {
        const account = { username: 'testuser', password: 'test_user', email: 'test@example.com' }
        const first = await signUp(app, account)
        t.equal(first.statusCode, 200)
        t.equal(first.json().msg, 'welcome :-)')
        const again = await signUp(app, account)
        t.equal(again.statusCode, 409)
        t.match(again.json(), { code: 'USERNAME_TAKEN', error: 'Conflict', message: 'username already taken' })
        for (const field of ['username', 'email', 'password']) {
          const response = await signUp(app, { ...account, [field]: '' })
          t.equal(response.statusCode, 422)
          t.match(response.json(), { code: 'VALIDATION_FAILED', message: `${field} is empty` })
        }
      })

      t.test('POST /api/v1/login · 200, 422, 404, 401', async (t) => {
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

      t.test('GET /need_login · 200 with the bare token and with Bearer, 400 without, 401 with nonsense', async (t) => {
        const token = (await logIn(app, { username: 'testuser', password: 'test_user' })).json().token
        for (const url of ['/need_login', '/api/v1/need_login']) {
          for (const authorization of [token, `Bearer ${token}`, `bearer ${token}`, `BEARER   ${token}`]) {
            const response = await app.inject({ url, headers: { authorization } })
            t.equal(response.statusCode, 200, authorization.slice(0, 12))
            t.match(response.headers['content-type'], /^text\/plain/)
            t.equal(response.body, 'if you see this, that means your token is valid')
          }
          const missing = await app.inject(url)
          t.equal(missing.statusCode, 400)
          t.equal(missing.headers['www-authenticate'], 'Bearer')
          t.match(missing.json(), { code: 'AUTHORIZATION_MISSING', message: 'no Authorization header found' })
          const invalid = await app.inject({ url, headers: { authorization: 'test.test.test' } })
          t.equal(invalid.statusCode, 401)
          t.equal(invalid.headers['www-authenticate'], 'Bearer error="invalid_token"')
          t.match(invalid.json(), { code: 'TOKEN_INVALID' })
        }
      })
    })

    t.test('POST /api/v1/signup', async (t) => {
      t.test('answers the account, as it was written and without secrets', async (t) => {
        const app = await build(t, {}, { now: () => Date.UTC(2026, 10, 23, 20, 44) })
        const response = await signUp(app, { username: 'Bob', email: 'Bob@Example.com', password: bob.password, is_admin: true, id: 7 })
        t.equal(response.statusCode, 200)
        t.same(response.json(), {
          msg: 'welcome :-)',
          user: { id: 1, username: 'Bob', email: 'Bob@Example.com', created_at: '2026-11-23T20:44:00.000Z' }
        })
        t.equal(response.headers['cache-control'], 'no-store')
      })

      t.test('names and emails are unique without regard to case; the name is looked at first', async (t) => {
        const app = await build(t)
        await signUp(app, { ...bob, email: 'bob@example.com' })
        t.match((await signUp(app, { ...bob, username: 'BOB', email: 'other@example.com' })).json(), { statusCode: 409, code: 'USERNAME_TAKEN' })
        t.match((await signUp(app, { ...bob, username: 'bOb', email: 'bob@example.com' })).json(), { statusCode: 409, code: 'USERNAME_TAKEN' })
        t.match((await signUp(app, { ...bob, username: 'alice', email: 'BOB@example.COM' })).json(), { statusCode: 409, code: 'EMAIL_TAKEN', message: 'email already signed-up' })
        t.match((await signUp(app, { ...bob, username: 'alice', email: null })).json().user, { id: Number, email: null })
        t.equal((await signUp(app, { ...bob, username: 'carol' })).json().user.email, null, 'any number of accounts can do without')
      })

      t.test('40 at once for one name make one account', async (t) => {
        const app = await build(t, { DATABASE_URL: await database.create(t, { isShared: true }), HASH_QUEUE: '32' })
        const responses = await Promise.all(Array.from({ length: 40 }, (_, i) => signUp(app, { ...bob, username: i % 2 === 0 ? 'bob' : 'BOB' })))
        t.equal(responses.filter(({ statusCode }) => statusCode === 200).length, 1)
        t.equal(responses.filter(({ statusCode }) => statusCode === 409).length, 39)
        t.match(servicesOf(app).passwords.load(), { passed: 1 }, 'and cost one hash')
      })

      t.test('the indexes decide: one email for two names at once, one name on two servers', async (t) => {
        const env = { DATABASE_URL: await database.create(t, { isShared: true }) }
        const [here, there] = [await build(t, env), await build(t, env)]
        const email = 'bob@example.com'
        const emails = await Promise.all(['alice', 'carol'].map((username) => signUp(here, { ...bob, username, email })))
        t.same(emails.map(({ statusCode }) => statusCode).sort(), [200, 409])
        t.match(emails.find(({ statusCode }) => statusCode === 409)?.json(), { code: 'EMAIL_TAKEN' })
        const names = await Promise.all([here, there].map((app, i) => signUp(app, i === 0 ? bob : { ...bob, email: 'another@example.com' })))
        t.same(names.map(({ statusCode }) => statusCode).sort(), [200, 409])
        t.match(names.find(({ statusCode }) => statusCode === 409)?.json(), { code: 'USERNAME_TAKEN' })
      })

      t.test('of several at once for one name the next is heard when one was refused, not when the server cannot', async (t) => {
        const app = await build(t)
        await signUp(app, { ...bob, username: 'alice', email: 'taken@example.com' })
        const statuses = async (...accounts: object[]) => (await Promise.all(accounts.map((account) => signUp(app, account)))).map(({ statusCode }) => statusCode)
        t.same(await statuses({ ...bob, email: 'taken@example.com' }, bob, bob), [409, 200, 409])
        t.match(servicesOf(app).passwords.load(), { passed: 2 }, 'what is taken costs no hash')
        await database.addTrigger(servicesOf(app).store, 'before insert on users', database.fault('a fault'))
        t.same(await statuses(...Array.from({ length: 3 }, () => ({ ...bob, username: 'carol' }))), [500, 500, 500])
      })

      t.test('a password must not be the username or the email, nor common, unless the list is off', async (t) => {
        const app = await build(t)
        for (const [account, message] of [
          [{ username: 'longusername', password: 'LongUserName' }, 'password must not be the username'],
          [{ username: 'bob', email: 'bob@example.com', password: 'BOB@example.com' }, 'password must not be the email'],
          [{ username: 'bob', password: 'Password1' }, 'password is one of the most common passwords'],
          [{ username: 'bob', password: 'short' }, 'password must be at least 8 characters long']
        ] as const) {
          t.match((await signUp(app, account)).json(), { statusCode: 422, message, errors: [{ field: 'password', message }] })
        }
        t.equal((await signUp(await build(t, { PASSWORD_BLOCKLIST: 'off' }), { username: 'bob', password: 'Password1' })).statusCode, 200)
        t.equal((await signUp(await build(t, { PASSWORD_MIN_LENGTH: '15' }), { username: 'bob', password: 'fourteen chars' })).statusCode, 422)
      })

      t.test('one password, typed in two ways, is one password', async (t) => {
        const app = await build(t)
        await signUp(app, { username: 'bob', password: 'cafe\u0301 au lait' })
        t.equal((await logIn(app, { username: 'bob', password: 'caf\u00e9 au lait' })).statusCode, 200)
        t.equal((await logIn(app, { username: 'bob', password: ' caf\u00e9 au lait' })).statusCode, 401, 'nothing is trimmed')
        t.equal((await logIn(app, { username: 'bob', password: 'cafe au lait' })).statusCode, 401)
      })

      t.test('SIGNUP=closed · 403 for everybody', async (t) => {
        const app = await build(t, { SIGNUP: 'closed' })
        t.match((await signUp(app)).json(), { statusCode: 403, code: 'SIGNUP_CLOSED', message: 'signup is closed' })
        t.match((await signUp(app, {})).json(), { statusCode: 403 })
      })
    })

    t.test('POST /api/v1/login', async (t) => {
      t.test('works with the real cost of a hash and every default', async (t) => {
        const app = await buildApp(loadConfig({ DATABASE_URL: await database.create(t), SECRET_KEY: secretKey, LOG_LEVEL: 'silent' }))
        t.teardown(() => app.close())
        await signUp(app)
        t.match((await servicesOf(app).users.findCredentials('bob'))?.passwordHash, /^\$argon2id\$v=19\$m=19456,t=2,p=1\$/)
        t.equal((await logIn(app)).statusCode, 200)
        t.equal((await logIn(app, { ...bob, password: 'wrong' })).statusCode, 401)
        await t.rejects(servicesOf(app).users.create({ username: 'not a username', email: null, passwordHash: '' }), TypeError)
      })

      t.test('gives a token of exactly the promised life, for a row that lives', async (t) => {
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

      t.test('finds the username in any case; no other string is anybody', async (t) => {
        const app = await build(t)
        await signUp(app)
        t.equal((await logIn(app, { ...bob, username: 'BoB' })).statusCode, 200)
        for (const username of ['bob ', 'b\u00f6b', 'bob\0', '\ud800', 'x'.repeat(5000), "' or 1=1 --"]) {
          t.match((await logIn(app, { ...bob, username })).json(), { statusCode: 404, code: 'USERNAME_UNKNOWN' })
        }
      })

      t.test('answers a token that no cache may keep', async (t) => {
        const app = await build(t)
        await signUp(app)
        t.equal((await logIn(app)).headers['cache-control'], 'no-store')
      })

      t.test('LOGIN_ERRORS=uniform · tells an unknown username from a wrong password neither by answer nor by work', async (t) => {
        const app = await build(t, { LOGIN_ERRORS: 'uniform' })
        await signUp(app)
        const unknown = await logIn(app, { username: 'nobody', password: 'wrong password' })
        const wrong = await logIn(app, { username: 'bob', password: 'wrong password' })
        t.match(unknown.json(), { statusCode: 401, code: 'CREDENTIALS_INCORRECT', message: 'username or password incorrect' })
        t.equal(unknown.body, wrong.body)
        t.same({ ...unknown.headers, date: '' }, { ...wrong.headers, date: '' })
        t.equal((await logIn(app)).statusCode, 200)
        t.equal(await servicesOf(app).passwords.verify(undefined, 'anything'), false)
      })

      t.test('the same work for an unknown username · as slow as for a known one, with the real cost', async (t) => {
        const app = await build(t, { LOGIN_ERRORS: 'uniform' }, { hashParameters: { memoryCost: 65_536, timeCost: 3, parallelism: 1 } })
        await signUp(app)
        const cost = async (username: string) => {
          const before = process.cpuUsage()
          await Promise.all(Array.from({ length: 3 }, () => logIn(app, { username, password: 'wrong password' })))
          const { user, system } = process.cpuUsage(before)
          return user + system
        }
        // In turns, and the least of each: whatever else the machine does only adds.
        const costs: Record<'nobody' | 'bob', number[]> = { nobody: [], bob: [] }
        for (let round = 0; round < 3; round++) {
          for (const username of ['nobody', 'bob'] as const) costs[username].push(await cost(username))
        }
        const ratio = Math.min(...costs.nobody) / Math.min(...costs.bob)
        t.ok(ratio > 0.5 && ratio < 2, `ratio of CPU time ${ratio.toFixed(2)}`)
      })

      t.test('LOGIN_ERRORS=uniform · a login that fails takes the same time whatever its hash costs, and holds nobody up', async (t) => {
        const app = await build(t, { LOGIN_ERRORS: 'uniform', HASH_CONCURRENCY: '1' }, { hashParameters: recommendedParameters })
        const hashes = {
          strong: await argon2.hash(bob.password, { memoryCost: 65_536, timeCost: 3, parallelism: 4 }),
          weak: await argon2.hash(bob.password, { memoryCost: 4_096, timeCost: 1, parallelism: 1 }),
          bcrypt: await bcrypt.hash(bob.password, 10)
        }
        for (const [username, passwordHash] of Object.entries(hashes)) await servicesOf(app).users.create({ username, email: null, passwordHash })
        const times: Record<string, number[]> = {}
        for (let i = 0; i < 3; i++) {
          for (const username of [...Object.keys(hashes), 'nobody']) {
            const before = performance.now()
            t.equal((await logIn(app, { username, password: 'wrong password' })).statusCode, 401)
            times[username] = [...times[username] ?? [], performance.now() - before]
          }
        }
        const medians = Object.entries(times).map(([username, some]) => [username, Number(some.sort((a, b) => a - b)[1])] as const)
        const all = medians.map(([, ms]) => ms)
        t.ok(Math.max(...all) / Math.min(...all) < 2, JSON.stringify(medians))
        t.ok(Math.min(...Object.values(times).flat()) > 395)

        const order: string[] = []
        const passed = servicesOf(app).passwords.load().passed
        const failing = Promise.all(['nobody', 'weak', 'nobody'].map(async (username) => {
          await logIn(app, { username, password: 'wrong password' })
          order.push('failed')
        }))
        while (servicesOf(app).passwords.load().passed < passed + 3) await delay(1)
        t.equal((await logIn(app, { ...bob, username: 'weak' })).statusCode, 200)
        order.push('succeeded')
        await failing
        t.same(order, ['succeeded', 'failed', 'failed', 'failed'], 'their time is no place in the queue, and a success has to wait for nothing')
      })

      t.test('hashes with argon2id as OWASP recommends, and makes every other hash such a one at the next login', async (t) => {
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

      t.test('an upgrade that fails is logged and does not fail the login', async (t) => {
        const lines: string[] = []
        const file = await database.create(t, { isShared: true })
        await signUp(await build(t, { DATABASE_URL: file }))
        const app = await build(t, { DATABASE_URL: file, LOG_LEVEL: 'error' }, { hashParameters: { memoryCost: 16, timeCost: 1, parallelism: 1 }, logStream: { write: (line) => { lines.push(line) } } })
        await database.addTrigger(servicesOf(app).store, 'before update on users', database.fault('not today'))
        t.equal((await logIn(app)).statusCode, 200)
        t.match(JSON.parse(String(lines.at(-1))), { msg: 'a password hash could not be upgraded', err: { message: 'not today' }, reqId: String })
      })

      t.test('a poisoned hash costs nothing and says nothing', async (t) => {
        const app = await build(t)
        await signUp(app)
        const { users } = servicesOf(app).store.tables
        await servicesOf(app).store.db.update(users).set({ passwordHash: `$argon2id$v=19$m=1048576,t=9,p=1$${'a'.repeat(22)}$${'b'.repeat(43)}` })
        const before = process.cpuUsage()
        const response = await logIn(app)
        const { user, system } = process.cpuUsage(before)
        t.same(response.json(), { statusCode: 500, code: 'INTERNAL_SERVER_ERROR', error: 'Internal Server Error', message: 'Internal Server Error' })
        t.ok(user + system < 500_000, 'a gigabyte and nine passes would take seconds')
        t.ok(servicesOf(app).passwords.needsRehash('nonsense', ''))
      })

      t.test('a user that is deleted while logging in is unknown', async (t) => {
        const app = await build(t)
        await signUp(app)
        await database.addTrigger(servicesOf(app).store, 'before insert on tokens', 'delete from users')
        t.match((await logIn(app)).json(), { statusCode: 404, code: 'USERNAME_UNKNOWN' })
      })

      t.test('logs one line for each request, when it is answered; with debug also when it comes; with warn none', async (t) => {
        for (const [level, messages] of [['info', ['request completed']], ['debug', ['incoming request', 'request completed']], ['warn', []]] as const) {
          const lines: string[] = []
          const app = await build(t, { LOG_LEVEL: level }, { logStream: { write: (line) => { lines.push(line) } } })
          await app.inject('/need_login?token=secret')
          await app.inject('/nothing')
          const logged = lines.map((line) => JSON.parse(line))
          t.same(logged.map(({ msg }) => msg), [...messages, ...messages])
          for (const line of logged) t.match(line, { level: Number, time: Number, reqId: /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/, req: { method: 'GET', path: /^\/(?:need_login|nothing)$/, address: '127.0.0.1' } })
          t.match(logged.filter(({ res }) => res !== undefined).map(({ res, responseTime }) => [res.statusCode, typeof responseTime]), level === 'warn' ? [] : [[400, 'number'], [404, 'number']])
          t.equal(new Set(logged.map(({ reqId }) => reqId)).size, level === 'warn' ? 0 : 2, 'each request has an id of its own')
        }
      })

      t.test('logs what cannot be routed, and whose client has left', async (t) => {
        const lines: string[] = []
        const app = await build(t, { LOG_LEVEL: 'info' }, { logStream: { write: (line) => { lines.push(line) } } })
        await app.inject('/%zz?secret')
        await app.inject({ method: 'DELETE', url: `/api/v1/roles/${'a'.repeat(300)}` })
        const { hostname, port } = new URL(await app.listen({ port: 0 }))
        const socket = connect(Number(port), hostname)
        socket.write('POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{')
        await new Promise((resolve) => socket.once('connect', () => setTimeout(resolve, 50)))
        socket.destroy()
        while (!lines.some((line) => line.includes('request aborted'))) await new Promise((resolve) => setTimeout(resolve, 5))
        const logged = lines.map((line) => JSON.parse(line)).filter(({ req }) => req !== undefined)
        t.match(logged, [
          { msg: 'request completed', req: { method: 'GET', path: '/%zz', address: '127.0.0.1' }, res: { statusCode: 404 } },
          { msg: 'request completed', req: { method: 'DELETE' }, res: { statusCode: 404 } },
          { msg: 'request aborted', req: { method: 'POST', path: '/api/v1/login' } }
        ])
        t.notMatch(lines.join(''), 'secret')
      })

      t.test('logs an answer that breaks', async (t) => {
        const lines: string[] = []
        const app = await build(t, { LOG_LEVEL: 'info' }, { logStream: { write: (line) => { lines.push(line) } } })
        app.addHook('onResponse', async () => { throw new Error('a mishap') })
        app.get('/broken', { schema: { hide: true } }, async () => 'x')
        await app.inject('/broken')
        await new Promise((resolve) => setImmediate(resolve))
        t.match(lines.map((line) => JSON.parse(line)), [{ msg: 'request completed' }, { level: 50, msg: 'request errored', err: { message: 'a mishap' } }])
      })

      t.test('logs every outcome with user id and address, and no secret; a newline forges no line', async (t) => {
        const lines: string[] = []
        const app = await build(t, { LOG_LEVEL: 'trace' }, { logStream: { write: (line) => { lines.push(line) } } })
        await signUp(app)
        const token = (await logIn(app)).json().token
        await logIn(app, { ...bob, password: 'a wrong secret' })
        await logIn(app, { username: 'mallory\n{"level":30,"msg":"logged in","userId":1}', password: 'secret' })
        await needLogin(app, `Bearer ${token}`)
        await app.inject('/need_login?token=in-the-query')
        const log = lines.join('')
        for (const line of lines) t.equal(line.trimEnd().split('\n').length, 1)
        const outcomes = lines.map((line) => JSON.parse(line)).filter(({ outcome }) => outcome !== undefined)
        t.match(outcomes, [
          { event: 'signup', userId: 1, address: '127.0.0.1', outcome: 'success', reqId: String },
          { event: 'login', userId: 1, address: '127.0.0.1', outcome: 'success', reqId: String },
          { event: 'login_failure', userId: 1, address: '127.0.0.1', outcome: 'password_incorrect', reqId: String },
          { event: 'login_failure', address: '127.0.0.1', outcome: 'username_unknown', reqId: String }
        ])
        for (const secret of [bob.password, 'a wrong secret', token, '$argon2', 'in-the-query', secretKey, 'mallory']) {
          t.notOk(log.includes(secret), secret)
        }
      })
    })

    t.test('authenticate', async (t) => {
      const seconds = () => Math.floor(Date.now() / 1000)
      const times = () => ({ iat: seconds(), exp: seconds() + 100 })

      t.test('an expired token answers 401 TOKEN_EXPIRED, to the second', async (t) => {
        let now = Date.now()
        const app = await build(t, { TOKEN_TTL_SECONDS: '60' }, { now: () => now })
        const token = await tokenOf(app)
        now += 58_000
        t.equal((await needLogin(app, token)).statusCode, 200)
        now += 2_000
        const response = await needLogin(app, token)
        t.match(response.json(), { statusCode: 401, code: 'TOKEN_EXPIRED', message: 'token has expired' })
        t.equal(response.headers['www-authenticate'], 'Bearer error="invalid_token"')
      })

      t.test('a token of ours without a user_id that a row can have answers 400 TOKEN_CLAIMS_INVALID', async (t) => {
        const app = await build(t)
        for (const userId of [undefined, null, 0, -1, 1.5, '1', [1], {}, true, 2 ** 53]) {
          const response = await needLogin(app, signToken({ ...times(), user_id: userId }))
          t.match(response.json(), { statusCode: 400, code: 'TOKEN_CLAIMS_INVALID', message: 'token is not valid' }, JSON.stringify(userId))
          t.equal(response.headers['www-authenticate'], 'Bearer')
        }
      })

      t.test('a token whose user is gone answers 400 USER_NOT_FOUND', async (t) => {
        const app = await build(t)
        const token = await tokenOf(app)
        await servicesOf(app).store.db.delete(servicesOf(app).store.tables.users)
        for (const gone of [token, signToken({ ...times(), user_id: 42 }), signToken({ ...times(), user_id: Number.MAX_SAFE_INTEGER })]) {
          const response = await needLogin(app, gone)
          t.match(response.json(), { statusCode: 400, code: 'USER_NOT_FOUND', message: '404 User not found' })
          t.equal(response.headers['www-authenticate'], 'Bearer')
        }
      })

      t.test('a token whose row is gone answers 401 TOKEN_REVOKED, also when the row is another user\'s', async (t) => {
        const app = await build(t)
        const token = await tokenOf(app)
        const alices = await tokenOf(app, { ...bob, username: 'alice' })
        t.match((await needLogin(app, signToken({ ...times(), user_id: 1, jti: claimsOf(alices).jti }))).json(), { statusCode: 401, code: 'TOKEN_REVOKED' })
        for (const jti of [undefined, '', 7, 'x\0', ['a'], '00000000-0000-0000-0000-000000000000']) {
          t.match((await needLogin(app, signToken({ ...times(), user_id: 1, jti }))).json(), { code: 'TOKEN_REVOKED', message: 'token has been revoked' })
        }
        await servicesOf(app).store.db.delete(servicesOf(app).store.tables.tokens)
        const response = await needLogin(app, token)
        t.match(response.json(), { statusCode: 401, code: 'TOKEN_REVOKED' })
        t.equal(response.headers['www-authenticate'], 'Bearer error="invalid_token"')
      })

      t.test('the plain guarded route is one query', async (t) => {
        const app = await build(t)
        const token = await tokenOf(app)
        const queries = database.countQueries(t)
        t.equal((await needLogin(app, token)).statusCode, 200)
        t.equal(queries(), 1)
        await logIn(app)
        t.ok(queries() > 1, 'the count counts')
      })

      t.test('SECRET_KEY_PREVIOUS still verifies and never signs', async (t) => {
        const file = await database.create(t, { isShared: true })
        const newKey = 'Another-Key-For-The-Time-After-The-Rotation-42'
        const before = await build(t, { DATABASE_URL: file })
        const old = await tokenOf(before)
        const rotated = await build(t, { DATABASE_URL: file, SECRET_KEY: newKey, SECRET_KEY_PREVIOUS: secretKey })
        t.equal((await needLogin(rotated, old)).statusCode, 200)
        const fresh = (await logIn(rotated)).json().token
        t.equal((await needLogin(rotated, fresh)).statusCode, 200)
        t.equal((await needLogin(before, fresh)).statusCode, 401)
        const after = await build(t, { DATABASE_URL: file, SECRET_KEY: newKey })
        t.match((await needLogin(after, old)).json(), { statusCode: 401, code: 'TOKEN_INVALID' })
        t.match((await needLogin(rotated, `${old.slice(0, -10)}AAAAAAAAAA`)).json(), { code: 'TOKEN_INVALID' })
      })

      t.test('a key that anybody could guess is refused', async (t) => {
        const app = Fastify()
        app.register(latchkey, { databaseUrl: 'sqlite://', secretKey: 'undefined', tokenTtlSeconds: 60, signup: 'open', loginErrors: 'detailed', passwordMinLength: 8, passwordBlocklist: 'on' })
        await t.rejects(async () => app.ready(), { name: 'TypeError', message: /secretKey must be a secret of at least 32 bytes/ })
      })

      t.test('guards a route of another app, as preHandler or onRequest, and says who is asking', async (t) => {
        const app = Fastify()
        t.teardown(() => app.close())
        await app.register(latchkey, {
          databaseUrl: await database.create(t), secretKey, tokenTtlSeconds: 60, signup: 'open', loginErrors: 'detailed', passwordMinLength: 8, passwordBlocklist: 'on'
        })
        app.get('/mine', { preHandler: [app.authenticate] }, async ({ currentUser }) => currentUser)
        app.get('/early', { onRequest: [app.authenticate] }, async ({ currentUser }) => currentUser)
        app.post('/open', async ({ body }) => ({ body }))
        const token = await tokenOf(app, { ...bob, email: 'bob@example.com' })
        for (const url of ['/mine', '/early']) {
          const response = await app.inject({ url, headers: { authorization: `Bearer ${token}` } })
          t.match(response.json(), { id: 1, username: 'bob', email: 'bob@example.com', createdAt: String })
          t.notMatch(response.body, /argon2|hash/i)
          t.equal((await app.inject(url)).statusCode, 400)
        }
        const open = await app.inject({ method: 'POST', url: '/open', headers: { 'content-type': 'text/plain' }, payload: 'x'.repeat(20_000) })
        t.equal(open.statusCode, 200, 'the host keeps its own limits and parsers')
        t.equal(open.headers['cache-control'], undefined)
      })
    })

    t.test('token rows', async (t) => {
      t.test('expired ones are swept at the start, living ones stay', async (t) => {
        const file = await database.create(t, { isShared: true })
        let now = Date.now()
        const first = await build(t, { DATABASE_URL: file, TOKEN_TTL_SECONDS: '60' }, { now: () => now })
        await tokenOf(first)
        now += 61_000
        await logIn(first)
        const second = await build(t, { DATABASE_URL: file }, { now: () => now })
        await second.ready()
        t.equal((await servicesOf(second).store.db.select().from(servicesOf(second).store.tables.tokens)).length, 1)
      })

      t.test('and every hour; a sweep that fails is logged and does no harm', async (t) => {
        const timers: Array<() => Promise<void>> = []
        const { setInterval } = globalThis
        t.teardown(() => { globalThis.setInterval = setInterval })
        globalThis.setInterval = Object.assign((callback: () => Promise<void>, ms: number) => {
          if (ms === 3_600_000) timers.push(callback)
          return setInterval(() => {}, ms)
        }, setInterval)
        let now = Date.now()
        const lines: string[] = []
        const app = await build(t, { TOKEN_TTL_SECONDS: '60', LOG_LEVEL: 'error' }, { now: () => now, logStream: { write: (line) => { lines.push(line) } } })
        globalThis.setInterval = setInterval
        await tokenOf(app)
        now += 61_000
        await timers[0]?.()
        t.equal((await servicesOf(app).store.db.select().from(servicesOf(app).store.tables.tokens)).length, 0)
        await servicesOf(app).store.close()
        await timers[0]?.()
        t.match(lines.at(-1), /expired tokens could not be removed/)
      })
    })

    t.test('health', async (t) => {
      const app = await build(t)
      for (const url of ['/health/live', '/health/ready']) {
        t.same((await app.inject(url)).json(), { status: 'ok' })
      }
      await servicesOf(app).store.close()
      t.equal((await app.inject('/health/live')).statusCode, 200, 'GET /health/live · whatever the database does')
      const response = await app.inject('/health/ready')
      t.same(response.json(), { statusCode: 503, code: 'SERVICE_UNAVAILABLE', error: 'Service Unavailable', message: 'Service Unavailable' })
      t.equal(response.headers['retry-after'], '1')
    })
  })
}
