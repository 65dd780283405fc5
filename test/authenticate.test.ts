import { createHmac, randomUUID } from 'node:crypto'
import { connect } from 'node:http2'
import { text } from 'node:stream/consumers'
import v8 from 'node:v8'
import { runInNewContext } from 'node:vm'
import { eq } from 'drizzle-orm'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import latchkey from '../src/index.js'
import { guardErrors } from '../src/plugins/authenticate/guard.js'
import { isTokenId, isUserId, validateTimeClaims } from '../src/plugins/tokens/claims.js'
import { servicesOf } from '../src/services.js'
import { asUser, testOptions } from '../src/testing.js'
import { databases } from './databases.js'
import { forge, forgedTokens } from './forged-tokens.js'
import { as, bob, buildOn, claimsOf, internals, logIn, makeAdmin, needLogin, open, secretKey, signToken, tokenOf, until } from './helper.js'

const next = 'incorrect donkey charger clip'

/** Counts the signatures that are computed from now on, whoever asks. */
function countSignatures (t: Test): () => number {
  const prototype = Object.getPrototypeOf(createHmac('sha256', 'x'))
  const { digest } = prototype
  let count = 0
  prototype.digest = function (...args: unknown[]) {
    count++
    return Reflect.apply(digest, this, args)
  }
  t.teardown(() => { prototype.digest = digest })
  return () => count
}

/** Has the signature of a token remembered, as that of a client that sends many requests. */
async function warm (app: FastifyInstance, token: string): Promise<void> {
  for (let i = 0; i < 3; i++) await needLogin(app, token)
  const all = await Promise.all(Array.from({ length: 20 }, () => needLogin(app, token)))
  if (all.some(({ statusCode }) => statusCode !== 200)) throw new Error('the token is not accepted')
}

