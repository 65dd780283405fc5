// What an attacker can do with time: between a decision and what follows from it, between two
// servers, with requests that are no requests. What concerns one resource alone is in its file.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:http2'
import { text } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import Database from 'better-sqlite3'
import { and, eq } from 'drizzle-orm'
import Fastify, { type FastifyInstance, type FastifyRequest, type InjectOptions } from 'fastify'
import t, { type Test } from 'tap'
import latchkey from '../src/index.js'
import errors from '../src/plugins/errors/index.js'
import validation from '../src/plugins/validation/index.js'
import { servicesOf } from '../src/services.js'
import { asUser, testOptions } from '../src/testing.js'
import { databases } from './databases.js'
import { bob, buildOn, isLongDrill, logIn, open, signUp, tokenOf } from './helper.js'

const next = 'incorrect donkey charger clip'

type Method = NonNullable<InjectOptions['method']>
const as = (app: FastifyInstance, token: string) => (method: Method, url: string, payload?: object) =>
  app.inject({ method, url: `/api/v1${url}`, headers: { authorization: token }, ...payload && { payload } })

/** A request whose head is sent, and whose body comes when it is asked for. */
async function parked (url: string, method: string, path: string, token: string, body = '{}') {
  const { socket, ended } = await open(url, `${method} ${path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: ${token}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n`)
  return async () => {
    socket.write(body)
    return await ended
  }
}

/** An app that embeds Latchkey, in which something can happen between the guards and the handlers. */
async function interruptible (t: Test, databaseUrl: string) {
  const app = Fastify()
  t.teardown(() => app.close())
  let interrupt: ((request: FastifyRequest) => Promise<unknown>) | undefined
  app.addHook('onRoute', (route) => {
    route.preHandler = [route.preHandler ?? [], async (request: FastifyRequest) => {
      await interrupt?.(request)
      interrupt = undefined
    }].flat()
  })
  await app.register(latchkey, testOptions({ databaseUrl }))
  return { app, interruptWith: (work: typeof interrupt) => { interrupt = work } }
}

