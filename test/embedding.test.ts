import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import fastifyJwt from '@fastify/jwt'
import swagger from '@fastify/swagger'
import { transformSync } from 'esbuild'
import Fastify, { type FastifyInstance, type RouteOptions } from 'fastify'
import t, { type Test } from 'tap'
import latchkey, { AccountDisabled, EmailTaken, type ErrorCode, LastAdmin, RoleExists, RoleNotFound, RoleProtected, TooManyTokens, UsernameTaken, UserUnknown } from '../src/index.js'
import { servicesOf } from '../src/services.js'
import { asUser, type TestUser, testOptions } from '../src/testing.js'
import { databases } from './databases.js'
import { bob, build, logIn, loginHead, open, plainNode, signUp, tokenOf, until } from './helper.js'

/** An app of somebody else. */
function host (t: Test): FastifyInstance {
  const app = Fastify()
  t.teardown(() => app.close())
  return app
}

const options = testOptions()

t.test('two options are enough; the others have the defaults of the settings', async (t) => {
  const app = host(t)
  await app.register(latchkey, options)
  t.equal((await signUp(app, { ...bob, password: 'password1' })).statusCode, 422)
  await signUp(app)
  t.equal((await logIn(app)).json().expires_in, 172_800)
  t.equal((await logIn(app, { ...bob, username: 'nobody' })).statusCode, 404)
  t.equal((await app.inject('/need_login')).statusCode, 404, 'greetings are the server\'s')
})

t.test('options that cannot be stop the boot', async (t) => {
  for (const [wrong, message] of [
    [{ secretKey: 'undefined' }, 'latchkey: secretKey is missing'],
    [{ secretKey: 'undefined-undefined' }, 'latchkey: secretKey must be a secret'],
    [{ secretKeyPrevious: 'short' }, 'latchkey: secretKeyPrevious must be'],
    [{ databaseUrl: 'mysql://localhost' }, 'latchkey: databaseUrl must be like'],
    [{ databaseUrl: undefined, secretKey: undefined }, 'latchkey: databaseUrl is not set; secretKey is missing: '],
    [{ prefix: 'auth' }, 'latchkey: prefix must begin with a slash'],
    [{ prefix: '/auth/' }, 'latchkey: prefix must begin with a slash'],
    [{ now: Object(5), hashParameters: Object({ memoryCost: 'x' }) }, /hashParameters must have .*; now must be a function/],
    [Object({ tokenTTLSeconds: 5, corsOrigin: [] }), 'latchkey: tokenTTLSeconds is no option; corsOrigin is no option'],
    [{ tokenTtlSeconds: 0 }, 'latchkey: tokenTtlSeconds must be an integer from 1 to 31536000'],
    [{ tokenTtlSeconds: 1.5 }, 'latchkey: tokenTtlSeconds'],
    [{ hashQueue: -1, loginFailuresPerAccount: 1e9, signup: Object('maybe'), passwordMinLength: 4 }, /^latchkey: passwordMinLength must be .*; hashQueue must be .*; loginFailuresPerAccount must be .*; signup must be open, invite or closed$/]
  ] as const) {
    const app = host(t)
    app.register(latchkey, Object({ ...options, ...wrong }))
    await t.rejects(async () => app.ready(), { name: 'TypeError', message })
  }
})

t.test('a prefix moves the routes', async (t) => {
  const app = host(t)
  await app.register(latchkey, { ...options, prefix: '/auth' })
  t.equal((await app.inject({ method: 'POST', url: '/auth/signup', payload: bob })).statusCode, 200)
  t.equal((await signUp(app)).statusCode, 404)
})

t.test('the host may use @fastify/jwt itself, before or after', async (t) => {
  for (const order of ['before', 'after']) {
    const app = host(t)
    if (order === 'before') await app.register(fastifyJwt, { secret: 'the secret of the host' })
    await app.register(latchkey, options)
    if (order === 'after') await app.register(fastifyJwt, { secret: 'the secret of the host' })
    app.get('/mine', { preHandler: [app.authenticate] }, async ({ currentUser }) => currentUser.username)
    const token = await tokenOf(app)
    t.equal((await app.inject({ url: '/mine', headers: { authorization: token } })).body, 'bob')
    t.equal((await app.inject({ url: '/mine', headers: { authorization: app.jwt.sign({ user_id: 1 }) } })).statusCode, 401, order)
  }
})

t.test('compilers and schemas of the host change nothing of ours, and ours nothing of the host\'s', async (t) => {
  const app = host(t)
  app.setValidatorCompiler(() => () => true)
  app.setSerializerCompiler(() => () => '"the host"')
  app.addSchema({ $id: 'User', type: 'object' })
  app.addSchema({ $id: 'ErrorResponse', type: 'object' })
  await app.register(latchkey, options)
  app.post('/theirs', { schema: { body: { type: 'object', required: ['x'] }, response: { 200: { type: 'object' } } } }, async () => ({}))
  t.match((await signUp(app, { username: 'b b', password: '1' })).json(), { statusCode: 422, code: 'VALIDATION_FAILED' })
  t.match((await signUp(app)).json(), { msg: 'welcome :-)', user: { id: 1 } })
  t.equal((await app.inject({ method: 'POST', url: '/theirs', payload: {} })).body, '"the host"')
})

