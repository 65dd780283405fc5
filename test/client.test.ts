import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { build as bundle } from 'esbuild'
import Fastify, { type FastifyInstance, type FastifyPluginAsync, type FastifyPluginCallback } from 'fastify'
import fp from 'fastify-plugin'
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { createClient, type ErrorCode, isLatchkeyError, type LatchkeyError, type Schemas } from '../src/client/index.js'
import latchkey, { type Mail } from '../src/index.js'
import { asUser, createTestClock, testLatchkey, testOptions } from '../src/testing.js'
import { servicesOf } from '../src/services.js'
import { bob, build, claimsOf, signToken, until } from './helper.js'

/** The server on a socket, and a client for it. */
async function clientOf (t: Test, app: FastifyInstance, options = {}) {
  const baseUrl = await app.listen({ host: '127.0.0.1', port: 0 })
  t.teardown(() => app.close())
  return createClient({ baseUrl, ...options })
}

t.test('latchkey/client', async (t) => {
  t.test('signs up, logs in, keeps the token, logs out', async (t) => {
    const client = await clientOf(t, await build(t))
    const signup = await client.POST('/api/v1/signup', { body: bob })
    t.match(signup.data, { msg: 'welcome :-)', user: { id: 1, username: 'bob' } })
    t.equal(client.token, undefined)
    t.equal((await client.POST('/api/v1/signup', { body: { ...bob, username: 'carol', invite: 'a code' } })).error?.code, 'CODE_INVALID')

    const wrong = await client.login({ ...bob, password: 'wrong' })
    t.equal(wrong.error?.code, 'PASSWORD_INCORRECT')
    t.equal(wrong.response.status, 401)
    t.equal(client.token, undefined)
    const login = await client.login(bob)
    t.equal(client.token, login.data?.token)

    const { data: me } = await client.GET('/api/v1/me')
    t.match(me, { username: 'bob', roles: [] })
    const { data: made } = await client.POST('/api/v1/tokens', { body: { description: 'backup script' } })
    const { data: list } = await client.GET('/api/v1/tokens')
    t.equal(list?.tokens.length, 2)
    t.equal((await client.DELETE('/api/v1/tokens/{id}', { params: { path: { id: String(made?.id) } } })).data?.msg, 'the token has been deleted')
    t.match((await client.GET('/api/v1/me/events', { params: { query: { kind: 'login', limit: 1 } } })).data?.events, [{ kind: 'login' }])
    const welcome = 'if you see this, that means your token is valid'
    t.equal((await client.GET('/need_login', { parseAs: 'text' })).data, welcome)
    const plain = await client.GET('/need_login')
    t.same([plain.data, plain.response.status, plain.response.headers.get('content-type')], [welcome, 200, 'text/plain; charset=utf-8'], 'by the content type')
    t.match(plain.response.url, /^http:.*\/need_login$/)
    t.equal((await client.GET('/api/v1/need_login')).data, welcome)
    t.equal((await client.GET('/')).data, 'Hello, World!')
    t.match((await client.GET('/admin')).error, { code: 'ROLE_REQUIRED' })
    t.match((await client.GET('/api/v1/me/events')).data?.events[0], { kind: 'revocation' }, 'limit has a default')

    t.same((await client.logout()).data, { msg: 'logged out' })
    t.equal(client.token, undefined)
    t.equal((await client.GET('/api/v1/me')).error?.code, 'AUTHORIZATION_MISSING')
    t.equal((await client.logout()).error?.code, 'AUTHORIZATION_MISSING')
  })

  t.test('begins with a token; a login in the middle of a logout stays', async (t) => {
    const app = await build(t)
    const { token } = await asUser(app, 'bob')
    const client = await clientOf(t, app, { token })
    t.equal((await client.GET('/api/v1/me')).data?.username, 'bob')
    const leaving = client.logout()
    client.token = (await asUser(app, 'alice')).token
    await leaving
    t.equal((await client.GET('/api/v1/me')).data?.username, 'alice')
  })

  t.test('errors are typed by their codes, each call with its own', async (t) => {
    const client = await clientOf(t, await build(t))
    const { error } = await client.POST('/api/v1/signup', { body: { username: 'b b', password: '1' } })
    // That this compiles is the test.
    const code: 'VALIDATION_FAILED' | 'USERNAME_TAKEN' | 'EMAIL_TAKEN' | 'SIGNUP_CLOSED' | 'INVITE_REQUIRED' | 'CODE_INVALID' | 'TOO_MANY_ATTEMPTS' | 'OVERLOADED' | 'SERVICE_UNAVAILABLE' | 'BODY_MALFORMED' | 'BODY_TOO_LARGE' | 'MEDIA_TYPE_UNSUPPORTED' | 'INTERNAL_SERVER_ERROR' | undefined = error?.code
    const any: LatchkeyError | undefined = error
    const codes: ErrorCode[] = ['LAST_ADMIN', 'TOKEN_REVOKED']
    const user: Schemas['User'] = { id: 1, username: 'bob', email: null, email_verified: false, created_at: '' }
    // @ts-expect-error -- no code of the contract
    codes.push('NONSENSE')
    // @ts-expect-error -- no route of the contract
    t.equal((await client.GET('/nothing')).response.status, 404)
    t.ok(code === 'VALIDATION_FAILED' && isLatchkeyError(any) && isLatchkeyError({ statusCode: 418, code: 'NEW' }) && user.id === 1)
    for (const other of [undefined, null, '<html>', {}, { code: 5, statusCode: 1 }, { code: 'E' }]) t.notOk(isLatchkeyError(other))
  })

  t.test('finds an app that has its routes elsewhere, behind a path of its own', async (t) => {
    const app = Fastify()
    await app.register(latchkey, testOptions({ prefix: '/auth' }))
    const client = await clientOf(t, app, { prefix: '/auth' })
    t.equal((await client.POST('/api/v1/signup', { body: bob })).response.status, 200)
    t.equal((await client.login(bob)).data?.token_type, 'Bearer')
    t.equal((await client.GET('/api/v1/me')).data?.username, 'bob')
    t.match(await client.GET('/need_login'), { error: { message: 'Route GET:/need_login not found' } }, 'what is not under the prefix stays where it is')
    const sent: string[] = []
    const elsewhere = createClient({
      baseUrl: 'https://example.com/login/',
      fetch: async ({ url }) => {
        sent.push(url)
        return new Response('<html>bad gateway</html>', { status: 502 })
      }
    })
    const { error } = await elsewhere.login(bob)
    t.notOk(isLatchkeyError(error))
    t.same(sent, ['https://example.com/login/api/v1/login'])
  })

  t.test('wherever it is, it is asked there and nowhere else, and the token goes nowhere else', async (t) => {
    const sent: Array<[string, string | null]> = []
    const clientAt = (options: { baseUrl: string, prefix?: string }) => createClient({
      ...options,
      token: 'the-token',
      fetch: async ({ url, headers }) => {
        sent.push([url, headers.get('authorization')])
        return new Response('{}', { headers: { 'content-type': 'application/json' } })
      }
    })
    for (const [baseUrl, prefix, url] of [
      ['https://example.com', undefined, 'https://example.com/api/v1/login'],
      ['https://example.com/', '/auth', 'https://example.com/auth/login'],
      ['https://example.com', 'auth', 'https://example.com/auth/login'],
      ['https://example.com', '/auth/', 'https://example.com/auth/login'],
      ['https://example.com', '/', 'https://example.com/login'],
      ['http://example.com:80', '/auth', 'http://example.com/auth/login'],
      ['https://example.com/a b/', '/auth', 'https://example.com/a%20b/auth/login'],
      ['https://example.com/x/../y', '/auth', 'https://example.com/y/auth/login'],
      ['https://üx.de', '/auth', 'https://xn--x-dha.de/auth/login']
    ] as const) {
      sent.length = 0
      await clientAt({ baseUrl, prefix }).login(bob)
      t.same(sent, [[url, 'Bearer the-token']])
    }
    sent.length = 0
    const client = clientAt({ baseUrl: 'https://example.com', prefix: '/auth' })
    await client.GET('/api/v1/me', { baseUrl: 'https://elsewhere.example' })
    await client.GET('/api/v1/me', { headers: { authorization: 'Bearer of-another' } })
    t.same(sent, [['https://elsewhere.example/api/v1/me', null], ['https://example.com/auth/me', 'Bearer of-another']])
  })

  t.test('renew · more than half of the lifetime is over → renewed once, before many requests at once; onToken hears of each token', async (t) => {
    const clock = createTestClock(new Date(Date.now() - 80_000_000))
    const app = await build(t, {}, { now: clock.now })
    const told: Array<string | undefined> = []
    const client = await clientOf(t, app, { renew: true, onToken: (token?: string) => told.push(token) })
    await client.POST('/api/v1/signup', { body: bob })
    const renewals = async () => (await servicesOf(app).audit.list({ kind: 'renewal' }, 100)).length
    const first = (await client.login(bob)).data?.token
    clock.set(new Date())
    const answers = await Promise.all(Array.from({ length: 10 }, () => client.GET('/api/v1/me')))
    t.same(answers.map(({ data }) => data?.username), Array.from({ length: 10 }, () => 'bob'))
    t.equal(await renewals(), 0, 'not yet')

    clock.set(new Date(Date.now() - 100_000_000))
    const second = (await client.login(bob)).data?.token
    clock.set(new Date())
    await Promise.all(Array.from({ length: 10 }, () => client.GET('/api/v1/tokens')))
    t.equal(await renewals(), 1)
    const third = client.token
    t.not(third, second)
    t.ok(claimsOf(String(third)).exp > claimsOf(String(second)).exp)
    clock.advance(60)
    t.equal((await client.GET('/api/v1/me')).data?.username, 'bob', 'with the new token')
    t.equal(await renewals(), 1)
    await client.logout()
    t.same(told, [first, second, third, undefined])
  })

  t.test('renew · which requests it precedes, and what becomes of failures', async (t) => {
    const nowSeconds = () => Math.floor(Date.now() / 1_000)
    const dueToken = (id: number, lifetimeSeconds = 1_000) => signToken({ user_id: id, jti: 'x', iat: nowSeconds() - 600, exp: nowSeconds() - 600 + lifetimeSeconds })
    const freshToken = () => signToken({ user_id: 1, jti: 'new', iat: nowSeconds(), exp: nowSeconds() + 1_000 })
    const json = (status: number, body: object) => new Response(JSON.stringify(body), { status, headers: { 'content-type': 'application/json' } })
    const login = (token: string) => json(200, { token, token_type: 'Bearer', expires_in: 1_000 })
    /** A client of a server that only renews, and the paths and tokens that it was asked with. */
    const clientFor = (token: string, renew: () => Response | Promise<Response>, options: object = {}) => {
      const sent: Array<[string, string | undefined]> = []
      const client = createClient({
        baseUrl: 'https://example.com',
        renew: true,
        token,
        fetch: async ({ url, headers }) => {
          const { pathname } = new URL(url)
          sent.push([pathname.replace('/api/v1', ''), headers.get('authorization')?.slice(7)])
          return pathname.endsWith('/renew') ? await renew() : json(200, { token: freshToken() })
        },
        ...options
      })
      return { client, sent }
    }

    t.test('off by default; a token that is young, or no token of ours → it is left alone', async (t) => {
      for (const [token, options] of [[dueToken(1), { renew: false }], [dueToken(1), { renew: undefined }], [freshToken(), {}], ['x', {}], ['a.b.c', {}], [`a.${Buffer.from('null').toString('base64url')}.c`, {}], [signToken({ iat: 1 }), {}], [signToken({ iat: '1', exp: 2 }), {}]] as const) {
        const { client, sent } = clientFor(token, () => login(freshToken()), options)
        await client.GET('/api/v1/me')
        t.same(sent, [['/me', token]])
      }
    })

    t.test('not before a login, a logout or a renewal, nor for another server or with an Authorization header of its own', async (t) => {
      const due = dueToken(1)
      const { client, sent } = clientFor(due, () => json(500, {}))
      await client.GET('/api/v1/me', { baseUrl: 'https://elsewhere.example' })
      await client.GET('/api/v1/me', { headers: { authorization: 'Bearer another' } })
      await client.POST('/api/v1/renew')
      await client.POST('/api/v1/logout')
      await client.login(bob)
      t.same(sent, [['/me', undefined], ['/me', 'another'], ['/renew', due], ['/logout', due], ['/login', due]])
    })

    t.test('no response, 429 or 5xx → the request goes out with the old token, and the next one tries again', async (t) => {
      for (const failing of [() => json(503, { code: 'SERVICE_UNAVAILABLE', statusCode: 503 }), () => json(429, {}), () => { throw new TypeError('fetch failed') }]) {
        const due = dueToken(1)
        const { client, sent } = clientFor(due, failing)
        for (let i = 0; i < 2; i++) t.equal((await client.GET('/api/v1/me')).response.status, 200)
        t.same(sent, [['/renew', due], ['/me', due], ['/renew', due], ['/me', due]])
      }
    })

    t.test('401 LOGIN_TOO_OLD, or another refusal → not asked again for this token, but for the next one', async (t) => {
      for (const status of [401, 403, 404]) {
        const [due, next] = [dueToken(1), dueToken(2)]
        const { client, sent } = clientFor(due, () => json(status, { statusCode: status, code: 'LOGIN_TOO_OLD' }))
        for (let i = 0; i < 2; i++) await client.GET('/api/v1/me')
        t.equal(client.token, due)
        client.token = next
        await client.GET('/api/v1/me')
        t.same(sent, [['/renew', due], ['/me', due], ['/me', due], ['/renew', next], ['/me', next]])
      }
    })

    t.test('a new token that ends no later, or looks old at once, or cannot be read → it is not renewed over and over', async (t) => {
      for (const renewed of [dueToken(2, 1_000), dueToken(2, 1_100), 'x']) {
        const due = dueToken(1)
        const { client, sent } = clientFor(due, () => login(renewed))
        for (let i = 0; i < 2; i++) await client.GET('/api/v1/me')
        t.same(sent, [['/renew', due], ['/me', renewed], ['/me', renewed]])
      }
    })

    t.test('a login while a token is renewed → its token stays; a logout waits, and revokes the new one', async (t) => {
      const [due, renewed, other] = [dueToken(1), freshToken(), dueToken(3)]
      let answer = (_: Response) => {}
      const { client, sent } = clientFor(due, () => new Promise((resolve) => { answer = resolve }))
      const asking = client.GET('/api/v1/me')
      while (sent.length === 0) await new Promise(setImmediate)
      const leaving = client.logout()
      answer(login(renewed))
      await Promise.all([asking, leaving])
      t.same(sent.sort(), [['/logout', renewed], ['/me', renewed], ['/renew', due]])
      t.equal(client.token, undefined)

      sent.length = 0
      client.token = due
      const again = client.GET('/api/v1/me')
      while (sent.length === 0) await new Promise(setImmediate)
      client.token = other
      answer(login(renewed))
      await again
      t.same([client.token, sent], [other, [['/renew', due], ['/me', other]]])
    })
  })

  t.test('is under 10 kB minified, and needs nothing of Node', async (t) => {
    const { outputFiles: [file], metafile } = await bundle({ entryPoints: [join(import.meta.dirname, '../src/client/index.ts')], bundle: true, minify: true, format: 'esm', platform: 'browser', write: false, metafile: true })
    t.comment(`${file?.contents.length} bytes`)
    t.ok(Number(file?.contents.length) < 10_000)
    t.notOk(Object.keys(metafile.inputs).some((input) => input.startsWith('node:')))
    t.notMatch(readFileSync(join(import.meta.dirname, '../src/client/index.ts'), 'utf8'), /node:|process\.|Buffer/)
  })
})

