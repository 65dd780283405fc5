import { setTimeout as delay } from 'node:timers/promises'
import { eq } from 'drizzle-orm'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import latchkey from '../src/index.js'
import { guardErrors } from '../src/plugins/authenticate/guard.js'
import { servicesOf } from '../src/services.js'
import { asUser, createTestClock, testOptions } from '../src/testing.js'
import { databases, withClient } from './databases.js'
import { as, bob, build as buildInMemory, buildOn, claimsOf, isLongRun, logIn, needLogin, pairOn, tokenOf, until } from './helper.js'

const idOf = (token: string): string => claimsOf(token).jti
const renew = (app: FastifyInstance, token: string) => as(app, token)('POST', '/renew')
const renewed = async (app: FastifyInstance, token: string): Promise<string> => (await renew(app, token)).json().token
const stepUp = (seconds: number) => `Bearer error="insufficient_user_authentication", max_age="${seconds}"`
const rowsOf = async (app: FastifyInstance) => await servicesOf(app).store.db.select().from(servicesOf(app).store.tables.tokens)
const eventsOf = async (app: FastifyInstance, kind: string) => await servicesOf(app).audit.list({ kind }, 100)

for (const database of databases) {
  t.test(database.name, async (t) => {
    const build = buildOn(database)
    const pair = pairOn(database)
    /** A server with a clock that stands at a whole second. */
    const buildAt = async (t: Test, env: Record<string, string> = {}) => {
      const clock = createTestClock(new Date('2026-11-25T20:44:00Z'))
      return { app: await build(t, env, { now: clock.now }), clock }
    }

    t.test('POST /api/v1/renew · 200 like a login; the old token is valid for 30 seconds, then 401 TOKEN_REVOKED', async (t) => {
      const { app, clock } = await buildAt(t)
      await tokenOf(app)
      const old = (await app.inject({ method: 'POST', url: '/api/v1/login', payload: bob, headers: { 'user-agent': 'a browser' } })).json().token
      clock.advance(86_400)
      const response = await renew(app, old)
      t.equal(response.statusCode, 200)
      t.equal(response.headers['cache-control'], 'no-store')
      const { token, ...rest } = response.json()
      t.same(rest, { token_type: 'Bearer', expires_in: 172_800 })
      t.equal(claimsOf(token).exp - claimsOf(token).iat, 172_800)
      t.equal(claimsOf(token).iat, clock.now() / 1_000)
      t.match((await rowsOf(app)).find(({ id }) => id === idOf(token)), { kind: 'login', description: 'a browser', loggedInAt: new Date('2026-11-25T20:44:00Z'), renewedAt: null })
      t.match(await eventsOf(app, 'renewal'), [{ kind: 'renewal', outcome: 'success', userId: 1, actorId: null, detail: idOf(token), source: 'http' }])
      clock.advance(29.999)
      for (const alive of [old, token]) t.equal((await needLogin(app, alive)).statusCode, 200)
      clock.advance(0.001)
      for (const url of ['/me', '/tokens']) t.match((await as(app, old)('GET', url)).json(), { statusCode: 401, code: 'TOKEN_REVOKED' })
      t.match((await renew(app, old)).json(), { code: 'TOKEN_REVOKED' })
      t.equal((await needLogin(app, token)).statusCode, 200)
      t.equal(await servicesOf(app).tokens.deleteExpired(), 1, 'the cleanup deletes its row')
      t.match((await needLogin(app, old)).json(), { code: 'TOKEN_REVOKED' })
      t.equal((await needLogin(app, token)).statusCode, 200)
    })

    t.test('POST /api/v1/renew · several times in the grace → a token each, the grace is not extended', async (t) => {
      const { app, clock } = await buildAt(t)
      const old = await tokenOf(app)
      const first = await renewed(app, old)
      clock.advance(29)
      const more = await Promise.all(Array.from({ length: 3 }, () => renewed(app, old)))
      t.equal(new Set([first, ...more].map(idOf)).size, 4)
      clock.advance(1)
      t.match((await needLogin(app, old)).json(), { code: 'TOKEN_REVOKED' })
      for (const token of [first, ...more]) t.equal((await needLogin(app, token)).statusCode, 200)
    })

    t.test('POST /api/v1/renew · the new token is revoked → the old one is too, and cannot be renewed; other logins stay', async (t) => {
      const { app, clock } = await buildAt(t)
      const other = await tokenOf(app)
      for (const end of [
        (token: string) => as(app, token)('POST', '/logout'),
        (token: string) => as(app, other)('DELETE', `/tokens/${idOf(token)}`)
      ]) {
        clock.advance(1)
        const old: string = (await logIn(app)).json().token
        clock.advance(60)
        const token = await renewed(app, old)
        const last = await renewed(app, token)
        t.equal((await end(last)).statusCode, 200)
        for (const dead of [old, token, last]) t.match((await renew(app, dead)).json(), { statusCode: 401, code: 'TOKEN_REVOKED' })
        t.same((await rowsOf(app)).map(({ id }) => id), [idOf(other)])
      }
      const [personal, successor] = [(await as(app, other)('POST', '/tokens', { description: 'a script' })).json(), await renewed(app, other)]
      t.equal((await as(app, successor)('DELETE', `/tokens/${personal.id}`)).statusCode, 200)
      t.equal((await needLogin(app, other)).statusCode, 200, 'still in its grace')
    })

    t.test('POST /api/v1/renew · the clock is set back afterwards → the grace is no longer', async (t) => {
      const clock = createTestClock()
      const app = await build(t, {}, { now: clock.now })
      const token = await tokenOf(app)
      t.equal((await as(app, token)('POST', '/renew')).statusCode, 200)
      clock.advance(-29)
      t.equal((await needLogin(app, token)).statusCode, 200)
      clock.advance(-1)
      t.equal((await needLogin(app, token)).json().code, 'TOKEN_REVOKED')
    })

    t.test('POST /api/v1/renew · the old token is revoked in its grace → its successors are too; other logins stay', async (t) => {
      const { app, clock } = await buildAt(t)
      const other = await tokenOf(app)
      for (const end of [
        (token: string) => as(app, token)('POST', '/logout'),
        (token: string) => as(app, other)('DELETE', `/tokens/${idOf(token)}`)
      ]) {
        clock.advance(1)
        const first: string = (await logIn(app)).json().token
        const old = await renewed(app, first)
        clock.advance(60)
        const successors = [await renewed(app, old), await renewed(app, old)]
        t.equal((await end(old)).statusCode, 200)
        for (const dead of [old, ...successors]) t.match((await needLogin(app, dead)).json(), { statusCode: 401, code: 'TOKEN_REVOKED' })
        t.equal((await needLogin(app, other)).statusCode, 200)
      }
    })

    t.test('POST /api/v1/renew · a token that would have expired in the grace → it expires when it would have', async (t) => {
      const { app, clock } = await buildAt(t, { TOKEN_TTL_SECONDS: '60' })
      const old = await tokenOf(app)
      clock.advance(50)
      await renew(app, old)
      t.same((await rowsOf(app)).find(({ id }) => id === idOf(old))?.expiresAt, new Date('2026-11-25T20:45:00Z'))
      clock.advance(10)
      t.match((await needLogin(app, old)).json(), { code: 'TOKEN_EXPIRED' })
    })

    t.test('POST /api/v1/renew · never beyond SESSION_MAX_SECONDS after the login → a shorter token, then 401 LOGIN_TOO_OLD', async (t) => {
      const { app, clock } = await buildAt(t, { TOKEN_TTL_SECONDS: '60', SESSION_MAX_SECONDS: '100' })
      const first = await tokenOf(app)
      clock.advance(50)
      const second = (await renew(app, first)).json()
      t.equal(second.expires_in, 50)
      clock.advance(40.5)
      const third = (await renew(app, second.token)).json()
      t.equal(third.expires_in, 9, 'from the login with a password, in whole seconds')
      clock.advance(8.4)
      t.equal((await renew(app, third.token)).json().expires_in, 1)
      clock.advance(0.3)
      const late = await renew(app, second.token)
      t.match(late.json(), { statusCode: 401, code: 'LOGIN_TOO_OLD', message: 'your login is too old: log in again' })
      t.equal(late.headers['www-authenticate'], stepUp(100))
      t.equal((await needLogin(app, second.token)).statusCode, 200, 'it is valid until it ends')
    })

    t.test('POST /api/v1/renew · personal access token → 403 LOGIN_REQUIRED; none → 400; body → 400; account disabled → 401', async (t) => {
      const app = await build(t)
      const token = await tokenOf(app)
      const personal = (await as(app, token)('POST', '/tokens', { description: 'a script' })).json().token
      t.match((await renew(app, personal)).json(), { statusCode: 403, code: 'LOGIN_REQUIRED' })
      t.match((await app.inject({ method: 'POST', url: '/api/v1/renew' })).json(), { statusCode: 400, code: 'AUTHORIZATION_MISSING' })
      t.match((await as(app, token)('POST', '/renew', { expires_in: 31_536_000 })).json(), { statusCode: 400, code: 'BODY_UNEXPECTED' })
      t.equal((await rowsOf(app)).length, 2)
      // As if the account had been disabled after the guard.
      await servicesOf(app).store.db.update(servicesOf(app).store.tables.users).set({ disabledAt: new Date() })
      t.match((await renew(app, token)).json(), { statusCode: 401, code: 'TOKEN_REVOKED' })
      t.equal((await rowsOf(app)).every(({ renewedAt }) => renewedAt === null), true)
      t.same(await eventsOf(app, 'renewal'), [])
    })

    t.test('POST /api/v1/renew · more than LOGINS_PER_ACCOUNT_MINUTE → 429 TOO_MANY_ATTEMPTS, and its owner can still log in', async (t) => {
      const { app, clock } = await buildAt(t, { LOGINS_PER_ACCOUNT_MINUTE: '3' })
      const { token } = await asUser(app, 'bob', { password: bob.password })
      const statuses = (await Promise.all(Array.from({ length: 10 }, () => renew(app, token)))).map(({ statusCode }) => statusCode)
      t.same(statuses.sort(), [200, 200, 200, 429, 429, 429, 429, 429, 429, 429])
      const refused = await renew(app, token)
      t.match(refused.json(), { code: 'TOO_MANY_ATTEMPTS' })
      t.equal(refused.headers['retry-after'], '60')
      t.match(servicesOf(app).throttle.counts, { account_renewals: 8, account_logins: 0 })
      const again = await logIn(app)
      t.equal(again.statusCode, 200)
      clock.advance(60)
      t.equal((await renew(app, again.json().token)).statusCode, 200)
    })

    t.test('GET /api/v1/tokens · a renewed token is not listed: its successor stands for it; it can be revoked in its grace', async (t) => {
      const app = await build(t)
      const old = await tokenOf(app)
      const token = await renewed(app, old)
      const listed = (await as(app, token)('GET', '/tokens')).json().tokens
      t.match(listed, [{ id: idOf(token), current: true }])
      t.equal(listed.length, 1)
      t.match((await as(app, old)('GET', '/tokens')).json().tokens, [{ id: idOf(token), current: false }])
      t.equal((await as(app, token)('DELETE', `/tokens/${idOf(old)}`)).statusCode, 200)
      t.match((await needLogin(app, old)).json(), { code: 'TOKEN_REVOKED' })
    })

    t.test('DELETE /api/v1/tokens · while tokens are renewed on another server → none survives', async (t) => {
      const [here, there] = await pair(t)
      const { user } = await asUser(here, 'bob')
      let survived = 0
      for (let i = 0; i < (isLongRun ? 500 : 30); i++) {
        const [thief, owner] = [await asUser(here, 'bob'), await asUser(there, 'bob')]
        const statuses: number[] = []
        const steal = async () => {
          for (let j = 0; j < 8 && statuses.every((status) => status < 400); j++) statuses.push((await renew(here, thief.token)).statusCode)
        }
        const stealing = Array.from({ length: 8 }, steal)
        await delay(5 + Math.random() * 15)
        if (i % 2 === 0) t.equal((await as(there, owner.token)('DELETE', '/tokens')).statusCode, 200)
        else await servicesOf(there).tokens.revokeAll(user.id)
        await Promise.all(stealing)
        t.same(statuses.filter((status) => status !== 200 && status !== 401 && status !== 503), [])
        survived += (await rowsOf(here)).length
      }
      t.equal(survived, 0)
    })

    t.test('a renewed token · disabling the account and a new password end its successor as well', async (t) => {
      const [here, there] = await pair(t)
      const old = await tokenOf(here)
      const token = await renewed(here, old)
      const current = (await logIn(here)).json().token
      t.equal((await as(there, current)('PUT', '/me/password', { current_password: bob.password, new_password: 'incorrect donkey charger clip' })).statusCode, 204)
      for (const dead of [old, token]) t.match((await needLogin(here, dead)).json(), { code: 'TOKEN_REVOKED' })
      const last = await renewed(there, current)
      await servicesOf(here).users.disable(1)
      for (const dead of [current, last]) t.match((await needLogin(there, dead)).json(), { code: 'TOKEN_REVOKED' })
      t.equal((await renew(there, last)).statusCode, 401)
    })

    t.test('app.requireRecentLogin · login with the password older → 401 LOGIN_TOO_OLD, also after a renewal; an access token never passes', async (t) => {
      const { app, clock } = await buildAt(t)
      app.get('/recent', { preHandler: [app.requireRecentLogin(300)] }, async ({ currentUser }) => currentUser.username)
      app.post('/early', { onRequest: [app.requireRecentLogin(300)], handler: async ({ currentUser }) => currentUser.username })
      app.get('/after', { onRequest: [app.authenticate], preHandler: [app.requireRecentLogin(300)] }, async ({ currentUser }) => currentUser.username)
      const get = async (token: string, url = '/recent') => await app.inject({ url, headers: { authorization: token } })
      const token = await tokenOf(app)
      const personal = (await as(app, token)('POST', '/tokens', { description: 'a script' })).json().token
      clock.advance(300)
      const next = await renewed(app, token)
      for (const url of ['/recent', '/after']) for (const fresh of [token, next]) t.equal((await get(fresh, url)).body, 'bob')
      t.equal((await app.inject({ method: 'POST', url: '/early', headers: { authorization: next }, payload: { x: 1 } })).body, 'bob')
      const scripts = await get(personal)
      t.match(scripts.json(), { statusCode: 401, code: 'LOGIN_TOO_OLD' })
      t.equal(scripts.headers['www-authenticate'], stepUp(300))
      clock.advance(0.001)
      for (const old of [token, next]) {
        const response = await get(old)
        t.match(response.json(), { statusCode: 401, code: 'LOGIN_TOO_OLD' })
        t.equal(response.headers['www-authenticate'], stepUp(300))
      }
      t.match((await as(app, next)('POST', '/tokens', { description: 'x', expires_in: 60 })).json(), { expires_at: String }, 'POST /tokens has 15 minutes')
      clock.advance(600)
      t.match((await as(app, await renewed(app, next))('POST', '/tokens', { description: 'x' })).json(), { code: 'LOGIN_TOO_OLD' }, 'counted from the login as well')
      t.equal((await get((await logIn(app)).json().token)).body, 'bob')
      t.match((await app.inject('/recent')).json(), { statusCode: 400, code: 'AUTHORIZATION_MISSING' })
      t.match((await get('x.y.z')).json(), { statusCode: 401, code: 'TOKEN_INVALID' })
    })

    t.test('app.requireRecentLogin · token revoked or database gone after the guard before it → 401 TOKEN_REVOKED, 500 without a word of it', async (t) => {
      const app = await build(t)
      let then = async () => {}
      app.get('/recent', { onRequest: [app.authenticate, async () => await then()], preHandler: [app.requireRecentLogin(300)] }, async () => 'hello')
      const { token, user } = await asUser(app, 'bob')
      const get = async () => await app.inject({ url: '/recent', headers: { authorization: token } })
      then = () => servicesOf(app).store.close()
      t.match((await get()).json(), { statusCode: 500, code: 'INTERNAL_SERVER_ERROR', message: 'Internal Server Error' })
      const other = await build(t)
      other.get('/recent', { onRequest: [other.authenticate, async () => { await servicesOf(other).tokens.revokeAll(user.id) }], preHandler: [other.requireRecentLogin(300)] }, async () => 'hello')
      t.match((await other.inject({ url: '/recent', headers: { authorization: (await asUser(other, 'bob')).token } })).json(), { statusCode: 401, code: 'TOKEN_REVOKED' })
    })

    t.test('GET /need_login · a token that was never renewed, and one in its grace → one query each', async (t) => {
      const app = await build(t)
      const token = await tokenOf(app)
      const next = await renewed(app, token)
      const queries = database.countQueries(t)
      for (const alive of [token, next]) t.equal((await needLogin(app, alive)).statusCode, 200)
      t.equal(queries(), 2)
    })
  })
}