t.test('the document of the host stays a document; guarded routes refer to the scheme that it names', async (t) => {
  const document = async (scheme: { type: 'http', scheme: 'bearer' } | undefined, securityScheme?: string) => {
    const app = host(t)
    await app.register(swagger, { openapi: { openapi: '3.1.0', components: { securitySchemes: scheme === undefined ? {} : { theirs: scheme } } } })
    await app.register(latchkey, { ...options, securityScheme })
    app.get('/mine', { preHandler: [app.authenticate], schema: { response: { 200: { type: 'string' } } } }, async () => '')
    if (scheme !== undefined) app.get('/own', { preHandler: [app.authenticate], schema: { security: [{ theirs: ['x'] }] } }, async () => '')
    await app.ready()
    return JSON.parse(JSON.stringify(app.swagger()))
  }
  const plain = await document(undefined)
  t.notOk('security' in plain.paths['/mine'].get)
  t.ok(plain.paths['/api/v1/login'].post)
  const named = await document({ type: 'http', scheme: 'bearer' }, 'theirs')
  t.same(named.paths['/mine'].get.security, [{ theirs: [] }])
  t.same(named.paths['/own'].get.security, [{ theirs: ['x'] }], 'what the host says of its own route stands')
  t.same(named.paths['/api/v1/me'].get.security, [{ theirs: [] }])
})

const documented = { openapi: { openapi: '3.1.0', components: { securitySchemes: { theirs: { type: 'http', scheme: 'bearer' } } } } } as const

t.test('the document of the host · guarded routes list the answers of their guards, also of those that a scope got by addHook', async (t) => {
  for (const order of ['before', 'after']) {
    const app = host(t)
    app.setErrorHandler((error, request, reply) => reply.send(error))
    if (order === 'before') await app.register(swagger, documented)
    await app.register(latchkey, { ...options, securityScheme: 'theirs' })
    if (order === 'after') await app.register(swagger, documented)
    const theirs = { type: 'object', properties: { host: { type: 'string' } } }
    app.get('/open', { schema: { response: { 200: theirs } } }, async () => ({}))
    app.get('/bare', { preHandler: [app.authenticate] }, async () => '')
    app.get('/own', { onRequest: [app.requireRole('editor')], schema: { response: { 400: theirs, 403: theirs } } }, async (request, reply) => reply.code(400).send({ host: 'x', hidden: 'y' }))
    app.get('/ranges', { preValidation: app.requireRole('editor'), schema: { response: { '4XX': theirs } } }, async () => '')
    app.get('/default', { preParsing: [app.authenticate], schema: { response: { 200: theirs, default: theirs } } }, async (request, reply) => reply.code(401).send({ statusCode: 401, host: 'z' }))
    app.get('/hidden', { preHandler: [app.authenticate], schema: { hide: true } }, async () => '')
    for (const hook of ['onRequest', 'preParsing', 'preValidation', 'preHandler'] as const) {
      await app.register(async (outer) => {
        await outer.register(async (scope) => {
          scope.get('/first', { preHandler: [app.authenticate] }, async () => '')
          // What the scope gets after the route applies to it as well; what is no guard does not.
          scope.addHook(hook as 'onRequest', app.requireRole('editor'))
          scope.addHook('onSend', async () => {})
          scope.addHook('onRequest', async () => {})
        })
        outer.get('/beside', async () => '')
      }, { prefix: `/${hook}` })
    }
    await app.ready()
    const { paths } = JSON.parse(JSON.stringify(app.swagger()))
    const statusesOf = (url: string) => Object.keys(paths[url].get.responses)
    const codesOf = (url: string, status: number) => Object.keys(paths[url].get.responses[status].content['application/json'].examples)
    const guard = ['400', '401', '503']
    t.same(statusesOf('/open'), ['200'], order)
    t.same(statusesOf('/bare'), guard)
    t.same(codesOf('/bare', 400), ['AUTHORIZATION_MISSING', 'TOKEN_CLAIMS_INVALID', 'USER_NOT_FOUND'])
    t.same(codesOf('/bare', 401), ['TOKEN_INVALID', 'TOKEN_EXPIRED', 'TOKEN_REVOKED'])
    t.same(codesOf('/bare', 503), ['SERVICE_UNAVAILABLE'])
    t.same(statusesOf('/own'), ['400', '401', '403', '503'])
    for (const status of [400, 403]) t.same(paths['/own'].get.responses[status].content['application/json'].schema, theirs, 'what the host says stands')
    t.same(statusesOf('/ranges'), ['503', '4XX'])
    t.same(statusesOf('/default'), ['200', 'default'])
    t.notOk(paths['/hidden'])
    for (const hook of ['onRequest', 'preParsing', 'preValidation', 'preHandler']) {
      t.same(statusesOf(`/${hook}/first`), ['400', '401', '403', '503'], hook)
      t.same(codesOf(`/${hook}/first`, 403), ['ROLE_REQUIRED'])
      t.same(paths[`/${hook}/first`].get.security, [{ theirs: [] }])
      t.same(statusesOf(`/${hook}/beside`), ['200'])
      t.equal((await app.inject(`/${hook}/first`)).json().code, 'AUTHORIZATION_MISSING', 'and it is so')
    }
    const { inject } = await asUser(app, 'bob', { roles: ['editor'] })
    t.same((await inject('/own')).json(), { host: 'x' }, 'the schema of the host')
    t.same((await inject('/default')).json(), { host: 'z' }, 'and none of ours, shapes its answers')
  }
})

