// The limits of an address: whom they hold up, and how an operator ends them.
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { servicesOf } from '../src/services.js'
import { asUser } from '../src/testing.js'
import { commandLine, refused } from './command-line.js'
import { databases } from './databases.js'
import { as, bob, buildOn, loginHead, open, signUp, until } from './helper.js'

const wrong = { ...bob, password: 'a wrong password' }
const alice = { username: 'alice', password: 'another horse battery staple' }
const tooMany = { statusCode: 429, code: 'TOO_MANY_ATTEMPTS', error: 'Too Many Requests', message: 'too many attempts: try again later' }
/** Low limits of an address, and those of an account as they are by default. */
const limits = { TRUST_PROXY: '127.0.0.1', LOGIN_FAILURES_PER_ADDRESS_MINUTE: '5', LOGIN_FAILURES_PER_ACCOUNT: '10' }
const office = '203.0.113.1'

/** Sends JSON from an address. */
const from = (app: FastifyInstance, address: string, headers: Record<string, string> = {}) =>
  (method: 'POST' | 'PUT' | 'DELETE', path: string, payload: object | string) =>
    app.inject({ method, url: `/api/v1${path}`, payload, headers: { 'content-type': 'application/json', 'x-forwarded-for': address, ...headers } })

const logIn = (app: FastifyInstance, address: string, account: object | string = bob) => from(app, address)('POST', '/login', account)

/** Fails to log in from an address, as often as it may, with a username that nobody has. */
async function block (app: FastifyInstance, address = office): Promise<void> {
  for (let i = 0; i < 5; i++) await logIn(app, address, { ...wrong, username: 'nobody' })
}

async function tally (responses: Array<Promise<{ statusCode: number }>>): Promise<Record<number, number>> {
  const statuses: Record<number, number> = {}
  for (const { statusCode } of await Promise.all(responses)) statuses[statusCode] = (statuses[statusCode] ?? 0) + 1
  return statuses
}

const hashes = (app: FastifyInstance) => servicesOf(app).passwords.load().passed