t.test('app.requireRecentLogin · anything but a positive integer → TypeError; its errors are documented', async (t) => {
  const app = await buildInMemory(t)
  for (const seconds of [0, -1, 1.5, NaN, Infinity, '60', undefined] as number[]) t.throws(() => app.requireRecentLogin(seconds), TypeError, String(seconds))
  t.same(guardErrors({ preHandler: [app.requireRecentLogin(60)] }).map((ErrorClass) => new ErrorClass().code).at(-1), 'LOGIN_TOO_OLD')
  app.get('/recent', { preHandler: [app.requireRecentLogin(60)], schema: { tags: ['Mine'] } }, async () => 'hello')
  const { security, responses } = (await app.inject('/openapi.json')).json().paths['/recent'].get
  t.same(security, [{ bearerAuth: [] }])
  t.match(responses[401].description, /LOGIN_TOO_OLD/)
})

t.test('POST /api/v1/renew · token revoked after the guard → 401 TOKEN_REVOKED, no token', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.addHook('preHandler', async ({ currentUser }) => { await servicesOf(app).tokens.revokeAll(currentUser.id) })
  await app.register(latchkey, testOptions())
  const { token } = await asUser(app, 'bob')
  t.match((await renew(app, token)).json(), { statusCode: 401, code: 'TOKEN_REVOKED' })
  t.same(await rowsOf(app), [])
})

t.test('POST /api/v1/renew · PostgreSQL, all tokens are being revoked → 401 TOKEN_REVOKED', async (t) => {
  const [, postgres] = databases
  const url = await postgres.create(t)
  const [here, there] = [await buildOn(postgres)(t, { DATABASE_URL: url }), await buildOn(postgres)(t, { DATABASE_URL: url })]
  // Long enough for the thief to look and to write before the revocation is committed.
  await postgres.addTrigger(servicesOf(here).store, 'before delete on tokens', 'perform pg_sleep(0.5)')
  const { user, token } = await asUser(here, 'bob')
  const revoking = servicesOf(there).tokens.revokeAll(user.id)
  await until(async () => (await withClient(url, (client) => client.query("select from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()"))).rowCount === 1)
  const stolen = await Promise.all(Array.from({ length: 4 }, () => renew(here, token)))
  await revoking
  for (const response of stolen) t.match(response.json(), { statusCode: 401, code: 'TOKEN_REVOKED' })
  t.equal(await servicesOf(here).store.db.$count(servicesOf(here).store.tables.tokens, eq(servicesOf(here).store.tables.tokens.userId, user.id)), 0)
})