t.test('the document of the host · a guard on all routes → our own have its answers as well, but signup and login stay open', async (t) => {
  const app = host(t)
  await app.register(swagger, documented)
  await app.register(latchkey, { ...options, securityScheme: 'theirs' })
  app.addHook('preHandler', app.requireRole('member'))
  await app.ready()
  const { paths } = JSON.parse(JSON.stringify(app.swagger()))
  const { get, put } = { ...paths['/api/v1/me'], ...paths['/api/v1/me/password'] }
  const codes = ({ responses }: typeof get, status: number) => Object.keys(responses[status].content['application/json'].examples)
  t.same(codes(get, 403), ['ROLE_REQUIRED'])
  t.same(codes(put, 401), ['TOKEN_INVALID', 'TOKEN_EXPIRED', 'TOKEN_REVOKED', 'PASSWORD_INCORRECT', 'CODE_REQUIRED', 'CODE_INCORRECT'])
  t.same(Object.keys(put.responses), ['204', '400', '401', '403', '413', '415', '422', '429', '500', '503'])
  for (const url of ['/api/v1/signup', '/api/v1/login']) {
    t.same(paths[url].post.security, [])
    t.notOk('403' in paths[url].post.responses && codes(paths[url].post, 403).includes('ROLE_REQUIRED'))
  }
})

t.test('the document of the host · a hook may still replace the responses of a guarded route', async (t) => {
  const app = host(t)
  await app.register(swagger, documented)
  await app.register(latchkey, options)
  const routes: RouteOptions[] = []
  app.addHook('onRoute', (route) => { if (route.url === '/mine') routes.push(route) })
  app.get('/mine', { preHandler: [app.authenticate] }, async () => '')
  app.addHook('onReady', async () => { for (const { schema } of routes) if (schema !== undefined) schema.response = { 200: { description: 'mine', type: 'string' } } })
  await app.ready()
  t.same(Object.keys(JSON.parse(JSON.stringify(app.swagger())).paths['/mine'].get.responses), ['200'])
})

t.test('what a database says is not shown by the host either', async (t) => {
  const app = host(t)
  await app.register(latchkey, options)
  app.get('/mine', { preHandler: [app.authenticate] }, async () => '')
  app.get('/editors', { preHandler: [app.authenticate, app.requireRole('editor')] }, async () => '')
  const authorization = await tokenOf(app)
  const { db } = servicesOf(app).store
  await db.run('drop table user_roles')
  t.same((await app.inject({ url: '/editors', headers: { authorization } })).json(), { statusCode: 500, code: 'INTERNAL_SERVER_ERROR', error: 'Internal Server Error', message: 'Internal Server Error' })
  await servicesOf(app).store.close()
  t.same((await app.inject({ url: '/mine', headers: { authorization } })).json(), { statusCode: 500, code: 'INTERNAL_SERVER_ERROR', error: 'Internal Server Error', message: 'Internal Server Error' })
})

t.test('two Latchkeys in one process know nothing of each other', async (t) => {
  const [one, other] = [host(t), host(t)]
  await one.register(latchkey, options)
  await other.register(latchkey, options)
  await signUp(one)
  t.equal((await logIn(other)).statusCode, 404)
})

t.test('also two in one app, each in a scope of its own, with a document of both', async (t) => {
  const app = host(t)
  await app.register(swagger, { openapi: { openapi: '3.1.0' } })
  for (const prefix of ['/staff', '/guests']) {
    await app.register(async (scope) => {
      await scope.register(latchkey, { ...options, prefix: '/auth' })
      scope.get('/mine', { onRequest: [scope.authenticate] }, async ({ currentUser }) => currentUser.username)
    }, { prefix })
  }
  const post = (url: string) => app.inject({ method: 'POST', url, payload: bob })
  t.equal((await post('/staff/auth/signup')).statusCode, 200)
  const { token } = (await post('/staff/auth/login')).json()
  t.equal((await post('/guests/auth/login')).statusCode, 404)
  t.equal((await app.inject({ url: '/staff/mine', headers: { authorization: token } })).body, 'bob')
  t.match((await app.inject({ url: '/guests/mine', headers: { authorization: token } })).json(), { statusCode: 400, code: 'USER_NOT_FOUND' })
  const { paths } = JSON.parse(JSON.stringify(app.swagger()))
  for (const prefix of ['/staff', '/guests']) t.ok(paths[`${prefix}/auth/login`].post)
})