for (const database of databases) {
  t.test(database.name, async (t) => {
    const build = buildOn(database)

    t.test('a body that is held back · what was decided before it came is decided again', async (t) => {
      const app = Fastify()
      t.teardown(() => app.close())
      await app.register(latchkey, testOptions({ databaseUrl: await database.create(t) }))
      app.post('/editors', { onRequest: [app.requireRole('editor')] }, async ({ currentUser }) => currentUser.username)
      app.post('/both', { onRequest: [app.authenticate, app.requireRole('editor')] }, async ({ currentRoles }) => currentRoles)
      app.route({ method: ['GET', 'PATCH'], url: '/mine', onRequest: [app.authenticateWithRoles], handler: async ({ currentRoles }) => currentRoles })
      await app.register(async (scope) => {
        scope.addHook('onRequest', scope.authenticate)
        scope.post('/scope', async ({ currentUser }) => currentUser.username)
      })
      const url = await app.listen({ port: 0 })
      const paths = [['POST', '/editors'], ['POST', '/both'], ['PATCH', '/mine'], ['POST', '/scope']] as const

      for (const [name, refused, happens] of [
        ['nothing happens', /^HTTP\/1\.1 200/, async () => {}],
        ['the token is revoked', /"code":"TOKEN_REVOKED"/, async (id: number) => servicesOf(app).tokens.revokeAll(id)],
        ['the user is deleted', /"code":"USER_NOT_FOUND"/, async (id: number) => servicesOf(app).users.delete(id)]
      ] as const) {
        for (const [method, path] of paths) {
          const { user, token } = await asUser(app, 'carol', { roles: ['editor'] })
          const release = await parked(url, method, path, token)
          await delay(50)
          await happens(user.id)
          t.match(await release(), refused, `${method} ${path} · ${name}`)
        }
      }
      for (const path of ['/editors', '/both']) {
        const { user, token } = await asUser(app, 'dave', { roles: ['editor'] })
        const release = await parked(url, 'POST', path, token)
        await delay(50)
        await servicesOf(app).roles.revoke(user.id, 'editor')
        t.match(await release(), /"code":"ROLE_REQUIRED"/, `${path} · the role is taken`)
      }
      const { user, token } = await asUser(app, 'dave', { roles: ['editor'] })
      const release = await parked(url, 'PATCH', '/mine', token)
      await servicesOf(app).roles.grant(user.id, 'admin')
      t.match(await release(), /\["admin","editor"\]$/, 'what the handler sees is what holds now')
      const again = await parked(url, 'PATCH', '/mine', token)
      await delay(50)
      await servicesOf(app).roles.revoke(user.id, 'editor')
      t.match(await again(), /"code":"ROLE_REQUIRED"/, 'what a host may have decided by a role that is gone does not hold')
    })

    t.test('a body that is held back · in whatever way the guard was put there, also over HTTP/2', async (t) => {
      const seen: string[] = []
      const setUp = async (app: FastifyInstance) => {
        t.teardown(() => app.close())
        app.post('/before', { onRequest: async (request) => await app.authenticate(request) }, async () => 'acted')
        app.addHttpMethod('GET', { hasBody: true, overrideExisting: true })
        await app.register(latchkey, testOptions({ databaseUrl: await database.create(t) }))
        app.get('/get', { onRequest: [app.authenticate] }, async () => 'acted')
        app.post('/host', {
          onRequest: async (request) => {
            await app.authenticate(request)
            Object.assign(request.currentUser, { tenant: 7 })
          }
        }, async ({ currentUser }) => `tenant ${Object(currentUser).tenant}`)
        await app.register(async (scope) => {
          scope.addHook('onRequest', scope.authenticate)
          scope.addHook('preValidation', async () => { seen.push('preValidation') })
          scope.addHook('preHandler', async () => { seen.push('preHandler') })
          scope.post('/hooks', async () => 'acted')
          scope.setNotFoundHandler(async () => 'acted')
        }, { prefix: '/scope' })
        return new URL(await app.listen({ port: 0, host: '127.0.0.1' })).origin
      }
      const app = Fastify()
      const url = await setUp(app)
      for (const [method, path] of [['POST', '/before'], ['GET', '/get'], ['POST', '/host'], ['POST', '/scope/hooks'], ['POST', '/scope/nothing'], ['DELETE', '/api/v1/me']] as const) {
        const { user, token } = await asUser(app, 'carol')
        const release = await parked(url, method, path, token, '{"password":"correct horse battery staple"}')
        await delay(50)
        await servicesOf(app).tokens.revokeAll(user.id)
        t.match(await release(), /^HTTP\/1\.1 401[^]*TOKEN_REVOKED/, `${method} ${path}`)
      }
      t.same(seen, [], 'hooks of the host come after')
      const { token } = await asUser(app, 'carol')
      t.match(await (await parked(url, 'POST', '/host', token))(), /tenant 7$/, 'what the host has added to the user stays')

      const http2 = Fastify({ http2: true }) as unknown as FastifyInstance
      const session = connect(await setUp(http2))
      t.teardown(() => session.close())
      const carol = await asUser(http2, 'carol')
      const stream = session.request({ ':method': 'DELETE', ':path': '/api/v1/me', authorization: carol.token, 'content-type': 'application/json' }, { endStream: false })
      await delay(50)
      await http2.tokens.revokeAll(carol.user.id)
      stream.end('{"password":"correct horse battery staple"}')
      t.match(JSON.parse(await text(stream)), { statusCode: 401, code: 'TOKEN_REVOKED' }, 'HTTP/2 need not say that a body comes')
      t.type((await http2.users.find('carol'))?.id, 'number')
    })

    t.test('a body that is held back · nobody becomes an admin again', async (t) => {
      const app = await build(t)
      const url = await app.listen({ port: 0 })
      for (const body of ['{}', '']) {
        const evil = await asUser(app, 'evil', { roles: ['admin'] })
        await asUser(app, 'admin', { roles: ['admin'] })
        const head = `PUT /api/v1/users/evil/roles/admin HTTP/1.1\r\nHost: localhost\r\nAuthorization: ${evil.token}\r\nConnection: close\r\n`
        const { socket, ended } = await open(url, body === '' ? `${head}Transfer-Encoding: chunked\r\n\r\n` : `${head}Content-Type: application/json\r\nContent-Length: 2\r\n\r\n`)
        await delay(50)
        await servicesOf(app).roles.revoke(evil.user.id, 'admin')
        socket.write(body === '' ? '0\r\n\r\n' : body)
        t.match(await ended, body === '' ? /^HTTP\/1\.1 403[^]*ROLE_REQUIRED/ : /^HTTP\/1\.1 400[^]*BODY_UNEXPECTED/)
        t.same(await servicesOf(app).roles.ofUser(evil.user.id), [])
      }
    })

    t.test('between the guard and the write · the write looks again', async (t) => {
      const { app, interruptWith } = await interruptible(t, await database.create(t))
      const setUp = async () => {
        await asUser(app, 'admin', { roles: ['admin'] })
        const bob = await asUser(app, 'bob', { roles: ['editor'] })
        const evil = await asUser(app, 'evil', { roles: ['admin'] })
        return { bob, evil, ask: as(app, evil.token) }
      }
      for (const [method, path, roles] of [['PUT', '/users/bob/roles/admin', ['editor']], ['DELETE', '/users/bob/roles/editor', ['editor']], ['DELETE', '/users/admin/roles/admin', undefined]] as const) {
        const { bob, evil, ask } = await setUp()
        interruptWith(() => servicesOf(app).roles.revoke(evil.user.id, 'admin'))
        t.match((await ask(method, path)).json(), { statusCode: 403, code: 'ROLE_REQUIRED' }, `${method} ${path} · the role is taken`)
        if (roles !== undefined) t.same(await servicesOf(app).roles.ofUser(bob.user.id), roles)
        const again = await setUp()
        interruptWith(() => servicesOf(app).tokens.revokeAll(again.evil.user.id))
        t.match((await again.ask(method, path)).json(), { statusCode: 401, code: 'TOKEN_REVOKED' }, `${method} ${path} · the token is revoked`)
      }
      t.same(await servicesOf(app).roles.ofUser(Number((await servicesOf(app).users.find('admin'))?.id)), ['admin'])

      const personal = { description: 'to come back' }
      for (const [happens, answer] of [
        [async (id: number) => servicesOf(app).tokens.revokeAll(id), { statusCode: 401, code: 'TOKEN_REVOKED' }],
        [async (id: number) => servicesOf(app).users.delete(id), { statusCode: 400, code: 'USER_NOT_FOUND' }]
      ] as const) {
        const thief = await asUser(app, 'thief')
        interruptWith(() => happens(thief.user.id))
        t.match((await as(app, thief.token)('POST', '/tokens', personal)).json(), answer)
        t.equal(await servicesOf(app).store.db.$count(servicesOf(app).store.tables.tokens, eq(servicesOf(app).store.tables.tokens.userId, thief.user.id)), 0)
      }
      for (const [method, path, body] of [['DELETE', '/me', { password: bob.password }], ['PUT', '/me/password', { current_password: bob.password, new_password: next }]] as const) {
        const { user, token } = await asUser(app, 'owner')
        const { verify } = servicesOf(app).passwords
        // While the password waits to be hashed.
        Object.assign(servicesOf(app).passwords, {
          async verify (...args: Parameters<typeof verify>) {
            Object.assign(servicesOf(app).passwords, { verify })
            await servicesOf(app).tokens.revokeAll(user.id)
            return await verify(...args)
          }
        })
        t.match((await as(app, token)(method, path, body)).json(), { statusCode: 401, code: 'TOKEN_REVOKED' }, `${method} ${path}`)
        t.equal((await logIn(app, { username: 'owner', password: bob.password })).statusCode, 200)
      }

      const { user, token } = await asUser(app, 'thief')
      t.equal(await servicesOf(app).accessTokens.issue({ userId: user.id, kind: 'personal', description: 'x', askingId: '4e808214-e320-4173-bb6c-b75fbdd51003' }), undefined)
      const made = (await as(app, token)('POST', '/tokens', personal)).json()
      t.equal(await servicesOf(app).accessTokens.issue({ userId: user.id, kind: 'personal', description: 'x', askingId: made.id }), undefined, 'a personal token makes none')
    })

    t.test('giving and taking a role at once are both done', async (t) => {
      const url = await database.create(t, { isShared: true })
      const [here, there] = [await build(t, { DATABASE_URL: url }), await build(t, { DATABASE_URL: url })]
      const admin = await asUser(here, 'admin', { roles: ['admin', 'editor'] })
      await asUser(here, 'bob')
      for (let i = 0; i < 20; i++) {
        for (const role of ['editor', 'admin']) {
          const responses = await Promise.all([as(here, admin.token)('PUT', `/users/bob/roles/${role}`), as(there, admin.token)('DELETE', `/users/bob/roles/${role}`), as(here, admin.token)('PUT', `/users/bob/roles/${role}`)])
          t.same(responses.map(({ statusCode }) => statusCode), [204, 204, 204])
        }
      }
    })

    t.test('routes without a body refuse one, and take an empty one of any type', async (t) => {
      const app = await build(t)
      const { user } = await asUser(app, 'bob', { roles: ['admin', 'editor'] })
      const routes = [
        ['POST', '/logout', 200], ['DELETE', '/tokens', 200], ['DELETE', '/tokens/4e808214-e320-4173-bb6c-b75fbdd51003', 404],
        ['PUT', '/users/bob/roles/editor', 204], ['DELETE', '/users/bob/roles/editor', 204], ['DELETE', '/roles/nothing', 404]
      ] as const
      for (const [method, path, status] of routes) {
        const request = async (headers: Record<string, string>, payload?: string | Buffer) => {
          const issued = await servicesOf(app).accessTokens.issue({ userId: user.id, kind: 'login', description: 'x' })
          return app.inject({ method, url: `/api/v1${path}`, headers: { authorization: String(issued?.token), ...headers }, payload })
        }
        for (const type of ['application/json', 'text/plain', 'application/x-www-form-urlencoded', 'nonsense', 'multipart/form-data; boundary=x', ';']) {
          t.equal((await request({ 'content-type': type })).statusCode, status, `${method} ${path} · nothing, as ${type}`)
          t.match((await request({ 'content-type': type }, '{}')).json(), { statusCode: 400, code: 'BODY_UNEXPECTED' }, `${method} ${path} · something, as ${type}`)
        }
        for (const payload of ['{', '[]', 'x', '\0', 'x'.repeat(50_000)]) t.match((await request({}, payload)).json(), { code: 'BODY_UNEXPECTED' })
      }
      const url = await app.listen({ port: 0 })
      for (const [chunks, answer] of [['0\r\n\r\n', /^HTTP\/1\.1 200/], ['1\r\nx\r\n0\r\n\r\n', /BODY_UNEXPECTED/], [`${(50_000).toString(16)}\r\n${'x'.repeat(50_000)}\r\n0\r\n\r\n`, /BODY_UNEXPECTED/]] as const) {
        const issued = await servicesOf(app).accessTokens.issue({ userId: user.id, kind: 'login', description: 'x' })
        const { ended } = await open(url, `POST /api/v1/logout HTTP/1.1\r\nHost: a\r\nAuthorization: ${issued?.token}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n${chunks}`)
        t.match(await ended, answer)
      }
    })

    t.test('logging out everywhere leaves nothing of what is being made, also by another server', async (t) => {
      const url = await database.create(t, { isShared: true })
      const [here, there] = [await build(t, { DATABASE_URL: url }), await build(t, { DATABASE_URL: url })]
      const { user } = await asUser(here, 'bob')
      const { tokens } = servicesOf(here).store.tables
      let survived = 0
      const rounds = isLongDrill ? 1_000 : 40
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

    t.test('PUT /me/password · two at once with two tokens: the one that succeeds keeps its token, the other takes nothing back', async (t) => {
      const url = await database.create(t, { isShared: true })
      const [here, there] = [await build(t, { DATABASE_URL: url }), await build(t, { DATABASE_URL: url })]
      await signUp(here)
      let password = bob.password
      for (let i = 0; i < 10; i++) {
        const logins = [await logIn(here, { ...bob, password }), await logIn(here, { ...bob, password })].map((response) => String(response.json().token))
        const wanted = [`${next} ${i}`, `${next} ${i}!`]
        const responses = await Promise.all(logins.map((token, j) => as(j === 0 ? here : there, token)('PUT', '/me/password', { current_password: password, new_password: wanted[j] })))
        t.same(responses.map(({ statusCode }) => statusCode).sort(), [204, 401])
        const winner = responses.findIndex(({ statusCode }) => statusCode === 204)
        t.equal((await as(here, String(logins[winner]))('GET', '/me')).statusCode, 200)
        t.match((await as(here, String(logins[1 - winner]))('GET', '/me')).json(), { code: 'TOKEN_REVOKED' })
        password = String(wanted[winner])
      }
    })

    t.test('POST /tokens', async (t) => {
      t.test('several at once at the limit: just as many are made as there is room for', async (t) => {
        const app = await build(t)
        const { user, token } = await asUser(app, 'bob')
        const { tokens } = servicesOf(app).store.tables
        for (let i = 0; i < 94; i++) await servicesOf(app).accessTokens.issue({ userId: user.id, kind: 'personal', description: 'x' })
        const statuses = (await Promise.all(Array.from({ length: 10 }, () => as(app, token)('POST', '/tokens', { description: 'x' })))).map(({ statusCode }) => statusCode)
        t.same(statuses.sort(), [201, 201, 201, 201, 201, 409, 409, 409, 409, 409])
        t.equal(await servicesOf(app).store.db.$count(tokens, and(eq(tokens.userId, user.id), eq(tokens.kind, 'personal'))), 99)
      })

      t.test('so many an hour are made by one account; those that are not made do not count', async (t) => {
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

      t.test('a personal token makes no others; a login of some minutes ago needs the password', async (t) => {
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
    })

    t.test('GET /tokens · last_used_at is the time of the use, and is never lost while it is written', async (t) => {
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

    t.test('numbers of a query are decimal digits', async (t) => {
      const app = await build(t)
      const { token } = await asUser(app, 'bob', { roles: ['admin'] })
      const texts = ['Infinity', '-Infinity', '1e309', '-1e309', 'NaN', '0x10', '0b1', '1e1', '+5', '%205', '5%20', '5.0', '.5', '5,0', '-5', '-0', '', 'null', 'true', '[]', '5&limit=6', '٥', '9'.repeat(400), '5%00']
      for (const [path, name] of [['/me/events', 'limit'], ['/events', 'limit'], ['/events', 'user_id'], ['/events', 'cursor'], ['/me/events', 'cursor']] as const) {
        for (const text of texts.map((text) => text.replace('limit', name))) {
          t.match((await as(app, token)('GET', `${path}?${name}=${text}`)).json(), { statusCode: 422, code: 'VALIDATION_FAILED' }, `${path}?${name}=${text.slice(0, 30)}`)
        }
      }
      for (const query of ['limit=5', 'limit=100', 'user_id=9007199254740991', 'cursor=999999999999999', '']) t.equal((await as(app, token)('GET', `/events?${query}`)).statusCode, 200, query)
      for (const query of ['limit=0', 'limit=101', 'user_id=0', 'user_id=9007199254740992', 'user_id=9007199254740993']) t.equal((await as(app, token)('GET', `/events?${query}`)).statusCode, 422, query)
      for (const number of ['1e309', '-1e309', '1e400', '60.5', '"60"']) {
        const response = await app.inject({ method: 'POST', url: '/api/v1/tokens', headers: { authorization: token, 'content-type': 'application/json' }, payload: `{"description":"x","expires_in":${number}}` })
        t.match(response.json(), { statusCode: 422, message: /^expires_in must be / }, number)
      }
    })
  })
}

t.test('PostgreSQL · a token that is made while all are being revoked is refused', async (t) => {
  const [, postgres] = databases
  const url = await postgres.create(t)
  const [here, there] = [await buildOn(postgres)(t, { DATABASE_URL: url }), await buildOn(postgres)(t, { DATABASE_URL: url })]
  // Long enough for the thief to look and to write before the revocation is committed.
  await postgres.addTrigger(servicesOf(here).store, 'before delete on tokens', 'perform pg_sleep(0.2)')
  for (const revoke of [(id: number) => servicesOf(there).tokens.revokeAll(id), (id: number) => servicesOf(there).users.replacePassword(id, 'x')]) {
    const { user, token } = await asUser(here, 'bob')
    const revoking = revoke(user.id)
    await delay(50)
    const stolen = await Promise.all(Array.from({ length: 4 }, () => as(here, token)('POST', '/tokens', { description: 'to come back' })))
    await revoking
    for (const response of stolen) t.match(response.json(), { statusCode: 401, code: 'TOKEN_REVOKED' })
    t.equal(await servicesOf(here).store.db.$count(servicesOf(here).store.tables.tokens), 0)
  }
})

t.test('PostgreSQL · a revocation that is rolled back because of others is tried again', async (t) => {
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

t.test('SQLite · a role that somebody takes, or gives, at this moment is no reason to refuse', async (t) => {
  const [sqlite] = databases
  const app = await buildOn(sqlite)(t)
  const admin = await asUser(app, 'admin', { roles: ['admin', 'editor'] })
  await asUser(app, 'bob', { roles: ['admin', 'author'] })
  // To whoever looks afterwards the write has done nothing, as where another one has undone it.
  await sqlite.addTrigger(servicesOf(app).store, 'before insert on user_roles', 'select raise(ignore)')
  await sqlite.addTrigger(servicesOf(app).store, 'before delete on user_roles', 'select raise(ignore)')
  t.equal((await as(app, admin.token)('PUT', '/users/bob/roles/editor')).statusCode, 204)
  for (const role of ['author', 'admin']) t.equal((await as(app, admin.token)('DELETE', `/users/bob/roles/${role}`)).statusCode, 204)
})

t.test('SQLite · a revocation waits for a lock that is held for longer than a write waits, and serves others meanwhile', async (t) => {
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

t.test('SQLite · who revokes does not lose against another process that writes all the time', async (t) => {
  const [sqlite] = databases
  const url = await sqlite.create(t, { isShared: true })
  const app = await buildOn(sqlite)(t, { DATABASE_URL: url })
  const { user } = await asUser(app, 'bob')
  const writing = spawn(process.execPath, ['-e', `
    const client = new (require('better-sqlite3'))(process.argv[1], { timeout: 10_000 })
    client.pragma('synchronous = FULL')
    const hold = new Int32Array(new SharedArrayBuffer(4))
    process.stdout.write('ready')
    for (;;) {
      client.exec("begin immediate; update roles set description = 'x'")
      Atomics.wait(hold, 0, 0, 300)
      client.exec('commit')
      Atomics.wait(hold, 0, 0, 10)
    }`, url.replace('sqlite:///', '')], { cwd: import.meta.dirname, stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => writing.kill('SIGKILL'))
  await once(writing.stdout, 'data')
  const fails: string[] = []
  const attempt = async (name: string, work: () => Promise<unknown>) => work().catch((error) => { fails.push(`${name}: ${error.cause ?? error}`) })
  for (let i = 0; i < 4; i++) {
    await attempt('revokeAll', () => servicesOf(app).tokens.revokeAll(user.id))
    await attempt('revoke', () => servicesOf(app).tokens.revoke(user.id, '4e808214-e320-4173-bb6c-b75fbdd51003'))
    await attempt('role', () => servicesOf(app).roles.revoke(user.id, 'editor'))
    await attempt('password', () => servicesOf(app).users.replacePassword(user.id, 'x'))
  }
  await attempt('delete', () => servicesOf(app).users.delete(user.id))
  t.same(fails, [])
  t.equal(await servicesOf(app).users.find('bob'), undefined)
})

t.test('a route without a body and without a guard refuses one as well', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(errors)
  await app.register(validation, { passwordPolicy: { minLength: 8, blocklist: true } })
  app.post('/open', async () => 'open')
  t.equal((await app.inject({ method: 'POST', url: '/open', headers: { 'content-type': 'text/plain' } })).body, 'open')
  t.match((await app.inject({ method: 'POST', url: '/open', payload: {} })).json(), { statusCode: 400, code: 'BODY_UNEXPECTED' })
})

t.test('what is no request, or one that cannot be served, is answered in our shape', async (t) => {
  const [sqlite] = databases
  const app = await buildOn(sqlite)(t)
  const url = await app.listen({ port: 0 })
  const body = (statusCode: number, code: string) => new RegExp(`^HTTP/1\\.1 ${statusCode} [^]*content-type: application/json; charset=utf-8[^]*\\r\\n\\r\\n\\{"statusCode":${statusCode},"code":"${code}",`)
  for (const [name, head, answer] of [
    ['no Host', 'GET /health/live HTTP/1.1\r\n', body(400, 'REQUEST_MALFORMED')],
    ['two Hosts', 'GET /health/live HTTP/1.1\r\nHost: a\r\nhost: a\r\n', body(400, 'REQUEST_MALFORMED')],
    ['two Hosts, HTTP/1.0', 'GET /health/live HTTP/1.0\r\nHost: a\r\nHost: b\r\n', body(400, 'REQUEST_MALFORMED')],
    ['a Host that is none', 'GET /health/live HTTP/1.1\r\nHost: a b\r\n', body(400, 'REQUEST_MALFORMED')],
    ['a Host with a path', 'GET /health/live HTTP/1.1\r\nHost: a/b@c\r\n', body(400, 'REQUEST_MALFORMED')],
    ['two Hosts in one', 'GET /health/live HTTP/1.1\r\nHost: a, b\r\n', body(400, 'REQUEST_MALFORMED')],
    ['two Hosts, a path that cannot be decoded', 'GET /%zz HTTP/1.1\r\nHost: a\r\nHost: b\r\n', body(400, 'REQUEST_MALFORMED')],
    ['no Host, a parameter that is too long', `GET /api/v1/users/${'x'.repeat(300)}/roles/x HTTP/1.1\r\n`, body(400, 'REQUEST_MALFORMED')],
    ['a path that cannot be decoded', 'GET /%zz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n', body(404, 'ROUTE_NOT_FOUND')],
    ['no Host, nothing here', 'GET /nothing HTTP/1.1\r\n', body(400, 'REQUEST_MALFORMED')],
    ['no Host, HTTP/1.0', 'GET /health/live HTTP/1.0\r\n', /^HTTP\/1\.1 200/],
    ['an empty Host', 'GET /health/live HTTP/1.1\r\nHost:\r\nConnection: close\r\n', /^HTTP\/1\.1 200/],
    ['an IPv6 Host', 'GET /health/live HTTP/1.1\r\nHost: [::1]:3000\r\nConnection: close\r\n', /^HTTP\/1\.1 200/],
    ['an expectation', 'GET /health/live HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n', body(417, 'EXPECTATION_FAILED')],
    ['100-continue', 'GET /health/live HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nConnection: close\r\n', /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200/],
    ['HTTP/2.0', 'GET /health/live HTTP/2.0\r\nHost: a\r\n', body(400, 'REQUEST_MALFORMED')],
    ['HTTP/0.9', 'GET /health/live\r\n', body(400, 'REQUEST_MALFORMED')],
    ['the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n', body(400, 'REQUEST_MALFORMED')],
    ['QUERY', 'QUERY /health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n', body(405, 'METHOD_NOT_ALLOWED')],
    ['QUERY with a body', 'QUERY /api/v1/login HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 0\r\n', body(405, 'METHOD_NOT_ALLOWED')],
    ['QUERY, nothing here', 'QUERY /nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n', body(404, 'ROUTE_NOT_FOUND')],
    ['a method that is none', 'NONSENSE /health/live HTTP/1.1\r\nHost: a\r\n', body(400, 'REQUEST_MALFORMED')]
  ] as const) {
    const { ended } = await open(url, `${head}\r\n`)
    t.match(await ended, answer, name)
  }
})