for (const database of databases) {
  t.test(database.name, async (t) => {
    const build = buildOn(database)

    /** A server on which bob is known in the office, and alice is not. */
    async function setUp (t: Test, env: Record<string, string> = {}): Promise<FastifyInstance> {
      const app = await build(t, { ...limits, ...env })
      await from(app, office)('POST', '/signup', bob)
      await signUp(app, alice)
      return app
    }

    t.test('POST /api/v1/login · address blocked by failed logins, account known there → 200; everything else → 429, and nothing is hashed', async (t) => {
      for (const LOGIN_ERRORS of ['detailed', 'uniform']) {
        const app = await setUp(t, { LOGIN_ERRORS })
        await block(app)
        t.equal((await logIn(app, office)).statusCode, 200)
        t.equal((await logIn(app, office, { ...bob, username: 'BOB' })).statusCode, 200)
        const before = hashes(app)
        for (const [name, body] of [
          ['an account that is not known there', alice], ['an unknown username', { ...bob, username: 'nobody' }], ['what cannot be a username', { ...bob, username: 'b'.repeat(9_000) }],
          ['a username of another type', { ...bob, username: ['bob'] }], ['no username', { password: bob.password }], ['no password of a known account', { username: bob.username, password: '' }],
          ['an array', [bob]], ['null', 'null'], ['no JSON', '{'], ['nothing', ''], ['too much', JSON.stringify({ ...bob, more: 'x'.repeat(20_000) })]
        ] as const) {
          const response = await logIn(app, office, body)
          t.same(response.json(), tooMany, name)
          t.match(response.headers['retry-after'], /^\d+$/)
        }
        t.equal(hashes(app), before)
        t.equal(servicesOf(app).throttle.counts.address, 11)
        t.equal((await logIn(app, '203.0.113.2', alice)).statusCode, 200, 'elsewhere nobody is held up')
      }
    })

    t.test('POST /api/v1/login · address blocked, wrong passwords of an account known there → the limit of the account', async (t) => {
      const app = await setUp(t, { LOGIN_FAILURES_PER_ADDRESS_MINUTE: '30' })
      for (let i = 0; i < 30; i++) await logIn(app, office, { ...wrong, username: 'nobody' })
      const statuses = await tally(Array.from({ length: 60 }, () => logIn(app, office, wrong)))
      t.ok(Number(statuses[401]) >= 10 && Number(statuses[401]) <= 12, JSON.stringify(statuses))
      t.equal(Number(statuses[401]) + Number(statuses[429]), 60)
      t.equal((await logIn(app, office)).statusCode, 429, 'now the account has to wait')
    })

    t.test('POST /api/v1/login · more wrong passwords than an address may send, between right ones → 429 for the account alone', async (t) => {
      const app = await setUp(t, { LOGIN_FAILURES_PER_ACCOUNT: '3' })
      await from(app, office)('POST', '/signup', { ...alice, username: 'carol' })
      for (let i = 0; i < 2; i++) {
        for (let j = 0; j < 2; j++) t.equal((await logIn(app, office, wrong)).statusCode, 401)
        t.equal((await logIn(app, office)).statusCode, 200, 'clears the failures of the account')
      }
      t.equal((await logIn(app, office, wrong)).statusCode, 401)
      for (const account of [bob, wrong]) t.same((await logIn(app, office, account)).json(), tooMany)
      t.equal((await logIn(app, office, { ...alice, username: 'carol' })).statusCode, 200, 'whoever else is known there is not held up')
    })

    t.test('POST /api/v1/login · guesses in flight at other accounts of the address → a known account does not wait for them', async (t) => {
      const app = await setUp(t)
      const { passwords } = servicesOf(app)
      const { verify } = passwords
      let inFlight = 0
      let release = () => {}
      const released = new Promise<void>((resolve) => { release = resolve })
      passwords.verify = async (hash, password, job) => {
        inFlight++
        if (password === wrong.password) await released
        return await verify(hash, password, job)
      }
      const guesses = tally(Array.from({ length: 20 }, () => logIn(app, office, { ...alice, password: wrong.password })))
      await until(() => inFlight > 0)
      t.equal((await logIn(app, office)).statusCode, 200)
      release()
      t.same(await guesses, { 401: 5, 429: 15 })
    })

    t.test('POST /api/v1/login · address blocked by logins of others → 200 for an account known there, 429 for others', async (t) => {
      const app = await setUp(t, { LOGINS_PER_ADDRESS_MINUTE: '3' })
      await from(app, office)('POST', '/signup', { ...alice, username: 'carol' })
      for (let i = 0; i < 3; i++) t.equal((await logIn(app, office, { ...alice, username: 'carol' })).statusCode, 200)
      t.same((await logIn(app, office, { ...alice, username: 'carol' })).json(), tooMany, 'her own budget is used up')
      for (let i = 0; i < 3; i++) t.equal((await logIn(app, office)).statusCode, 200)
      t.same((await logIn(app, office, alice)).json(), tooMany)
      t.match(servicesOf(app).throttle.counts, { address: 0, address_logins: 2 })
    })

    t.test('PUT /api/v1/me/password, DELETE /api/v1/me, POST /api/v1/tokens · address blocked → 429, unless the account is known there', async (t) => {
      const app = await setUp(t)
      const tokens = { bob: (await logIn(app, office)).json().token, alice: (await logIn(app, '203.0.113.2', alice)).json().token }
      await block(app)
      const next = 'incorrect donkey charger clip'
      const [owner, other] = [from(app, office, { authorization: tokens.bob }), from(app, office, { authorization: tokens.alice })]
      for (const [method, path, body] of [
        ['PUT', '/me/password', { current_password: alice.password, new_password: next }],
        ['DELETE', '/me', { password: alice.password }],
        ['POST', '/tokens', { description: 'x', password: alice.password }]
      ] as const) t.same((await other(method, path, body)).json(), tooMany, path)
      t.same((await other('DELETE', '/me', '{')).json(), tooMany, 'before the body is read')
      t.equal((await owner('POST', '/tokens', { description: 'x', password: bob.password })).statusCode, 201)
      t.equal((await owner('PUT', '/me/password', { current_password: bob.password, new_password: next })).statusCode, 204)
      t.equal((await owner('DELETE', '/me', { password: wrong.password })).statusCode, 401)
      t.equal((await owner('DELETE', '/me', { password: next })).statusCode, 204)
    })

    t.test('POST /api/v1/login over a socket · address blocked, body in chunks: too large → 429; of a known account → 200; ends early → the server goes on', async (t) => {
      const app = await build(t, { ...limits, TRUST_PROXY: '10.0.0.1' })
      await signUp(app)
      await block(app)
      await app.listen({ host: '127.0.0.1', port: 0 })
      const url = `http://127.0.0.1:${(app.addresses()[0] as AddressInfo).port}`
      const chunked = 'POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n'
      const body = JSON.stringify(bob)
      for (const [bytes, answer] of [
        [`${chunked}${(20_000).toString(16)}\r\n${'x'.repeat(20_000)}\r\n0\r\n\r\n`, /^HTTP\/1\.1 429 /],
        [`${chunked}${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`, /^HTTP\/1\.1 200 /],
        [`${loginHead(body.length).replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n')}${body}`, /^HTTP\/1\.1 200 /]
      ] as const) t.match(await (await open(url, bytes)).ended, answer)
      const { socket } = await open(url, `${loginHead(100)}{"username"`)
      socket.destroy()
      await once(socket, 'close')
      t.equal((await logIn(app, '127.0.0.1')).statusCode, 200)
    })

    t.test('POST /api/v1/login over a socket · address blocked, and unlocked before the body arrives → answered', async (t) => {
      const lines: string[] = []
      const app = await build(t, { ...limits, TRUST_PROXY: '10.0.0.1', LOG_LEVEL: 'debug' }, { logStream: { write: (line) => { lines.push(line) } } })
      await block(app)
      await app.listen({ host: '127.0.0.1', port: 0 })
      const url = `http://127.0.0.1:${(app.addresses()[0] as AddressInfo).port}`
      for (const [body, answer] of [['{}', /^HTTP\/1\.1 422 /], ['{"username":', /^HTTP\/1\.1 400 /]] as const) {
        const seen = lines.length
        const { socket, ended } = await open(url, loginHead(body.length).replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'))
        await until(() => lines.slice(seen).some((line) => line.includes('incoming request')))
        await servicesOf(app).throttle.unlockAddress('127.0.0.1')
        socket.write(body)
        t.match(await ended, answer)
      }
    })

    t.test('POST /api/v1/login · no limit of failures of an account, address blocked → 200 for an account known there', async (t) => {
      const app = await build(t, { ...limits, LOGIN_FAILURES_PER_ACCOUNT: '0' })
      await from(app, office)('POST', '/signup', bob)
      await from(app, '203.0.113.9')('POST', '/signup', alice)
      t.equal((await logIn(app, office, alice)).statusCode, 200)
      await block(app)
      for (const account of [bob, alice]) t.equal((await logIn(app, office, account)).statusCode, 200, account.username)
    })

    t.test('DELETE /api/v1/addresses/{address}/failures', async (t) => {
      const url = (address: string) => `/addresses/${encodeURIComponent(address)}/failures`

      t.test('204 · failed logins, logins and signups of the address are forgotten, on two servers; later ones count', async (t) => {
        const env = { ...limits, LOGINS_PER_ADDRESS_MINUTE: '1', SIGNUPS_PER_ADDRESS_HOUR: '1', DATABASE_URL: await database.create(t, { isShared: true }) }
        const [here, there] = [await build(t, env), await build(t, env)]
        const { user, token } = await asUser(here, 'admin', { roles: ['admin'] })
        const admin = as(here, token)
        for (const username of ['alice', 'carol', 'dave']) await asUser(here, username, { password: bob.password })
        for (const app of [here, there]) {
          await from(app, office)('POST', '/signup', { ...bob, username: app === here ? 'erin' : 'frank' })
          t.equal((await from(app, office)('POST', '/signup', { ...bob, username: 'grace' })).statusCode, 429)
          t.equal((await logIn(app, office, { ...bob, username: app === here ? 'alice' : 'carol' })).statusCode, 200)
          t.equal((await logIn(app, office, { ...bob, username: 'dave' })).statusCode, 429)
          await block(app, '2001:db8:1:2::7')
          await block(app)
          t.equal((await logIn(app, '2001:db8:1:2::8', wrong)).statusCode, 429)
        }
        t.equal((await admin('DELETE', url('203.0.113.2'))).statusCode, 204, 'whether there is anything to forget or not')
        t.equal((await logIn(here, office, wrong)).statusCode, 429, 'another address')
        for (const address of [`::ffff:${office}`, '2001:db8:1:2:3:4:5:6']) {
          const response = await admin('DELETE', url(address))
          t.equal(response.statusCode, 204)
          t.equal(response.body, '')
        }
        t.equal((await logIn(here, office, wrong)).statusCode, 404, 'on this server at once')
        await until(async () => (await logIn(there, office, wrong)).statusCode === 404)
        t.equal((await logIn(here, '2001:db8:1:2::9', wrong)).statusCode, 404)
        t.equal((await logIn(there, '2001:db8:1:2::9', wrong)).statusCode, 404)
        t.equal((await logIn(here, office, { ...bob, username: 'dave' })).statusCode, 200)
        t.equal((await from(here, office)('POST', '/signup', { ...bob, username: 'grace' })).statusCode, 200)
        await block(here)
        await delay(1_100)
        t.equal((await logIn(here, office, wrong)).statusCode, 429, 'an unlock is applied once')
        t.match((await admin('GET', '/events?kind=unlock')).json().events, [
          { detail: '2001:db8:1:2::/64', actor_id: user.id, user_id: null, source: 'http' }, { detail: office }, { detail: '203.0.113.2' }
        ])
      })

      t.test('no address → 422 VALIDATION_FAILED; not an admin → 403 ROLE_REQUIRED; no token → 400 AUTHORIZATION_MISSING; nothing is written', async (t) => {
        const app = await build(t)
        const admin = as(app, (await asUser(app, 'admin', { roles: ['admin'] })).token)
        for (const address of ['nowhere', '203.0.113.300', '203.0.113.0/24', '2001:db8::/64', '203.0.113.7:80', '0x7f.1', ' ', 'x'.repeat(150)]) {
          t.match((await admin('DELETE', url(address))).json(), { statusCode: 422, code: 'VALIDATION_FAILED', message: 'address must be an IPv4 or IPv6 address' }, address)
        }
        const user = as(app, (await asUser(app, 'bob')).token)
        t.match((await user('DELETE', url(office))).json(), { statusCode: 403, code: 'ROLE_REQUIRED' })
        t.match((await app.inject({ method: 'DELETE', url: `/api/v1${url(office)}` })).json(), { statusCode: 400, code: 'AUTHORIZATION_MISSING' })
        const { store } = servicesOf(app)
        t.same(await store.db.select().from(store.tables.addressUnlocks), [])
      })
    })

    t.test('latchkey unlock --address · the server forgets the attempts within about a second', async (t) => {
      const env = { ...limits, DATABASE_URL: await database.create(t, { isShared: true }) }
      const app = await build(t, env)
      const { latchkey } = commandLine(t, env)
      await block(app)
      t.equal((await logIn(app, office, wrong)).statusCode, 429)
      t.same(await latchkey(['unlock', '--address', `::ffff:${office}`]), { code: 0, out: `the failed logins, logins, signups and requests for a new password of ${office} are forgotten on every server within about a second\n`, err: '' })
      await until(async () => (await logIn(app, office, wrong)).statusCode === 404)
      const events = JSON.parse(`[${(await latchkey(['events', '--json', '--kind', 'unlock'])).out.trim().split('\n').join()}]`)
      t.match(events, [{ detail: office, source: 'cli', user_id: null, actor_id: null }])
      refused(t, await latchkey(['unlock', '--address', '203.0.113.300']), 'latchkey: the address must be an IPv4 or IPv6 address\n')
      t.match(await latchkey(['unlock', 'bob', '--address', office]), { out: '', err: /^latchkey: too many arguments for 'unlock'/ })
      t.match(await latchkey(['unlock']), { out: '', err: /^latchkey: required option '--address <address>' not specified\n/ })
    })

    t.test('unlocked addresses · read once a second at most; an hour old → deleted; unreadable → 429 as before', async (t) => {
      const lines: string[] = []
      const now = () => Date.UTC(2026, 10, 24)
      const env = { ...limits, LOG_LEVEL: 'error', AUDIT_RETENTION_DAYS: '0', DATABASE_URL: await database.create(t, { isShared: true }) }
      const app = await build(t, env, { now, logStream: { write: (line) => { lines.push(line) } } })
      const { store } = servicesOf(app)
      const { addressUnlocks } = store.tables
      await store.db.insert(addressUnlocks).values([{ network: '203.0.113.8', unlockedAt: new Date(now() - 3_600_000) }, { network: '203.0.113.9', unlockedAt: new Date(now() - 3_599_000) }])
      await block(app)
      const queries = database.countQueries(t)
      const before = performance.now()
      const rejected = async (count: number) => await tally(Array.from({ length: count }, () => logIn(app, office, { ...wrong, username: 'what cannot be a username' })))
      t.same(await rejected(200), { 429: 200 })
      t.ok(queries() <= 1 + (performance.now() - before) / 1_000, `${queries()} queries`)
      await (await build(t, env, { now })).ready()
      t.same((await store.db.select().from(addressUnlocks)).map(({ network }) => network), ['203.0.113.9'])
      await database.execute(store, 'drop table address_unlocks')
      await delay(1_000)
      t.same(await rejected(10), { 429: 10 })
      t.match(lines.map((line) => JSON.parse(line).msg), ['the unlocked addresses could not be read'])
    })
  })
}