t.test('what the host has for itself stays: error handler, not-found handler, limits, parsers, hooks', async (t) => {
  const app = Fastify({ bodyLimit: 100_000 })
  t.teardown(() => app.close())
  app.setErrorHandler((error, request, reply) => reply.code(418).send({ host: Object(error).code ?? Object(error).message }))
  app.setNotFoundHandler((request, reply) => reply.code(404).send('nothing of the host'))
  app.addContentTypeParser('text/csv', { parseAs: 'string' }, (request, body, done) => done(null, body))
  await app.register(latchkey, options)
  app.post('/theirs', { schema: { body: { type: ['object', 'string'], properties: { count: { type: 'integer' } } } } }, async ({ body }) => body)
  app.get('/failing', async () => { throw new Error('a fault of the host') })
  app.get('/mine', { onRequest: [app.authenticate, app.requireRole('editor')] }, async ({ currentUser }) => currentUser.username)
  const theirs = (payload: string, type = 'application/json') => app.inject({ method: 'POST', url: '/theirs', payload, headers: { 'content-type': type } })
  t.same((await theirs('{"count":"5","padding":"' + 'x'.repeat(50_000) + '"}')).json().count, 5, 'its own coercion and limit')
  t.equal((await theirs('a,b', 'text/csv')).body, 'a,b')
  t.same((await app.inject('/failing')).json(), { host: 'a fault of the host' })
  t.equal((await app.inject('/nothing')).body, 'nothing of the host')
  t.same((await app.inject('/mine')).json(), { host: 'AUTHORIZATION_MISSING' }, 'the guard throws, the host answers')
  const token = await tokenOf(app)
  t.same((await app.inject({ url: '/mine', headers: { authorization: token } })).json(), { host: 'ROLE_REQUIRED' })
  await servicesOf(app).roles.create({ name: 'editor', description: 'x' })
  await servicesOf(app).roles.grant(1, 'editor')
  t.equal((await app.inject({ url: '/mine', headers: { authorization: token } })).body, 'bob')
  t.match((await signUp(app, { username: '' })).json(), { statusCode: 422, code: 'VALIDATION_FAILED' }, 'and ours are answered as ever')
})

t.test('the server validates and serializes routes that are added to it, by Fastify\'s own rules', async (t) => {
  const app = await build(t)
  app.get('/double', {
    schema: {
      hide: true,
      querystring: { type: 'object', properties: { number: { type: 'integer' } }, required: ['number'] },
      response: { 200: { type: 'object', properties: { double: { type: 'integer' } } } }
    }
  }, async ({ query }) => ({ double: 2 * Object(query).number, secret: 'not in the schema' }))
  t.same((await app.inject('/double?number=21')).json(), { double: 42 })
  for (let i = 0; i < 2; i++) t.equal((await app.inject('/double?number=x')).statusCode, 400)
})

t.test('a schema that cannot be compiled is a fault like any other', async (t) => {
  const lines: string[] = []
  const app = await build(t, { LOG_LEVEL: 'error' }, { logStream: { write: (line) => { lines.push(line) } } })
  app.get('/unread', { schema: { hide: true, querystring: { $ref: 'nothing#' } } }, async () => 'x')
  app.get('/unsaid', { schema: { hide: true, response: { 200: { type: 'object', properties: { x: { $ref: 'nothing#' } } } } } }, async () => ({ x: 1 }))
  for (const url of ['/unread', '/unsaid']) {
    t.match((await app.inject(url)).json(), { statusCode: 500, code: 'INTERNAL_SERVER_ERROR', message: 'Internal Server Error' })
  }
  t.match(lines.map((line) => JSON.parse(line)), [{ err: { message: /nothing/ } }, { err: { message: /nothing/ } }])
})