t.test('latchkey/testing', async (t) => {
  t.test('an app in memory, a clock that is moved, people who are logged in', async (t) => {
    const { app, asUser, clock } = await testLatchkey(async (app) => {
      app.get('/editors', { preHandler: [app.requireRole('editor', 'admin')] }, async ({ currentUser }) => currentUser.username)
    })
    t.teardown(() => app.close())
    const bob = await asUser('bob', { roles: ['editor'], email: 'bob@example.com' })
    t.match(bob.user, { id: 1, username: 'bob', email: 'bob@example.com' })
    t.equal((await bob.inject('/editors')).body, 'bob')
    t.equal((await bob.inject({ url: '/editors', headers: { 'x-other': '1' } })).body, 'bob')
    t.equal((await bob.inject({ url: '/editors', headers: { authorization: 'x.y.z' } })).statusCode, 401)
    const alice = await asUser('alice')
    t.equal((await alice.inject('/editors')).statusCode, 403)
    t.equal((await asUser('alice', { roles: ['admin'] })).user.id, alice.user.id, 'the same alice')
    t.equal((await alice.inject('/editors')).body, 'alice')
    t.equal((await app.inject({ method: 'POST', url: '/api/v1/login', payload: { username: 'alice', password: 'correct horse battery staple' } })).statusCode, 200)
    clock.advance(172_799)
    t.equal((await bob.inject('/editors')).statusCode, 200)
    clock.advance(1)
    t.equal((await bob.inject('/editors')).json().code, 'TOKEN_EXPIRED')
    clock.set(new Date('2030-01-01'))
    t.equal(clock.now(), Date.UTC(2030, 0, 1))
    t.equal((await (await asUser('bob')).inject('/editors')).statusCode, 200)
    await t.rejects(asUser('carol', { email: 'BOB@example.com' }), { name: 'TypeError', message: 'carol cannot be made: the email is taken' })
    await t.rejects(asUser('c c'), TypeError)
    await t.rejects(asUser('dave', { roles: ['Bad Role'] }), { name: 'TypeError', message: /^the role Bad Role may only contain/ })
    const frank = await asUser('frank')
    await app.latchkey.users.disable(frank.user.id)
    await t.rejects(asUser('frank'), { name: 'TypeError', message: 'frank cannot log in: the account is disabled' })
    t.same((await Promise.all([asUser('erin'), asUser('erin')])).map(({ user }) => user.username), ['erin', 'erin'], 'two at once')
  })

  t.test('asUser · loggedInSecondsAgo → the login with the password is that old, the token is new', async (t) => {
    const { app, asUser } = await testLatchkey((app) => {
      app.get('/recent', { preHandler: [app.requireRecentLogin(60)] }, async ({ currentUser }) => currentUser.username)
    })
    t.teardown(() => app.close())
    const bob = await asUser('bob', { loggedInSecondsAgo: 60 })
    t.equal((await bob.inject('/recent')).body, 'bob')
    const late = await asUser('bob', { loggedInSecondsAgo: 61 })
    t.match((await late.inject('/recent')).json(), { code: 'LOGIN_TOO_OLD' })
    t.equal((await late.inject('/api/v1/me')).statusCode, 200)
    t.equal((await late.inject({ method: 'POST', url: '/api/v1/renew' })).statusCode, 200)
    t.equal((await (await asUser('bob', { loggedInSecondsAgo: 2_592_000 })).inject({ method: 'POST', url: '/api/v1/renew' })).json().code, 'LOGIN_TOO_OLD')
    t.equal((await (await asUser('bob')).inject('/recent')).body, 'bob')
  })

  t.test('routes as a function or as a plugin of any kind, with its options', async (t) => {
    const greet: FastifyPluginAsync<{ greeting: string }> = async (app, { greeting }) => { app.get('/greeting', async () => greeting) }
    const callBack: FastifyPluginCallback<{ greeting: string }> = (app, { greeting }, done) => {
      app.get('/greeting', async () => greeting)
      setImmediate(done)
    }
    const withDefault = async (app: FastifyInstance, { greeting } = { greeting: 'x' }) => { app.get('/greeting', async () => greeting) }
    const plain: FastifyPluginAsync = async (app) => { app.get('/greeting', async () => 'hello') }
    const options = { greeting: 'hello' }
    for (const made of [
      testLatchkey(greet, {}, options), testLatchkey(fp(greet), {}, options), testLatchkey(callBack, {}, options), testLatchkey(withDefault, {}, options),
      testLatchkey(plain), testLatchkey((app) => { app.get('/greeting', async () => 'hello') }), testLatchkey((app) => app.register(greet, options))
    ]) {
      const { app } = await made
      t.equal((await app.inject('/greeting')).body, 'hello')
      await app.close()
    }
    await t.rejects(testLatchkey((app, given, done) => done(new Error('not today'))), { message: 'not today' })
  })

  t.test('apps of any type · http2, loggerInstance → guards and asUser compile and work', async (t) => {
    const http2 = Fastify({ http2: true })
    const logged = Fastify({ loggerInstance: pino({ level: 'silent' }) })
    t.teardown(() => Promise.all([http2.close(), logged.close()]))
    await http2.register(latchkey, testOptions())
    await logged.register(latchkey, testOptions())
    http2.get('/mine', { preHandler: [http2.authenticate] }, async ({ currentUser }) => currentUser.username)
    http2.get<{ Params: { id: string } }>('/editors/:id', { onRequest: [http2.requireRole('editor')] }, async ({ currentUser }) => currentUser.username)
    http2.addHook('preValidation', http2.authenticateWithRoles)
    logged.get('/mine', { preHandler: logged.authenticate }, async ({ currentUser }) => currentUser.username)
    logged.get<{ Params: { id: string } }>('/editors/:id', { onRequest: [logged.requireRole('editor')] }, async ({ currentUser }) => currentUser.username)
    logged.addHook('preValidation', logged.authenticateWithRoles)
    for (const { inject } of [await asUser(http2, 'bob', { roles: ['editor'] }), await asUser(logged, 'bob', { roles: ['editor'] })]) {
      for (const url of ['/mine', '/editors/1']) t.equal((await inject(url)).body, 'bob')
    }
  })

  t.test('mails → in the outbox, unless the options send them', async (t) => {
    const { app, asUser, outbox } = await testLatchkey()
    t.teardown(() => app.close())
    const { user } = await asUser('bob', { email: 'bob@example.com', emailVerified: true })
    t.equal(user.emailVerified, true)
    t.equal((await asUser('alice', { emailVerified: true })).user.emailVerified, false, 'without an email there is none to verify')
    t.equal((await app.inject({ method: 'POST', url: '/api/v1/password-reset', payload: { email: 'bob@example.com' } })).statusCode, 202)
    await until(() => outbox.length === 1)
    t.match(outbox, [{ kind: 'password_reset', to: 'bob@example.com', code: String, url: undefined }])
    const payload = { code: outbox[0]?.code, new_password: 'incorrect donkey charger clip' }
    t.equal((await app.inject({ method: 'PUT', url: '/api/v1/password-reset', payload })).statusCode, 204)
    t.equal((await app.inject({ method: 'POST', url: '/api/v1/login', payload: { username: 'bob', password: payload.new_password } })).statusCode, 200)

    const sent: Mail[] = []
    for (const options of [{ sendMail: async (mail: Mail) => sent.push(mail) }, { smtpUrl: 'smtp://127.0.0.1:1', mailFrom: 'login@example.com' }]) {
      const other = await testLatchkey(() => {}, options)
      const { user } = await other.asUser('bob', { email: 'bob@example.com', emailVerified: true })
      await other.app.latchkey.users.setPassword(user.id, 'incorrect donkey charger clip')
      await other.app.close()
      t.same(other.outbox, [])
    }
    t.match(sent, [{ kind: 'password_changed', to: 'bob@example.com' }])
  })

  t.test('an app of one\'s own, with options of one\'s own', async (t) => {
    const clock = createTestClock(new Date('2026-11-24T20:44:00Z'))
    const app = Fastify()
    t.teardown(() => app.close())
    app.register(latchkey, testOptions({ now: clock.now, signup: 'closed', prefix: '/auth' }))
    const { user, inject } = await asUser(app, 'bob', { password: 'incorrect donkey charger clip' })
    t.equal(user.createdAt.toISOString(), '2026-11-24T20:44:00.000Z')
    t.match((await inject('/auth/me')).json(), { username: 'bob', roles: [] })
    t.equal((await app.inject({ method: 'POST', url: '/auth/signup', payload: bob })).statusCode, 403)
    t.equal((await (await testLatchkey()).app.inject('/api/v1/me')).statusCode, 400)
  })
})