/** What sends requests whose bodies come later: the head at once, until a guard has asked the database, the body when the result is called. */
function headSender (queries: () => number) {
  return async (url: string, method: string, path: string, token: string, body = '{}') => {
    const before = queries()
    const { socket, ended } = await open(url, `${method} ${path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: ${token}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n`)
    await until(() => queries() > before)
    return async () => {
      socket.write(body)
      return await ended
    }
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
    const seconds = () => Math.floor(Date.now() / 1000)
    const times = () => ({ iat: seconds(), exp: seconds() + 100 })

    t.test('GET /need_login · bare token or Bearer → 200; no header → 400 AUTHORIZATION_MISSING; not a token → 401 TOKEN_INVALID', async (t) => {
      const app = await build(t)
      const token = await tokenOf(app)
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

    t.test('GET /need_login · expired token → 401 TOKEN_EXPIRED, to the second', async (t) => {
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

    t.test('GET /need_login · signed token without a valid user_id → 400 TOKEN_CLAIMS_INVALID', async (t) => {
      const app = await build(t)
      for (const userId of [undefined, null, 0, -1, 1.5, '1', [1], {}, true, 2 ** 53]) {
        const response = await needLogin(app, signToken({ ...times(), user_id: userId }))
        t.match(response.json(), { statusCode: 400, code: 'TOKEN_CLAIMS_INVALID', message: 'token is not valid' }, JSON.stringify(userId))
        t.equal(response.headers['www-authenticate'], 'Bearer')
      }
    })

    t.test('GET /need_login · user deleted → 400 USER_NOT_FOUND', async (t) => {
      const app = await build(t)
      const token = await tokenOf(app)
      await servicesOf(app).store.db.delete(servicesOf(app).store.tables.users)
      for (const gone of [token, signToken({ ...times(), user_id: 42 }), signToken({ ...times(), user_id: Number.MAX_SAFE_INTEGER })]) {
        const response = await needLogin(app, gone)
        t.match(response.json(), { statusCode: 400, code: 'USER_NOT_FOUND', message: '404 User not found' })
        t.equal(response.headers['www-authenticate'], 'Bearer')
      }
    })

    t.test('GET /need_login · token row deleted, or of another user → 401 TOKEN_REVOKED', async (t) => {
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

    t.test('GET /need_login · one database query', async (t) => {
      const app = await build(t)
      const token = await tokenOf(app)
      const queries = database.countQueries(t)
      t.equal((await needLogin(app, token)).statusCode, 200)
      t.equal(queries(), 1)
      await logIn(app)
      t.ok(queries() > 1, 'the count counts')
    })

    t.test('GET /need_login · signed with SECRET_KEY_PREVIOUS → 200; no token is signed with it', async (t) => {
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

    t.test('GET /need_login · forged and malformed tokens', async (t) => {
      const app = await build(t)
      const token = await tokenOf(app)
      t.test('forged with our key (to test the forging) → 200', async (t) => {
        t.equal((await needLogin(app, forge(token))).statusCode, 200)
        t.equal((await needLogin(app, forge(token, { alg: 'HS256' }))).statusCode, 200, 'typ is optional (RFC 7519, section 5.1)')
      })

      for (const [name, authorization] of Object.entries(forgedTokens(token))) {
        t.test(`${name} → 401 TOKEN_INVALID`, async (t) => {
          const response = await needLogin(app, authorization)
          t.match(response.json(), { statusCode: 401, code: 'TOKEN_INVALID', message: 'token is invalid' })
          t.equal(response.headers['www-authenticate'], 'Bearer error="invalid_token"')
          t.notMatch(response.body, internals)
        })
      }

      t.test('token in the query string, a cookie or another header → 400 AUTHORIZATION_MISSING', async (t) => {
        t.equal((await app.inject(`/need_login?token=${token}&access_token=${token}&Authorization=${token}`)).statusCode, 400)
        t.equal((await app.inject({ url: '/need_login', headers: { cookie: `token=${token}; Authorization=${token}` } })).statusCode, 400)
        t.equal((await app.inject({ url: '/need_login', headers: { 'x-authorization': token, 'proxy-authorization': token } })).statusCode, 400)
      })
    })

    t.test('GET /need_login · token revoked after it was verified many times → 401 or 400 at once, whatever revoked it', async (t) => {
      const as = (app: FastifyInstance, token: string) => async (method: 'POST' | 'PUT' | 'DELETE', path: string, payload?: object) => {
        const { statusCode } = await app.inject({ method, url: `/api/v1${path}`, headers: { authorization: token }, payload })
        if (statusCode >= 300) throw new Error(`${method} ${path} answered ${statusCode}`)
      }
      type Way = (app: FastifyInstance, token: string, other: string) => Promise<unknown>
      const ways: Record<string, [Way, string]> = {
        logout: [(app, token) => as(app, token)('POST', '/logout'), 'TOKEN_REVOKED'],
        'another device revokes it': [(app, token, other) => as(app, other)('DELETE', `/tokens/${claimsOf(token).jti}`), 'TOKEN_REVOKED'],
        'another device revokes the others': [(app, token, other) => as(app, other)('DELETE', '/tokens?scope=others'), 'TOKEN_REVOKED'],
        'all are revoked': [(app, token) => as(app, token)('DELETE', '/tokens'), 'TOKEN_REVOKED'],
        'the password is changed': [(app, token, other) => as(app, other)('PUT', '/me/password', { current_password: bob.password, new_password: 'another horse battery' }), 'TOKEN_REVOKED'],
        'the account is deleted': [(app, token, other) => as(app, other)('DELETE', '/me', { password: bob.password }), 'USER_NOT_FOUND'],
        'its row goes': [async (app) => servicesOf(app).store.db.delete(servicesOf(app).store.tables.tokens), 'TOKEN_REVOKED'],
        'its user goes': [async (app) => servicesOf(app).store.db.delete(servicesOf(app).store.tables.users), 'USER_NOT_FOUND']
      }
      for (const [name, [way, code]] of Object.entries(ways)) {
        const app = await build(t)
        const token = await tokenOf(app)
        const other: string = (await logIn(app)).json().token
        await warm(app, token)
        await way(app, token, other)
        const answers = await Promise.all(Array.from({ length: 5 }, () => needLogin(app, token)))
        for (const answer of answers) t.equal(answer.json().code, code, name)
      }
    })

    t.test('GET /need_login · token revoked on another server → 401 TOKEN_REVOKED at once', async (t) => {
      const DATABASE_URL = await database.create(t, { isShared: true })
      const [here, there] = [await build(t, { DATABASE_URL }), await build(t, { DATABASE_URL })]
      for (let i = 0; i < 10; i++) {
        const token = await tokenOf(here)
        await warm(here, token)
        await warm(there, token)
        await there.inject({ method: 'POST', url: '/api/v1/logout', headers: { authorization: token } })
        t.same((await Promise.all([needLogin(here, token), needLogin(here, token)])).map((answer) => answer.json().code), ['TOKEN_REVOKED', 'TOKEN_REVOKED'])
      }
    })

    t.test('GET /need_login · token verified before → its times are validated on every request', async (t) => {
      let now = Date.now()
      const app = await build(t, { TOKEN_TTL_SECONDS: '100' }, { now: () => now })
      const token = await tokenOf(app)
      await warm(app, token)
      now -= 120_000
      t.equal((await needLogin(app, token)).json().code, 'TOKEN_INVALID', 'a clock that was set back: it is from the future')
      now += 120_000
      t.equal((await needLogin(app, token)).statusCode, 200)
      await warm(app, token)
      now += 101_000
      for (let i = 0; i < 2; i++) t.equal((await needLogin(app, token)).json().code, 'TOKEN_EXPIRED')
    })

    t.test('GET /api/v1/me, GET /admin · name, email and roles are the current ones', async (t) => {
      const app = await build(t)
      const { store: { db, tables } } = servicesOf(app)
      const token = await tokenOf(app)
      await warm(app, token)
      const me = async () => (await app.inject({ url: '/api/v1/me', headers: { authorization: token } })).json()
      t.match(await me(), { id: 1, username: 'bob', email: null, created_at: String, roles: [] })
      await db.update(tables.users).set({ username: 'Bob', email: 'bob@example.com' })
      for (const name of ['reader', 'editor']) await servicesOf(app).roles.create({ name, description: 'x' })
      for (const name of ['reader', 'admin', 'editor']) await servicesOf(app).roles.grant(1, name)
      t.match(await me(), { username: 'Bob', email: 'bob@example.com', roles: ['admin', 'editor', 'reader'] })
      t.equal((await app.inject({ url: '/admin', headers: { authorization: token } })).statusCode, 200)
      await servicesOf(app).roles.create({ name: 'second', description: 'x' })
      await tokenOf(app, { ...bob, username: 'alice' })
      await servicesOf(app).roles.grant(2, 'admin')
      await servicesOf(app).roles.revoke(1, 'admin')
      t.equal((await app.inject({ url: '/admin', headers: { authorization: token } })).statusCode, 403)
      t.match(await me(), { roles: ['editor', 'reader'] })
    })

    t.test('GET /api/v1/me, GET /admin · user and roles come from one database query', async (t) => {
      const app = await build(t)
      const token = await tokenOf(app)
      for (const [url, statusCode] of [['/api/v1/me', 200], ['/admin', 403]] as const) {
        const queries = database.countQueries(t)
        t.equal((await app.inject({ url, headers: { authorization: token } })).statusCode, statusCode)
        t.equal(queries(), 1, url)
      }
    })

    t.test('GET /admin · role whose name contains admin → 403', async (t) => {
      const app = await build(t)
      const token = await tokenOf(app)
      for (const name of ['night admin', 'Admin', 'a\x1fadmin', '']) await t.rejects(servicesOf(app).roles.create({ name, description: 'x' }), TypeError, name)
      // Written by somebody who knows no rules.
      await servicesOf(app).store.db.insert(servicesOf(app).store.tables.roles).values({ name: 'night admin', description: 'x' })
      await servicesOf(app).roles.grant(1, 'night admin')
      t.equal((await app.inject({ url: '/admin', headers: { authorization: token } })).statusCode, 403)
      t.same((await app.inject({ url: '/api/v1/me', headers: { authorization: token } })).json().roles, ['night admin'])
    })

    t.test('GET /need_login · a snapshot is being read → 200, no request waits', async (t) => {
      const app = await build(t)
      const token = await tokenOf(app)
      const rows = servicesOf(app).store.snapshot(async function * (db) {
        for (const row of await db.select({ id: servicesOf(app).store.tables.users.id }).from(servicesOf(app).store.tables.users)) yield row
        for (const row of await db.select({ id: servicesOf(app).store.tables.users.id }).from(servicesOf(app).store.tables.users)) yield row
      })
      await rows.next()
      t.same((await Promise.all([needLogin(app, token), needLogin(app, token)])).map(({ statusCode }) => statusCode), [200, 200])
      await rows.return(undefined)
      t.same((await Promise.all([needLogin(app, token), needLogin(app, token)])).map(({ statusCode }) => statusCode), [200, 200])
    })

    t.test('GET /api/v1/me · many in parallel → each gets its own answer', async (t) => {
      const app = await build(t)
      const people = await Promise.all(Array.from({ length: 8 }, async (_, i) => ({ username: `user${i}`, token: await tokenOf(app, { ...bob, username: `user${i}` }) })))
      const { id } = (await app.inject({ url: '/api/v1/me', headers: { authorization: String(people[0]?.token) } })).json()
      const times = { iat: Math.floor(Date.now() / 1_000), exp: Math.floor(Date.now() / 1_000) + 60 }
      const revoked = signToken({ ...times, user_id: id, jti: randomUUID() })
      const stranger = signToken({ ...times, user_id: 4_242, jti: randomUUID() })
      const asked = Array.from({ length: 25 }, () => [...people, { username: 'TOKEN_REVOKED', token: revoked }, { username: 'USER_NOT_FOUND', token: stranger }]).flat()
      const answers = await Promise.all(asked.map(({ token }) => app.inject({ url: '/api/v1/me', headers: { authorization: token } })))
      t.same(answers.map((answer) => answer.json().username ?? answer.json().code), asked.map(({ username }) => username))
    })

    t.test('GET /need_login · the database fails → 500 for each request in flight, 200 afterwards', async (t) => {
      const app = await build(t)
      const token = await tokenOf(app)
      await warm(app, token)
      await database.execute(servicesOf(app).store, 'alter table tokens rename to tokens_gone')
      t.same((await Promise.all([needLogin(app, token), needLogin(app, token), needLogin(app, token)])).map(({ statusCode }) => statusCode), [500, 500, 500])
      t.equal((await app.inject('/health/live')).statusCode, 200)
      await database.execute(servicesOf(app).store, 'alter table tokens_gone rename to tokens')
      t.same((await Promise.all([needLogin(app, token), needLogin(app, token)])).map(({ statusCode }) => statusCode), [200, 200])
    })

    t.test('tokens.findOwner · store closed → it throws', async (t) => {
      const app = await build(t)
      await tokenOf(app)
      // On PostgreSQL they are settled by a timer that keeps no process alive.
      const alive = setInterval(() => {}, 1_000)
      t.teardown(() => clearInterval(alive))
      const asked = [1, 2].map((userId) => servicesOf(app).tokens.findOwner({ userId, tokenId: randomUUID() }))
      const closing = servicesOf(app).store.close()
      await Promise.allSettled(asked)
      await closing
      await t.rejects(servicesOf(app).tokens.findOwner({ userId: 1, tokenId: randomUUID() }))
      await Promise.all([1, 2].map((userId) => t.rejects(servicesOf(app).tokens.findOwner({ userId, tokenId: randomUUID() }))))
    })

    t.test('GET /admin · admin → 200; other user → 403 ROLE_REQUIRED; no token → 400; invalid token → 401', async (t) => {
      const app = await build(t)
      const token = await tokenOf(app)
      const ask = (authorization?: string) => app.inject({ url: '/admin', headers: authorization === undefined ? {} : { authorization } })
      t.match((await ask(token)).json(), { statusCode: 403, code: 'ROLE_REQUIRED', error: 'Forbidden' })
      await makeAdmin(app, 'bob')
      const response = await ask(token)
      t.equal(response.statusCode, 200)
      t.match(response.headers['content-type'], /^text\/plain/)
      t.equal(response.body, 'if you see this, that means you are an admin')
      t.equal((await ask()).statusCode, 400)
      t.equal((await ask('x.y.z')).statusCode, 401)
    })

    t.test('app.requireRole · one of the roles → the handler runs; none → 403; alone or after app.authenticate', async (t) => {
      const app = Fastify()
      t.teardown(() => app.close())
      await app.register(latchkey, { databaseUrl: await database.create(t), secretKey, tokenTtlSeconds: 60, signup: 'open', loginErrors: 'detailed', passwordMinLength: 8, passwordBlocklist: 'on', hashParameters: { memoryCost: 8, timeCost: 1, parallelism: 1 } })
      app.get('/alone', { onRequest: [app.requireRole('editor', 'author')] }, async ({ currentUser }) => currentUser.username)
      app.get('/after', { preHandler: [app.authenticate, app.requireRole('editor', 'author')] }, async ({ currentUser }) => currentUser.username)
      const token = await tokenOf(app)
      for (const name of ['author', 'reader']) await servicesOf(app).roles.create({ name, description: 'x' })
      const ask = (url: string) => app.inject({ url, headers: { authorization: token } })
      await servicesOf(app).roles.grant(1, 'reader')
      for (const url of ['/alone', '/after']) t.equal((await ask(url)).statusCode, 403)
      await servicesOf(app).roles.grant(1, 'author')
      for (const url of ['/alone', '/after']) {
        t.equal((await ask(url)).body, 'bob')
        t.equal((await app.inject(url)).statusCode, 400)
      }
      t.throws(() => app.requireRole(), TypeError)
    })

    t.test('app.authenticateWithRoles · sets currentUser and currentRoles, and is documented', async (t) => {
      const app = Fastify()
      t.teardown(() => app.close())
      await app.register(latchkey, { ...testOptions(), databaseUrl: await database.create(t) })
      app.get('/mine', { preHandler: [app.authenticateWithRoles] }, async ({ currentUser, currentRoles }) => ({ currentUser, currentRoles }))
      app.get('/open', async ({ currentRoles }) => ({ currentRoles }))
      app.get('/plain', { preHandler: [app.authenticate] }, async ({ currentRoles }) => ({ currentRoles }))
      const { token: authorization } = await asUser(app, 'bob', { roles: ['editor', 'author'] })
      const headers = { authorization }
      t.match((await app.inject({ url: '/mine', headers })).json(), { currentUser: { id: 1, username: 'bob' }, currentRoles: ['author', 'editor'] })
      t.match((await app.inject({ url: '/open', headers })).json(), { statusCode: 500, message: /no guard has run.*preHandler: \[app\.authenticate\]/ })
      t.match((await app.inject({ url: '/plain', headers })).json(), { statusCode: 500, message: /Use app\.authenticateWithRoles or app\.requireRole/ })
      t.match((await app.inject('/mine')).json(), { code: 'AUTHORIZATION_MISSING' })
      t.match((await app.inject({ url: '/mine', headers: { authorization: 'x.y.z' } })).json(), { code: 'TOKEN_INVALID' })
      t.same(guardErrors({ preHandler: [app.authenticateWithRoles] }), guardErrors({ preHandler: [app.authenticate] }))
    })

    t.test('app.authenticate · as preHandler or onRequest of a host\'s route → sets currentUser; other routes are not changed', async (t) => {
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

    t.test('app.authenticate, app.requireRole · token revoked, user deleted or role revoked while the body arrives → 401, 400, 403', async (t) => {
      const queries = database.countQueries(t)
      const sendHead = headSender(queries)
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
          const release = await sendHead(url, method, path, token)
          await happens(user.id)
          t.match(await release(), refused, `${method} ${path} · ${name}`)
        }
      }
      for (const path of ['/editors', '/both']) {
        const { user, token } = await asUser(app, 'dave', { roles: ['editor'] })
        const release = await sendHead(url, 'POST', path, token)
        await servicesOf(app).roles.revoke(user.id, 'editor')
        t.match(await release(), /"code":"ROLE_REQUIRED"/, `${path} · the role is taken`)
      }
      const { user, token } = await asUser(app, 'dave', { roles: ['editor'] })
      const release = await sendHead(url, 'PATCH', '/mine', token)
      await servicesOf(app).roles.grant(user.id, 'admin')
      t.match(await release(), /\["admin","editor"\]$/, 'what the handler sees is what holds now')
      const again = await sendHead(url, 'PATCH', '/mine', token)
      await servicesOf(app).roles.revoke(user.id, 'editor')
      t.match(await again(), /"code":"ROLE_REQUIRED"/, 'what a host may have decided by a role that is gone does not hold')
    })

    t.test('app.authenticate · token revoked while the body arrives → 401 TOKEN_REVOKED, however the guard is used, also over HTTP/2', async (t) => {
      const queries = database.countQueries(t)
      const sendHead = headSender(queries)
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
        const release = await sendHead(url, method, path, token, '{"password":"correct horse battery staple"}')
        await servicesOf(app).tokens.revokeAll(user.id)
        t.match(await release(), /^HTTP\/1\.1 401[^]*TOKEN_REVOKED/, `${method} ${path}`)
      }
      t.same(seen, [], 'hooks of the host come after')
      const { token } = await asUser(app, 'carol')
      t.match(await (await sendHead(url, 'POST', '/host', token))(), /tenant 7$/, 'what the host has added to the user stays')

      const http2 = Fastify({ http2: true }) as unknown as FastifyInstance
      const session = connect(await setUp(http2))
      t.teardown(() => session.close())
      const carol = await asUser(http2, 'carol')
      const before = queries()
      const stream = session.request({ ':method': 'DELETE', ':path': '/api/v1/me', authorization: carol.token, 'content-type': 'application/json' }, { endStream: false })
      await until(() => queries() > before)
      await servicesOf(http2).tokens.revokeAll(carol.user.id)
      stream.end('{"password":"correct horse battery staple"}')
      t.match(JSON.parse(await text(stream)), { statusCode: 401, code: 'TOKEN_REVOKED' }, 'HTTP/2 need not say that a body comes')
      t.type((await servicesOf(http2).users.find('carol'))?.id, 'number')
    })

    t.test('PUT /api/v1/users/{username}/roles/admin · own role revoked while the body arrives → 403 ROLE_REQUIRED', async (t) => {
      const queries = database.countQueries(t)
      const app = await build(t)
      const url = await app.listen({ port: 0 })
      for (const body of ['{}', '']) {
        const evil = await asUser(app, 'evil', { roles: ['admin'] })
        await asUser(app, 'admin', { roles: ['admin'] })
        const head = `PUT /api/v1/users/evil/roles/admin HTTP/1.1\r\nHost: localhost\r\nAuthorization: ${evil.token}\r\nConnection: close\r\n`
        const before = queries()
        const { socket, ended } = await open(url, body === '' ? `${head}Transfer-Encoding: chunked\r\n\r\n` : `${head}Content-Type: application/json\r\nContent-Length: 2\r\n\r\n`)
        await until(() => queries() > before)
        await servicesOf(app).roles.revoke(evil.user.id, 'admin')
        socket.write(body === '' ? '0\r\n\r\n' : body)
        t.match(await ended, body === '' ? /^HTTP\/1\.1 403[^]*ROLE_REQUIRED/ : /^HTTP\/1\.1 400[^]*BODY_UNEXPECTED/)
        t.same(await servicesOf(app).roles.ofUser(evil.user.id), [])
      }
    })

    t.test('routes that write · token or role revoked, or user deleted, between the guard and the write → 401, 403, 400', async (t) => {
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
      for (const [method, path, body] of [['DELETE', '/me', { password: bob.password }], ['POST', '/me/deletion', { password: bob.password }], ['PUT', '/me/password', { current_password: bob.password, new_password: next }]] as const) {
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
      t.equal(await servicesOf(app).accessTokens.issue({ userId: user.id, kind: 'personal', description: 'x', requestingTokenId: '4e808214-e320-4173-bb6c-b75fbdd51003' }), undefined)
      const made = (await as(app, token)('POST', '/tokens', personal)).json()
      t.equal(await servicesOf(app).accessTokens.issue({ userId: user.id, kind: 'personal', description: 'x', requestingTokenId: made.id }), undefined, 'a personal token makes none')
    })
  })
}

t.test('signatures', async (t) => {
  const build = buildOn(databases[0])
  const times = () => ({ iat: Math.floor(Date.now() / 1_000), exp: Math.floor(Date.now() / 1_000) + 60 })

  t.test('however the token is sent → verified once', async (t) => {
    const app = await build(t)
    const token = await tokenOf(app)
    const signatures = countSignatures(t)
    for (const authorization of [token, `Bearer ${token}`, `bearer ${token}`, `BEARER   ${token}`]) t.equal((await needLogin(app, authorization)).statusCode, 200)
    t.equal(signatures(), 1)
  })

  t.test('rejected token → verified each time', async (t) => {
    let now = Date.now()
    const app = await build(t, {}, { now: () => now })
    const token = await tokenOf(app)
    const forged = `${token.slice(0, -10)}AAAAAAAAAA`
    const nobodys = signToken({ ...times(), jti: randomUUID() })
    const signatures = countSignatures(t)
    for (const [refused, code] of [[forged, 'TOKEN_INVALID'], [nobodys, 'TOKEN_CLAIMS_INVALID']] as const) {
      const before = signatures()
      for (let i = 0; i < 3; i++) t.equal((await needLogin(app, refused)).json().code, code)
      t.equal(signatures() - before, 3)
    }
    await warm(app, token)
    for (const almost of [forged, `${token.slice(0, -1)}`, `${token}=`, `${token} `, token.replace('.', '..'), `Bearer${token}`, `Basic ${token}`, `Bearer Bearer ${token}`]) {
      t.equal((await needLogin(app, almost)).json().code, 'TOKEN_INVALID', almost)
    }
    now += 172_801_000
    const before = signatures()
    for (let i = 0; i < 3; i++) t.equal((await needLogin(app, token)).json().code, 'TOKEN_EXPIRED')
    t.ok(signatures() - before >= 2, 'it is not kept beyond its time')
  })

  t.test('what is remembered is no longer than the token, however long the header', async (t) => {
    const app = await build(t)
    const tokens = Array.from({ length: 1_500 }, () => signToken({ ...times(), user_id: 1, jti: randomUUID() }))
    v8.setFlagsFromString('--expose-gc')
    const collect: () => void = runInNewContext('gc')
    collect()
    const before = process.memoryUsage().heapUsed
    for (const token of tokens) await needLogin(app, `Bearer${' '.repeat(14_000)}${token}`)
    collect()
    t.ok(process.memoryUsage().heapUsed - before < 10_000_000, 'the headers were 21 MB')
  })

  t.test('another key → TOKEN_INVALID', async (t) => {
    const app = await build(t)
    const token = await tokenOf(app)
    await warm(app, token)
    const other = await build(t, { SECRET_KEY: 'Another-Key-For-The-Time-After-The-Rotation-42' })
    t.equal((await needLogin(other, token)).json().code, 'TOKEN_INVALID')
    t.equal((await needLogin(app, signToken(claimsOf(token), 'Another-Key-For-The-Time-After-The-Rotation-42'))).json().code, 'TOKEN_INVALID')
  })

  t.test('the most recent tokens are remembered, up to a limit', async (t) => {
    const app = await build(t)
    const signatures = countSignatures(t)
    const verify = (claims: object) => servicesOf(app).accessTokens.verify(signToken({ ...times(), user_id: 1, jti: randomUUID(), ...claims }))
    const first = signToken({ ...times(), user_id: 1, jti: randomUUID() })
    const verifications = (token: string) => {
      const before = signatures()
      servicesOf(app).accessTokens.verify(token)
      return signatures() - before
    }
    t.same([verifications(first), verifications(first)], [1, 0])
    for (let i = 0; i < 5_000; i++) verify({})
    t.equal(verifications(first), 0, 'many others do not push it out')
    for (let i = 0; i < 20_000; i++) verify({})
    t.equal(verifications(first), 1, 'what is kept is bounded')

    const long = signToken({ ...times(), user_id: 1, jti: randomUUID(), more: 'x'.repeat(600) })
    t.same([verifications(long), verifications(long)], [1, 1], 'and so is the length of each')
  })
})

t.test('tokens.findOwner · SQLite, reads and writes in one turn of the event loop → each read sees what was committed before it', async (t) => {
  const app = await buildOn(databases[0])(t)
  const { store: { db, tables }, tokens } = servicesOf(app)
  const token = await tokenOf(app)
  const { jti: tokenId } = claimsOf(token)
  const find = () => tokens.findOwner({ userId: 1, tokenId })
  // Asked before, between and after writes of one and the same turn.
  const answers = [find(), find()]
  await db.delete(tables.tokens)
  answers.push(find(), find())
  for (const owner of await Promise.all(answers)) t.match(owner, { username: 'bob', tokenUserId: null })
  t.equal(await tokens.findOwner({ userId: 2, tokenId }), undefined)
})

t.test('validateTimeClaims, isUserId, isTokenId · valid, expired and invalid claims', async (t) => {
  const now = 1_000_000
  const judge = (claims: object) => validateTimeClaims({ iat: now, exp: now + 10, ...claims }, now)
  t.equal(judge({}), 'valid')
  t.equal(judge({ exp: now + 31_536_000 }), 'valid')
  t.equal(judge({ iat: now + 60, nbf: now + 60, exp: now + 120 }), 'valid', 'a clock may run ahead a little')
  t.equal(judge({ iat: now - 20, exp: now }), 'expired')
  for (const claims of [
    { exp: undefined }, { iat: undefined }, { exp: '2000000' }, { iat: '1' }, { exp: null }, { exp: Infinity }, { exp: NaN },
    { exp: now + 31_536_001 }, { iat: now - 5, exp: now - 6 }, { iat: now + 61, exp: now + 120 }, { nbf: now + 61 }, { nbf: 'now' }, { nbf: null }
  ]) {
    t.equal(judge(claims), 'invalid', JSON.stringify(claims))
  }
  for (const id of [1, Number.MAX_SAFE_INTEGER]) t.ok(isUserId(id))
  for (const id of [0, -1, 1.5, Number.MAX_SAFE_INTEGER + 1, '1', null, undefined, [1], {}, true, NaN, Infinity]) t.notOk(isUserId(id), String(id))
  t.ok(isTokenId('4e808214-e320-4173-bb6c-b75fbdd51003'))
  for (const id of ['', '4E808214-E320-4173-BB6C-B75FBDD51003', '4e808214', '4e808214-e320-4173-bb6c-b75fbdd5100\0', 1, null]) t.notOk(isTokenId(id))
})

t.test('registration · secretKey that is easy to guess → TypeError', async (t) => {
  const app = Fastify()
  app.register(latchkey, { databaseUrl: 'sqlite://', secretKey: 'changeme', tokenTtlSeconds: 60, signup: 'open', loginErrors: 'detailed', passwordMinLength: 8, passwordBlocklist: 'on' })
  await t.rejects(async () => app.ready(), { name: 'TypeError', message: /secretKey must be a secret of at least 32 bytes/ })
})