t.test('what a host sees', async (t) => {
  const namesOf = (app: FastifyInstance) => Object.keys(app).filter((name) => !name.startsWith('Symbol'))

  t.test('app · four decorators, nothing else', async (t) => {
    const app = host(t)
    const before = namesOf(app)
    await app.register(latchkey, options)
    t.same(namesOf(app).filter((name) => !before.includes(name)).sort(), ['authenticate', 'authenticateWithRoles', 'latchkey', 'requireRecentLogin', 'requireRole'])
    t.same(Object.keys(app.latchkey), ['users', 'roles', 'tokens', 'invites', 'audit', 'ping'])
  })

  t.test('request · three properties, nothing else', async (t) => {
    const [plain, app] = [host(t), host(t)]
    await app.register(latchkey, options)
    const propertiesOf = async (app: FastifyInstance) => {
      const found: string[] = []
      app.get('/names', async (request) => {
        for (let each: object = request; each !== Object.prototype; each = Object.getPrototypeOf(each)) found.push(...Object.getOwnPropertyNames(each))
        return ''
      })
      await app.inject('/names')
      return new Set(found)
    }
    const before = await propertiesOf(plain)
    t.same([...await propertiesOf(app)].filter((name) => !before.has(name)).sort(), ['currentRoles', 'currentTokenId', 'currentUser'])
  })

  t.test('decorators of the host with names of our services collide with nothing, before or after', async (t) => {
    for (const order of ['before', 'after']) {
      const app = host(t)
      const names = ['store', 'users', 'roles', 'tokens', 'audit', 'events', 'loginFailures', 'throttle', 'passwords', 'accessTokens', 'transfer', 'metrics']
      const decorate = () => { for (const name of names) app.decorate(name, `the host's ${name}`) }
      if (order === 'before') decorate()
      await app.register(latchkey, options)
      if (order === 'after') decorate()
      app.get('/mine', { preHandler: [app.requireRole('admin')] }, async () => '')
      const token = await tokenOf(app)
      t.equal((await app.inject({ url: '/mine', headers: { authorization: token } })).statusCode, 403)
      t.equal((await app.inject({ url: '/api/v1/me', headers: { authorization: token } })).json().username, 'bob')
      for (const name of names) t.equal(Reflect.get(app, name), `the host's ${name}`)
    }
  })

  t.test('request.currentUser, currentTokenId, currentRoles · read before a guard has run → an error that says so', async (t) => {
    const app = host(t)
    await app.register(latchkey, options)
    for (const name of ['currentUser', 'currentTokenId', 'currentRoles'] as const) app.get(`/${name}`, async (request) => request[name])
    for (const name of ['currentUser', 'currentTokenId', 'currentRoles']) {
      t.match((await app.inject(`/${name}`)).json(), { statusCode: 500, message: /no guard has run.*preHandler: \[app\.authenticate\]/ }, name)
    }
  })

  t.test('request.currentUser · what the host adds to it stays', async (t) => {
    const app = host(t)
    await app.register(latchkey, options)
    app.get('/mine', { preHandler: [app.authenticate, async (request) => { request.currentUser = { ...request.currentUser, username: 'someone' } }] }, async ({ currentUser }) => currentUser)
    t.match((await app.inject({ url: '/mine', headers: { authorization: await tokenOf(app) } })).json(), { id: 1, username: 'someone' })
  })

  t.test('a registration that is not awaited · preHandler: undefined is an open route, [undefined] is refused', async (t) => {
    const app = host(t)
    app.register(latchkey, options)
    app.get('/open', { preHandler: app.authenticate }, async () => 'open to anyone')
    t.throws(() => app.get('/guarded', { preHandler: [app.authenticate] }, async () => ''), { code: 'FST_ERR_HOOK_INVALID_HANDLER' })
    t.equal((await app.inject('/open')).body, 'open to anyone')
  })

  t.test('an app without a Latchkey has no services', async (t) => {
    t.throws(() => servicesOf(Object({ latchkey: {} })), /has no Latchkey/)
  })
})

