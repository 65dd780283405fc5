import { setTimeout as delay } from 'node:timers/promises'
import Database from 'better-sqlite3'
import { and, eq, sql } from 'drizzle-orm'
import Fastify from 'fastify'
import t from 'tap'
import { rowsPerCleanup, scheduleCleanup } from '../src/lib/background.js'
import { servicesOf } from '../src/services.js'
import { asUser } from '../src/testing.js'
import { databases, withClient } from './databases.js'
import { as, bob, buildOn, claimsOf, isLongRun, logIn, needLogin, pairOn, signUp, tokenOf, until } from './helper.js'

const alice = { username: 'alice', password: 'another horse battery staple' }
const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
const nobodysId = '4e808214-e320-4173-bb6c-b75fbdd51003'

const idOf = (token: string): string => claimsOf(token).jti

for (const database of databases) {
  t.test(database.name, async (t) => {
    const build = buildOn(database)
    const pair = pairOn(database)

    t.test('POST /api/v1/logout · 200 → the token answers 401 TOKEN_REVOKED on every server, other tokens stay active', async (t) => {
      const [here, there] = await pair(t)
      const token = await tokenOf(here)
      const other = (await logIn(here)).json().token
      t.equal((await needLogin(there, token)).statusCode, 200)
      const response = await as(here, token)('POST', '/logout')
      t.equal(response.statusCode, 200)
      t.same(response.json(), { msg: 'logged out' })
      for (const app of [here, there]) {
        t.match((await needLogin(app, token)).json(), { statusCode: 401, code: 'TOKEN_REVOKED' })
        t.equal((await needLogin(app, other)).statusCode, 200)
      }
      t.equal((await as(here, token)('POST', '/logout')).statusCode, 401)
      t.equal((await here.inject({ method: 'POST', url: '/api/v1/logout' })).statusCode, 400)
    })

    t.test('DELETE /api/v1/tokens · while tokens are created on another server → none survives', async (t) => {
      const url = await database.create(t, { isShared: true })
      const [here, there] = [await build(t, { DATABASE_URL: url }), await build(t, { DATABASE_URL: url })]
      const { user } = await asUser(here, 'bob')
      const { tokens } = servicesOf(here).store.tables
      let survived = 0
      const rounds = isLongRun ? 1_000 : 40
      for (let i = 0; i < rounds; i++) {
        const [thief, owner] = [await asUser(here, 'bob'), await asUser(there, 'bob')]
        const statuses: number[] = []
        const steal = async () => {
          for (let j = 0; j < 8 && statuses.every((status) => status < 400); j++) statuses.push((await as(here, thief.token)('POST', '/tokens', { description: 'to come back' })).statusCode)
        }
        const stealing = Array.from({ length: 12 }, steal)
        await delay(5 + Math.random() * 20)
        const response = i % 2 === 0 ? await as(there, owner.token)('DELETE', '/tokens') : await servicesOf(there).tokens.revokeAll(user.id)
        if (typeof response === 'object') t.equal(response.statusCode, 200)
        await Promise.all(stealing)
        t.notOk(statuses.find((status) => status >= 500), 'none fails')
        survived += await servicesOf(here).store.db.$count(tokens, eq(tokens.userId, user.id))
      }
      t.equal(survived, 0)
    })

    t.test('GET /api/v1/tokens · active tokens, newest first, without their text; current marks the one that asks', async (t) => {
      let now = Date.UTC(2026, 10, 23, 20, 44)
      const app = await build(t, {}, { now: () => now })
      await signUp(app)
      const login = async (userAgent?: string) => (await app.inject({ method: 'POST', url: '/api/v1/login', payload: bob, headers: { 'user-agent': userAgent } })).json().token
      const first = await login('Mozilla/5.0 (X11; Linux x86_64)\tfirst')
      now += 1_000
      const second = await login(`${'x'.repeat(300)}`)
      await tokenOf(app, alice)
      const response = await as(app, first)('GET', '/tokens')
      t.equal(response.headers['cache-control'], 'no-store')
      t.same(response.json(), {
        tokens: [
          { id: idOf(second), description: 'x'.repeat(200), created_at: '2026-11-23T20:44:01.000Z', expires_at: '2026-11-25T20:44:01.000Z', last_used_at: null, current: false },
          { id: idOf(first), description: 'Mozilla/5.0 (X11; Linux x86_64)first', created_at: '2026-11-23T20:44:00.000Z', expires_at: '2026-11-25T20:44:00.000Z', last_used_at: '2026-11-23T20:44:01.000Z', current: true }
        ]
      })
      t.notOk(response.body.includes(first))
      now += 172_799_500
      const left = await as(app, second)('GET', '/tokens')
      t.same(left.json().tokens.map(({ id }: { id: string }) => id), [idOf(second)], 'expired ones are not living')
    })

    t.test('GET /api/v1/tokens · last_used_at is written in the background, at most every five minutes', async (t) => {
      let now = Date.now()
      const app = await build(t, {}, { now: () => now })
      const token = await tokenOf(app)
      const { tokens } = servicesOf(app).store.tables
      const lastUsed = async () => (await servicesOf(app).store.db.select().from(tokens))[0]?.lastUsedAt?.getTime()
      const start = now
      await needLogin(app, token)
      t.equal(await lastUsed(), undefined, 'not on the critical path')
      await servicesOf(app).tokens.flushLastUsed()
      t.equal(await lastUsed(), start)
      now += 299_000
      await needLogin(app, token)
      await servicesOf(app).tokens.flushLastUsed()
      t.equal(await lastUsed(), start)
      now += 1_000
      await needLogin(app, token)
      await needLogin(app, token)
      await servicesOf(app).tokens.flushLastUsed()
      t.equal(await lastUsed(), start + 300_000)
    })

    t.test('GET /api/v1/tokens · last_used_at is written when the server closes', async (t) => {
      const url = await database.create(t, { isShared: true })
      const app = await build(t, { DATABASE_URL: url })
      const token = await tokenOf(app)
      await needLogin(app, token)
      await app.close()
      const again = await build(t, { DATABASE_URL: url })
      const [row] = await servicesOf(again).store.db.select().from(servicesOf(again).store.tables.tokens)
      t.ok(row?.lastUsedAt instanceof Date)
    })

    t.test('GET /api/v1/tokens · last_used_at is the time of the use, also while it is written or cannot be', async (t) => {
      let now = Date.UTC(2026, 10, 25)
      const app = await build(t, {}, { now: () => now })
      const token = await tokenOf(app)
      const lastUse = async () => (await as(app, token)('GET', '/tokens')).json().tokens[0].last_used_at
      const used = new Date(now).toISOString()
      t.equal(await lastUse(), used)
      now += 5_000
      const [, seen] = await Promise.all([servicesOf(app).tokens.flushLastUsed(), lastUse()])
      t.equal(seen, used, 'while it is written')
      t.equal((await servicesOf(app).store.db.select().from(servicesOf(app).store.tables.tokens))[0]?.lastUsedAt?.toISOString(), used, 'the time of the use, not of the write')
      now += 300_000
      await database.addTrigger(servicesOf(app).store, 'before update on tokens', database.fault('not today'))
      t.equal(await lastUse(), new Date(now).toISOString())
      await t.rejects(servicesOf(app).tokens.flushLastUsed())
      t.equal(await lastUse(), new Date(now).toISOString(), 'what could not be written is still noted')
    })

    t.test('POST /api/v1/tokens · the password is changed after its check → 401 PASSWORD_INCORRECT; its hash is upgraded → 201', async (t) => {
      const app = await build(t)
      const { accessTokens, passwords, users } = servicesOf(app)
      const token = await tokenOf(app)
      const { issue } = accessTokens
      const before = (work: () => Promise<unknown>) => Object.assign(accessTokens, {
        issue: async (...args: Parameters<typeof issue>) => {
          accessTokens.issue = issue
          await work()
          return await issue(...args)
        }
      })
      const create = () => as(app, token)('POST', '/tokens', { description: 'a script', password: bob.password })
      before(async () => users.replaceHash(1, String(await users.findHash(1)), await passwords.hash(bob.password)))
      t.equal((await create()).statusCode, 201)
      before(async () => users.replacePassword(1, await passwords.hash('incorrect donkey charger clip'), { keptTokenId: claimsOf(token).jti }))
      t.match((await create()).json(), { statusCode: 401, code: 'PASSWORD_INCORRECT' })
      t.equal((await as(app, token)('GET', '/tokens')).json().tokens.length, 1)
    })

    t.test('POST /api/v1/tokens · 201 → a token with a description and a lifetime of its own, shown once', async (t) => {
      const now = Date.UTC(2026, 10, 23, 20, 44)
      const app = await build(t, {}, { now: () => now })
      const token = await tokenOf(app)
      const response = await as(app, token)('POST', '/tokens', { description: 'backup script', expires_in: 86_400 })
      t.equal(response.statusCode, 201)
      const { token: personal, ...row } = response.json()
      t.match(row, { id: uuid, description: 'backup script', created_at: '2026-11-23T20:44:00.000Z', expires_at: '2026-11-24T20:44:00.000Z', last_used_at: null, current: false })
      t.equal(row.id, idOf(personal))
      t.equal((await needLogin(app, personal)).statusCode, 200)
      const list = (await as(app, personal)('GET', '/tokens')).json().tokens
      t.same(list.find(({ current }: { current: boolean }) => current).description, 'backup script')
      t.notOk((await as(app, token)('GET', '/tokens')).body.includes(personal))

      const { expires_at: expiresAt } = (await as(app, token)('POST', '/tokens', { description: 'default' })).json()
      t.equal(expiresAt, '2026-12-23T20:44:00.000Z', '30 days')
      const year = await as(app, token)('POST', '/tokens', { description: 'a year', expires_in: 31_536_000 })
      t.equal((await needLogin(app, year.json().token)).statusCode, 200)
    })

    t.test('POST /api/v1/tokens · invalid description or expires_in → 422 VALIDATION_FAILED; no token → 400', async (t) => {
      const app = await build(t)
      const ask = as(app, await tokenOf(app))
      for (const [body, message] of [
        [{}, 'description is empty'],
        [{ description: '' }, 'description is empty'],
        [{ description: '   ' }, 'description is empty'],
        [{ description: 5 }, 'description must be a string'],
        [{ description: 'two\nlines' }, 'description must be one line without control characters'],
        [{ description: 'x\u202ey' }, 'description must be one line without control characters'],
        [{ description: 'x'.repeat(201) }, 'description must not be longer than 200 characters'],
        [{ description: 'x', expires_in: 0 }, 'expires_in must be >= 1'],
        [{ description: 'x', expires_in: 31_536_001 }, 'expires_in must be <= 31536000'],
        [{ description: 'x', expires_in: '60' }, 'expires_in must be an integer'],
        [{ description: 'x', expires_in: 1.5 }, 'expires_in must be an integer'],
        [{ description: 'x', expires_in: null }, 'expires_in must be an integer']
      ] as const) {
        t.match((await ask('POST', '/tokens', body)).json(), { statusCode: 422, code: 'VALIDATION_FAILED', message }, JSON.stringify(body))
      }
      t.equal((await app.inject({ method: 'POST', url: '/api/v1/tokens', payload: { description: 'x' } })).statusCode, 400)
    })

    t.test('POST /api/v1/tokens · the user has 100 tokens → the least recently used login is evicted, never an access token or the one that asks', async (t) => {
      let now = Date.now()
      const app = await build(t, {}, { now: () => now++ })
      const { tokens } = servicesOf(app).store.tables
      const count = async () => servicesOf(app).store.db.$count(tokens, sql`user_id = 1`)
      const evictions = async () => (await servicesOf(app).audit.list({ kind: 'eviction' }, 100)).map(({ userId, actorId, detail, address }) => ({ userId, actorId, detail, address }))
      const evicted = (token: string) => ({ userId: 1, actorId: null, detail: idOf(token), address: null })
      const current = await tokenOf(app)
      const alices = await tokenOf(app, alice)
      const unused = (await logIn(app)).json().token
      const personal = (await as(app, current)('POST', '/tokens', { description: 'stays' })).json().token
      const logins: string[] = []
      for (let i = 0; i < 97; i++) logins.push((await logIn(app)).json().token)
      const [second = '', third = '', fourth = ''] = logins
      t.equal(await count(), 100)
      t.same(await evictions(), [])
      // As if the request had come with a token whose use no server knows of.
      await servicesOf(app).tokens.flushLastUsed()
      await servicesOf(app).store.db.update(tokens).set({ lastUsedAt: new Date(0) }).where(eq(tokens.id, idOf(current)))
      t.not(await servicesOf(app).accessTokens.issue({ userId: 1, kind: 'personal', description: 'takes the place of a login', requestingTokenId: idOf(current) }), undefined)
      t.equal(await count(), 100)
      t.match((await needLogin(app, unused)).json(), { code: 'TOKEN_REVOKED' })
      t.same(await evictions(), [evicted(unused)])
      t.equal((await needLogin(app, current)).statusCode, 200, 'the token that asks stays, though its use is the longest ago')
      t.equal((await needLogin(app, second)).statusCode, 200)
      await logIn(app)
      t.equal(await count(), 100)
      t.match((await needLogin(app, third)).json(), { code: 'TOKEN_REVOKED' })
      t.same(await evictions(), [evicted(third), evicted(unused)])
      for (const active of [current, second, personal, alices]) t.equal((await needLogin(app, active)).statusCode, 200)
      const renewed = (await as(app, second)('POST', '/renew')).json().token
      t.equal(await count(), 100)
      t.match((await needLogin(app, second)).json(), { code: 'TOKEN_REVOKED' }, 'a renewed token goes first, though it was just used')
      for (const active of [renewed, fourth]) t.equal((await needLogin(app, active)).statusCode, 200)
      t.same((await evictions())[0], evicted(second))
    })

    t.test('POST /api/v1/login · a program that logs in each minute → a browser that is used each hour stays logged in', async (t) => {
      let now = Date.UTC(2026, 10, 25)
      const app = await build(t, {}, { now: () => now })
      const browser = await tokenOf(app)
      for (let minute = 1; minute <= 210; minute++) {
        now += 60_000
        // Its use is written later, or not yet.
        if (minute % 60 === 0) t.equal((await needLogin(app, browser)).statusCode, 200)
        t.equal((await logIn(app)).statusCode, 200)
      }
      t.equal((await needLogin(app, browser)).statusCode, 200)
      t.equal(await servicesOf(app).store.db.$count(servicesOf(app).store.tables.tokens), 100)
      t.equal((await servicesOf(app).audit.list({ kind: 'eviction' }, 200)).length, 111)
    })

    t.test('POST /api/v1/login · tokens cannot be evicted, or the uses of tokens not be written → 200, logged; later ones are evicted', async (t) => {
      const lines: string[] = []
      const app = await build(t, { LOG_LEVEL: 'error' }, { logStream: { write: (line) => { lines.push(line) } } })
      const { store, accessTokens } = servicesOf(app)
      const { user, token } = await asUser(app, 'bob', { password: bob.password })
      for (let i = 0; i < 99; i++) await accessTokens.issue({ userId: user.id, kind: 'personal', description: 'x' })
      t.equal((await needLogin(app, token)).statusCode, 200)
      await database.addTrigger(store, 'before update on tokens', database.fault('not today'))
      await database.addTrigger(store, 'before delete on tokens', database.fault('not today'))
      const second = await logIn(app)
      t.equal(second.statusCode, 200)
      t.match(lines, [/surplus tokens could not be evicted/])
      await database.removeTriggers(store, 'tokens')
      const third = await logIn(app)
      t.equal(await store.db.$count(store.tables.tokens), 100)
      t.equal((await needLogin(app, third.json().token)).statusCode, 200)
      for (const gone of [token, second.json().token]) t.match((await needLogin(app, gone)).json(), { code: 'TOKEN_REVOKED' })
    })

    t.test('POST /api/v1/login · surplus tokens that have expired → they are deleted, which is no event', async (t) => {
      let now = Date.UTC(2026, 10, 25)
      const app = await build(t, { TOKEN_TTL_SECONDS: '60' }, { now: () => now })
      const { user } = await asUser(app, 'bob', { password: bob.password })
      for (let i = 0; i < 99; i++) await servicesOf(app).accessTokens.issue({ userId: user.id, kind: 'personal', description: 'x' })
      now += 60_000
      const first = (await logIn(app)).json().token
      t.equal(await servicesOf(app).store.db.$count(servicesOf(app).store.tables.tokens), 100)
      t.equal((await needLogin(app, first)).statusCode, 200)
      t.same(await servicesOf(app).audit.list({ kind: 'eviction' }, 10), [])
    })

    t.test('POST /api/v1/tokens · the user has 99 access tokens → 409 TOO_MANY_TOKENS, nothing is evicted', async (t) => {
      let now = Date.now()
      const app = await build(t, {}, { now: () => now++ })
      const login = await tokenOf(app)
      const made: string[] = []
      for (let i = 0; i < 99; i++) {
        const response = await as(app, login)('POST', '/tokens', { description: 'one more', expires_in: 60 })
        t.equal(response.statusCode, 201)
        made.push(response.json().token)
      }
      t.match((await as(app, login)('POST', '/tokens', { description: 'too many' })).json(), { statusCode: 409, code: 'TOO_MANY_TOKENS' })
      for (const token of [login, ...made]) t.equal((await needLogin(app, token)).statusCode, 200)
      const another = (await logIn(app)).json().token
      t.equal((await needLogin(app, another)).statusCode, 200, 'a login always finds a place')
      t.match((await needLogin(app, login)).json(), { code: 'TOKEN_REVOKED' })

      now += 61_000
      t.equal((await as(app, another)('POST', '/tokens', { description: 'in the place of an expired one' })).statusCode, 201)
      await logIn(app)
      t.equal((await needLogin(app, another)).statusCode, 200, 'expired ones take no place')
    })

    t.test('POST /api/v1/tokens · in parallel at the limit → exactly as many 201 as there is room for, 409 for the others', async (t) => {
      const app = await build(t)
      const { user, token } = await asUser(app, 'bob')
      const { tokens } = servicesOf(app).store.tables
      for (let i = 0; i < 94; i++) await servicesOf(app).accessTokens.issue({ userId: user.id, kind: 'personal', description: 'x' })
      const statuses = (await Promise.all(Array.from({ length: 10 }, () => as(app, token)('POST', '/tokens', { description: 'x' })))).map(({ statusCode }) => statusCode)
      t.same(statuses.sort(), [201, 201, 201, 201, 201, 409, 409, 409, 409, 409])
      t.equal(await servicesOf(app).store.db.$count(tokens, and(eq(tokens.userId, user.id), eq(tokens.kind, 'personal'))), 99)
    })

    t.test('POST /api/v1/tokens · more than TOKENS_PER_ACCOUNT_HOUR → 429 TOO_MANY_ATTEMPTS with Retry-After; failed ones do not count', async (t) => {
      let now = Date.UTC(2026, 10, 25)
      const app = await build(t, { TOKENS_PER_ACCOUNT_HOUR: '3' }, { now: () => now })
      const [bob, alice] = [await asUser(app, 'bob'), await asUser(app, 'alice')]
      const make = async (token: string, body: object = { description: 'x' }) => await as(app, token)('POST', '/tokens', body)
      t.equal((await make(bob.token, { description: '' })).statusCode, 422)
      for (const user of [bob, alice]) {
        for (let i = 0; i < 3; i++) {
          const { id } = (await make(user.token)).json()
          t.equal((await as(app, user.token)('DELETE', `/tokens/${id}`)).statusCode, 200)
        }
      }
      const refused = await make(bob.token)
      t.match(refused.json(), { statusCode: 429, code: 'TOO_MANY_ATTEMPTS' })
      t.equal(refused.headers['retry-after'], '3600')
      t.match(servicesOf(app).throttle.counts, { account_tokens: 1 })
      now += 3_600_000
      const later = await asUser(app, 'bob')
      await database.addTrigger(servicesOf(app).store, 'before insert on tokens', database.fault('not today'))
      for (let i = 0; i < 5; i++) t.equal((await make(later.token)).statusCode, 500)
    })

    t.test('POST /api/v1/tokens · with an access token → 403 LOGIN_REQUIRED; login older than 15 minutes → 401 LOGIN_TOO_OLD, with the password 201', async (t) => {
      let now = Date.UTC(2026, 10, 25)
      const app = await build(t, { LOGIN_FAILURES_PER_ACCOUNT: '2' }, { now: () => now })
      const login = await tokenOf(app)
      const wish = { description: 'backup script' }
      const personal = (await as(app, login)('POST', '/tokens', { ...wish, expires_in: 60 })).json().token
      for (const body of [wish, { ...wish, password: bob.password }]) {
        t.match((await as(app, personal)('POST', '/tokens', body)).json(), { statusCode: 403, code: 'LOGIN_REQUIRED' })
      }
      now += 900_000
      t.equal((await as(app, login)('POST', '/tokens', wish)).statusCode, 201)
      now += 1
      const old = await as(app, login)('POST', '/tokens', wish)
      t.match(old.json(), { statusCode: 401, code: 'LOGIN_TOO_OLD' })
      t.equal(old.headers['www-authenticate'], 'Bearer error="insufficient_user_authentication", max_age="900"')
      t.equal((await as(app, login)('POST', '/tokens', { ...wish, password: bob.password })).statusCode, 201)
      for (const [password, message] of [['', 'password is empty'], [5, 'password must be a string']] as const) {
        t.match((await as(app, login)('POST', '/tokens', { ...wish, password })).json(), { statusCode: 422, message })
      }
      for (let i = 0; i < 2; i++) t.match((await as(app, login)('POST', '/tokens', { ...wish, password: 'wrong' })).json(), { statusCode: 401, code: 'PASSWORD_INCORRECT' })
      t.match((await as(app, login)('POST', '/tokens', { ...wish, password: bob.password })).json(), { statusCode: 429, code: 'TOO_MANY_ATTEMPTS' }, 'guessing is limited as at the login')
      t.match(await servicesOf(app).audit.list({ kind: 'token_creation' }, 1), [{ outcome: 'password_incorrect', userId: 1 }])
    })

    t.test('DELETE /api/v1/tokens · 200 → all tokens are revoked; scope=others → all but this one', async (t) => {
      const [app, there] = await pair(t)
      const token = await tokenOf(app)
      const other = (await logIn(app)).json().token
      const alices = await tokenOf(app, alice)
      const others = await as(app, token)('DELETE', '/tokens?scope=others')
      t.same(others.json(), { msg: 'you are now disconnected on every other device' })
      t.equal((await needLogin(there, token)).statusCode, 200)
      t.match((await needLogin(there, other)).json(), { code: 'TOKEN_REVOKED' })
      const all = await as(app, token)('DELETE', '/tokens')
      t.same(all.json(), { msg: 'you are now disconnected for every device' })
      t.match((await needLogin(there, token)).json(), { statusCode: 401, code: 'TOKEN_REVOKED' })
      t.equal((await needLogin(there, alices)).statusCode, 200)
    })

    t.test('DELETE /api/v1/tokens · unknown scope → 422, nothing is revoked', async (t) => {
      const app = await build(t)
      const token = await tokenOf(app)
      for (const scope of ['mine', '', 'ALL', 'all&scope=others']) t.equal((await as(app, token)('DELETE', `/tokens?scope=${scope}`)).statusCode, 422, scope)
      t.equal((await needLogin(app, token)).statusCode, 200)
    })

    t.test('DELETE /api/v1/tokens/{id} · own token → 200; token of another user → 404 TOKEN_NOT_FOUND', async (t) => {
      const [app, there] = await pair(t)
      const token = await tokenOf(app)
      const other = (await logIn(app)).json().token
      const alices = await tokenOf(app, alice)
      const ask = as(app, token)
      t.match((await ask('DELETE', `/tokens/${idOf(alices)}`)).json(), { statusCode: 404, code: 'TOKEN_NOT_FOUND' })
      t.equal((await needLogin(app, alices)).statusCode, 200)
      t.same((await ask('DELETE', `/tokens/${idOf(other)}`)).json(), { msg: 'the token has been deleted' })
      t.match((await needLogin(there, other)).json(), { code: 'TOKEN_REVOKED' })
      t.match((await ask('DELETE', `/tokens/${idOf(other)}`)).json(), { code: 'TOKEN_NOT_FOUND' })
      t.equal((await ask('DELETE', `/tokens/${idOf(token)}`)).statusCode, 200)
      t.match((await needLogin(there, token)).json(), { code: 'TOKEN_REVOKED' })
    })

    t.test('DELETE /api/v1/tokens/{id} · id of any other form → 404; no token → 400', async (t) => {
      const app = await build(t)
      const ask = as(app, await tokenOf(app))
      for (const id of ['1', '-1', 'null', '*', '%00', '%2e%2e', '..%2f..', "'%20or%201=1--", '%f0%9f%94%91', '%ff', '%zz', '%', nobodysId.toUpperCase(), `${nobodysId}%0a`, 'x'.repeat(99), 'x'.repeat(5_000), `${nobodysId}/x`, nobodysId]) {
        const response = await ask('DELETE', `/tokens/${id}`)
        t.equal(response.statusCode, 404, id.slice(0, 40))
        t.notMatch(response.body, /sqlite|select|stack/i)
      }
      t.equal((await app.inject({ method: 'DELETE', url: `/api/v1/tokens/${nobodysId}` })).statusCode, 400, 'without a token')
    })

    t.test('expired tokens · are deleted at startup, active ones are kept', async (t) => {
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

    t.test('expired tokens · are deleted every hour; a failure is logged', async (t) => {
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
}

t.test('POST /api/v1/tokens · PostgreSQL, all tokens are being revoked → 401 TOKEN_REVOKED', async (t) => {
  const [, postgres] = databases
  const url = await postgres.create(t)
  const [here, there] = [await buildOn(postgres)(t, { DATABASE_URL: url }), await buildOn(postgres)(t, { DATABASE_URL: url })]
  // Long enough for the thief to look and to write before the revocation is committed.
  await postgres.addTrigger(servicesOf(here).store, 'before delete on tokens', 'perform pg_sleep(0.5)')
  for (const revoke of [(id: number) => servicesOf(there).tokens.revokeAll(id), (id: number) => servicesOf(there).users.replacePassword(id, 'x')]) {
    const { user, token } = await asUser(here, 'bob')
    const revoking = revoke(user.id)
    await until(async () => (await withClient(url, (client) => client.query("select from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()"))).rowCount === 1)
    const stolen = await Promise.all(Array.from({ length: 4 }, () => as(here, token)('POST', '/tokens', { description: 'to come back' })))
    await revoking
    for (const response of stolen) t.match(response.json(), { statusCode: 401, code: 'TOKEN_REVOKED' })
    t.equal(await servicesOf(here).store.db.$count(servicesOf(here).store.tables.tokens), 0)
  }
})

t.test('POST /api/v1/login · PostgreSQL, the password is being changed → 401 PASSWORD_INCORRECT, no token', async (t) => {
  const [, postgres] = databases
  const url = await postgres.create(t)
  const [here, there] = [await buildOn(postgres)(t, { DATABASE_URL: url }), await buildOn(postgres)(t, { DATABASE_URL: url })]
  const { user } = await asUser(here, 'bob')
  const hash = await servicesOf(here).passwords.hash('another password')
  // Long enough for a login to check the old password, and to try to insert its token.
  await postgres.addTrigger(servicesOf(here).store, 'before delete on tokens', 'perform pg_sleep(1)')
  const changing = servicesOf(there).users.replacePassword(user.id, hash)
  await until(async () => (await withClient(url, (client) => client.query("select from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()"))).rowCount === 1)
  t.match((await logIn(here)).json(), { statusCode: 401, code: 'PASSWORD_INCORRECT' })
  t.ok(await changing)
  t.equal(await servicesOf(here).store.db.$count(servicesOf(here).store.tables.tokens), 0)
})

t.test('tokens.revokeAll · PostgreSQL, transaction rolled back by a deadlock → it is retried; another error → it is thrown', async (t) => {
  const [, postgres] = databases
  const app = await buildOn(postgres)(t)
  const { user } = await asUser(app, 'bob')
  await postgres.execute(servicesOf(app).store, 'create sequence tries')
  // Outside of transactions, as sequences are: it counts on where all else is rolled back.
  await postgres.addTrigger(servicesOf(app).store, 'before delete on tokens', "if nextval('tries') <= 2 then raise exception 'deadlock detected' using errcode = '40P01'; end if")
  t.equal(await servicesOf(app).tokens.revokeAll(user.id), true)
  t.same(await servicesOf(app).tokens.list(user.id), [])
  await asUser(app, 'bob')
  await postgres.addTrigger(servicesOf(app).store, 'before delete on tokens', postgres.fault('another fault'))
  await t.rejects(servicesOf(app).tokens.revokeAll(user.id))
})

t.test('tokens.revokeAll · SQLite, locked for longer than other writes wait → it waits, and requests are served', async (t) => {
  const [sqlite] = databases
  const url = await sqlite.create(t, { isShared: true })
  const app = await buildOn(sqlite)(t, { DATABASE_URL: url })
  const { user, token } = await asUser(app, 'bob')
  const other = new Database(url.replace('sqlite:///', ''))
  t.teardown(() => other.close())
  other.exec('begin immediate')
  const revoking = servicesOf(app).tokens.revokeAll(user.id)
  t.equal((await as(app, token)('GET', '/me')).statusCode, 200)
  other.exec('commit')
  t.equal(await revoking, true)
  t.match((await as(app, token)('GET', '/me')).json(), { code: 'TOKEN_REVOKED' })
})

t.test('scheduleCleanup · called twice in parallel → one cleanup runs', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  let rounds = 0
  const sweepNow = scheduleCleanup(app, { deleteBatch: async () => ++rounds < 3 ? rowsPerCleanup : 0, isAllowed: async () => true, failure: '' })
  await Promise.all([sweepNow(), sweepNow()])
  t.equal(rounds, 3)
})