for (const database of databases) {
  t.test(`app.latchkey · ${database.name}`, async (t) => {
    const app = host(t)
    await app.register(latchkey, { ...options, databaseUrl: await database.create(t) })
    const { users, roles, tokens, audit, ping } = app.latchkey
    const heard: string[] = []
    audit.subscribe(({ kind }) => { heard.push(kind) })
    await ping()

    const user = await users.create({ ...bob, email: 'bob@example.com' })
    t.match(user, { id: 1, username: 'bob', email: 'bob@example.com', createdAt: Date })
    t.same(Object.keys(user), ['id', 'username', 'email', 'emailVerified', 'createdAt'], 'no hash')
    t.match(await users.find('BOB'), user)
    t.equal(await users.find('nobody'), undefined)
    await t.rejects(users.create(bob), UsernameTaken)
    await t.rejects(users.create({ ...bob, username: 'rob', email: 'BOB@example.com' }), EmailTaken)
    await t.rejects(users.create({ username: '', email: 'x', password: 'short' }), {
      statusCode: 422,
      code: 'VALIDATION_FAILED',
      errors: [{ field: 'username', message: 'username is empty' }, { field: 'email' }, { field: 'password', message: 'password must be at least 8 characters long' }]
    })
    await t.rejects(users.create({ username: 'carol.smith', password: 'Carol.Smith' }), { code: 'VALIDATION_FAILED', message: 'password must not be the username' })
    await t.rejects(users.create({ username: '-x', password: bob.password }), { code: 'VALIDATION_FAILED' })
    await t.rejects(users.create({ username: 'x'.repeat(2_000), email: `${'x'.repeat(2_000)}@example.com`, password: bob.password }), { code: 'VALIDATION_FAILED', errors: [{ field: 'username' }, { field: 'email' }] })
    const dave = await users.create({ username: 'dave', password: bob.password })
    t.equal(dave.email, null)
    t.same((await users.list()).map(({ username }) => username), ['bob', 'dave'])

    t.same(await roles.create({ name: 'editor', description: 'May edit.' }), { name: 'editor', description: 'May edit.' })
    await t.rejects(roles.create({ name: 'editor', description: 'x' }), RoleExists)
    await t.rejects(roles.create({ name: '', description: '' }), { code: 'VALIDATION_FAILED', errors: [{ message: 'name is empty' }, { message: 'description is empty' }] })
    await roles.grant(user.id, 'editor')
    await roles.grant(user.id, 'editor')
    await roles.grant(user.id, 'admin')
    t.same(await roles.ofUser(user.id), ['admin', 'editor'])
    await t.rejects(roles.grant(user.id, 'nothing'), RoleNotFound)
    await t.rejects(roles.grant(999, 'editor'), UserUnknown)
    await t.rejects(roles.revoke(user.id, 'admin'), LastAdmin)
    await roles.revoke(user.id, 'editor')
    t.same((await roles.list()).map(({ name }) => name), ['admin', 'editor'])
    t.equal(await roles.delete('editor'), true)
    t.equal(await roles.delete('editor'), false)
    await t.rejects(roles.delete('admin'), RoleProtected)

    app.get('/mine', { preHandler: [app.authenticate] }, async ({ currentUser }) => currentUser.username)
    const ask = async (authorization: string) => (await app.inject({ url: '/mine', headers: { authorization } })).body
    const issued = await tokens.issue(user.id, { description: 'backup script', expiresInSeconds: 60 })
    t.equal(await ask(issued.token), 'bob')
    t.match(await tokens.list(user.id), [{ id: issued.id, description: 'backup script' }])
    for (const expiresInSeconds of [0, 1.5, 31_536_001]) await t.rejects(tokens.issue(user.id, { description: 'x', expiresInSeconds }), { code: 'VALIDATION_FAILED' })
    await t.rejects(tokens.issue(999, { description: 'x' }), UserUnknown)
    await t.rejects(tokens.issue(NaN, { description: 'x' }), UserUnknown)
    t.equal(await tokens.revoke(dave.id, issued.id), false, 'not of another user')
    t.equal(await tokens.revoke(user.id, 'no id'), false)
    t.equal(await tokens.revoke(user.id, issued.id), true)
    t.match(await ask(issued.token), 'TOKEN_REVOKED')
    for (let i = 0; i < 99; i++) await tokens.issue(user.id, { description: 'x' })
    await t.rejects(tokens.issue(user.id, { description: 'x' }), TooManyTokens)
    t.equal(await tokens.revokeAll(user.id), true)
    t.equal(await tokens.revokeAll(user.id), false)

    const { token } = (await logIn(app)).json()
    await t.rejects(users.setPassword(user.id, 'bob@example.com'), { code: 'VALIDATION_FAILED', message: 'password must not be the email' })
    await t.rejects(users.setPassword(999, bob.password), UserUnknown)
    await users.setPassword(user.id, 'incorrect donkey charger clip')
    t.match(await ask(token), 'TOKEN_REVOKED')
    t.equal((await logIn(app)).statusCode, 401)
    t.equal((await logIn(app, { ...bob, password: 'incorrect donkey charger clip' })).statusCode, 200)

    await t.rejects(users.delete(user.id), LastAdmin)
    await t.rejects(users.disable(user.id), LastAdmin)
    for (const id of [999, NaN]) {
      t.equal(await users.disable(id), false)
      t.equal(await users.enable(id), false)
      await t.rejects(users.startPasswordReset(id), UserUnknown)
    }
    for (const attempt of ['once', 'twice']) t.equal(await users.disable(dave.id), true, attempt)
    t.match((await logIn(app, { ...bob, username: 'dave' })).json(), { code: 'ACCOUNT_DISABLED' })
    await t.rejects(tokens.issue(dave.id, { description: 'x' }), AccountDisabled)
    for (const attempt of ['once', 'twice']) t.equal(await users.enable(dave.id), true, attempt)
    const { code, url, expiresAt } = await users.startPasswordReset(dave.id, { expiresInSeconds: 60 })
    t.same([code.length, url, expiresAt.getTime() - Date.now() <= 60_000], [24, null, true])
    t.ok((await users.startPasswordReset(dave.id)).expiresAt.getTime() - Date.now() > 86_000_000)
    for (const expiresInSeconds of [59, 60.5, 604_801]) await t.rejects(users.startPasswordReset(dave.id, { expiresInSeconds }), { code: 'VALIDATION_FAILED' })
    const { disable } = servicesOf(app).users
    Object.assign(servicesOf(app).users, {
      async disable (id: number) {
        await servicesOf(app).users.delete(id)
        return await disable(id)
      }
    })
    t.equal(await users.disable((await users.create({ ...bob, username: 'erin' })).id), false, 'deleted concurrently')
    t.equal(await users.delete(dave.id), true)
    t.equal(await users.delete(dave.id), false)
    const events = await audit.list({}, 200)
    t.match(events.filter(({ source }) => source === 'http').map(({ kind }) => kind), ['login_failure', 'login', 'login_failure', 'login'])
    t.match(events.filter(({ source, kind }) => source === 'app' && kind !== 'token_creation').map(({ kind, detail }) => detail === null ? kind : `${kind} ${detail}`), [
      'deletion', 'signup', 'reset_request', 'reset_request', 'enabling', 'disabling', 'password_change', 'revocation all', /^revocation /, 'role_change deleted editor', 'role_change revoked editor',
      'role_change granted admin', 'role_change granted editor', 'role_change granted editor', 'role_change created editor', 'signup', 'signup'
    ])
    t.equal(heard.length, events.length)
  })
}

for (const database of databases) {
  t.test(`modules of node:vm, as in Jest · import.meta has only a url → Latchkey starts and reads its files · ${database.name}`, async (t) => {
    const program = `
      import { testLatchkey } from '../src/testing.js'
      if (import.meta.dirname !== undefined) throw new Error('this is like a module of Node')
      const { app, asUser } = await testLatchkey(() => {}, { databaseUrl: '${await database.create(t)}' })
      const signUp = await app.inject({ method: 'POST', url: '/api/v1/signup', payload: { username: 'carol', password: 'password1' } })
      console.log((await (await asUser('bob')).inject('/api/v1/me')).json().username + ': ' + signUp.json().message)
      await app.close()`
    const [command, ...args] = [...plainNode, '--no-warnings', '--experimental-vm-modules', join(import.meta.dirname, 'vm-modules.js')]
    const { stdout, stderr } = spawnSync(String(command), args, { input: program, encoding: 'utf8' })
    t.equal(`${stdout}${stderr}`, 'bob: password is one of the most common passwords\n')
  })
}

t.test('a guard on all routes of an app · signup and login stay open, everything else is guarded', async (t) => {
  for (const hook of ['onRequest', 'preHandler'] as const) {
    const app = host(t)
    await app.register(latchkey, options)
    app.addHook(hook, hook === 'onRequest' ? app.authenticate : app.requireRole('editor'))
    app.get('/mine', async () => 'mine')
    app.post('/mine', { config: { latchkey: 'public' } }, async () => 'mine')
    t.equal((await signUp(app)).statusCode, 200, hook)
    t.match((await logIn(app, { ...bob, password: 'wrong' })).json(), { code: 'PASSWORD_INCORRECT' })
    const { token } = (await logIn(app)).json()
    t.match((await app.inject('/mine')).json(), { code: 'AUTHORIZATION_MISSING' })
    t.match((await app.inject({ method: 'POST', url: '/mine', payload: {} })).json(), { code: 'AUTHORIZATION_MISSING' })
    t.match((await app.inject('/api/v1/me')).json(), { code: 'AUTHORIZATION_MISSING' })
    t.match((await app.inject({ url: '/mine', headers: { authorization: token } })).body, hook === 'onRequest' ? 'mine' : /ROLE_REQUIRED/)
    t.equal((await app.inject({ method: 'POST', url: '/api/v1/login', payload: bob, headers: { authorization: 'Bearer x.y.z' } })).statusCode, 200, 'a token that is invalid does not matter there')
  }
})

t.test('a guard on all routes of an app · token revoked while the body of a login is held back → login goes on', async (t) => {
  const app = host(t)
  await app.register(latchkey, options)
  app.addHook('onRequest', app.authenticate)
  const token = await tokenOf(app)
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  const body = JSON.stringify(bob)
  const { socket, ended } = await open(url, loginHead(body.length).replace('\r\n\r\n', `\r\nConnection: close\r\nAuthorization: Bearer ${token}\r\n\r\n${body.slice(0, 5)}`))
  await app.latchkey.tokens.revokeAll(1)
  socket.write(body.slice(5))
  t.match(await ended, /^HTTP\/1\.1 200 /)
})

/** The second example in the section on WebSockets, as JavaScript. */
function webSocketExample (): string {
  const section = readFileSync(join(import.meta.dirname, '../docs/embedding.md'), 'utf8').split('\n## WebSockets\n')[1] ?? ''
  return transformSync([...section.matchAll(/^```ts\n(.*?)^```/gms)][1]?.[1] ?? '', { loader: 'ts' }).code
}

t.test('docs/embedding.md, WebSockets · logout, revocation, password change, deletion, a change elsewhere → the connection is closed, others stay open', async (t) => {
  const app = host(t)
  // What @fastify/websocket does, with a response that goes on: the connection is real, its protocol is another.
  app.addHook('onRoute', (route) => {
    if (!('websocket' in route)) return
    const handler: (socket: object, request: object) => void = Object(route.handler)
    route.handler = (request, reply) => {
      const { raw } = reply.hijack()
      raw.writeHead(200).flushHeaders()
      handler({ on: raw.on.bind(raw), close: (code: number, reason: string) => raw.end(`${code} ${reason}`) }, request)
    }
  })
  await app.register(latchkey, { ...options, tokenFrom: ({ headers, url }) => headers.authorization?.replace(/^Bearer /i, '') ?? new URL(url, 'http://localhost').searchParams.get('access_token') ?? undefined })
  // The minute of the example is short here.
  let everyMinute = () => {}
  const timers = { setInterval: (work: () => void) => { everyMinute = work }, clearInterval: () => {} }
  new Function('app', 'setInterval', 'clearInterval', webSocketExample())(app, timers.setInterval, timers.clearInterval) // eslint-disable-line no-new-func -- the example is what is tested
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  const connect = async (token: string) => {
    const response = await fetch(`${url}/socket?access_token=${token}`)
    let closed: string | undefined
    response.text().then((text) => { closed = text }, () => {})
    return { status: response.status, closed: () => closed }
  }
  t.equal((await connect('x.y.z')).status, 401)

  const alice = await asUser(app, 'alice')
  const other = await connect(alice.token)
  const password = 'incorrect donkey charger clip'
  for (const [name, change] of Object.entries<(user: TestUser) => Promise<unknown>>({
    logout: ({ inject }) => inject({ method: 'POST', url: '/api/v1/logout' }),
    'revocation of all': ({ inject }) => inject({ method: 'DELETE', url: '/api/v1/tokens' }),
    'revocation by the app': ({ user }) => app.latchkey.tokens.revokeAll(user.id),
    'password change by the app': ({ user }) => app.latchkey.users.setPassword(user.id, password),
    'a change elsewhere': async ({ user }) => {
      await servicesOf(app).tokens.revokeAll(user.id)
      everyMinute()
    },
    deletion: ({ inject }) => inject({ method: 'DELETE', url: '/api/v1/me', payload: { password } })
  })) {
    const user = await asUser(app, 'bob')
    const socket = await connect(user.token)
    t.same([socket.status, socket.closed()], [200, undefined])
    await change(user)
    await until(() => socket.closed())
    t.equal(socket.closed(), '4401 log in again', name)
  }
  const carol = await asUser(app, 'carol')
  const [own, second] = [await connect(carol.token), await connect((await asUser(app, 'carol')).token)]
  await carol.inject({ method: 'PUT', url: '/api/v1/me/password', payload: { current_password: bob.password, new_password: password } })
  await until(() => second.closed())
  t.same([own.closed(), other.closed()], [undefined, undefined], 'the token that changed the password stays, and so do other users')
  await app.latchkey.tokens.revokeAll(carol.user.id)
  await app.latchkey.tokens.revokeAll(alice.user.id)
  await until(() => own.closed() && other.closed())
})

t.test('tokenFrom · async function that rejects → 401 TOKEN_INVALID, and the process goes on', async (t) => {
  const app = host(t)
  await app.register(latchkey, { ...options, tokenFrom: Object(async () => { throw new Error('not today') }) })
  app.get('/mine', { preHandler: [app.authenticate] }, async () => '')
  t.match((await app.inject('/mine')).json(), { statusCode: 401, code: 'TOKEN_INVALID' })
})

t.test('tokenFrom · says where the token of a request is, for clients that cannot set headers', async (t) => {
  const app = host(t)
  await app.register(latchkey, { ...options, tokenFrom: (request) => Object(request.query).access_token })
  app.get('/socket', { onRequest: [app.authenticate] }, async ({ currentUser }) => currentUser.username)
  await signUp(app)
  const { token } = (await logIn(app)).json()
  t.equal((await app.inject(`/socket?access_token=${token}`)).body, 'bob')
  t.match((await app.inject('/socket')).json(), { statusCode: 400, code: 'AUTHORIZATION_MISSING' })
  t.match((await app.inject({ url: '/socket', headers: { authorization: `Bearer ${token}` } })).json(), { code: 'AUTHORIZATION_MISSING' }, 'nowhere else')
  t.match((await app.inject('/socket?access_token=x')).json(), { statusCode: 401, code: 'TOKEN_INVALID' })
  t.match((await app.inject(`/socket?access_token=${token}&access_token=${token}`)).json(), { statusCode: 401, code: 'TOKEN_INVALID' }, 'a list is no token')
  t.equal((await app.inject(`/api/v1/me?access_token=${token}`)).json().username, 'bob', 'for our routes as well')
  await t.rejects(async () => host(t).register(latchkey, { ...options, tokenFrom: Object('header') }), { message: /tokenFrom must be a function/ })
})

t.test('ErrorCode · every code, and no other', async (t) => {
  // That this compiles is the test.
  const codes: ErrorCode[] = ['USER_UNKNOWN', 'USER_NOT_FOUND', 'SIGNUP_CLOSED', 'LOGIN_TOO_OLD', 'ROLE_REQUIRED', 'SERVICE_UNAVAILABLE']
  // @ts-expect-error -- no code of ours
  codes.push('NONSENSE')
  t.equal(new UserUnknown().code, codes[0])
})
