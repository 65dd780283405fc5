import fastifyJwt from '@fastify/jwt'
import swagger from '@fastify/swagger'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import latchkey from '../src/index.js'
import { testOptions } from '../src/testing.js'
import { bob, build, logIn, signUp, tokenOf } from './helper.js'

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
    [{ secretKey: 'undefined' }, 'latchkey: secretKey must be a secret'],
    [{ secretKeyPrevious: 'short' }, 'latchkey: secretKeyPrevious must be'],
    [{ databaseUrl: 'mysql://localhost' }, 'latchkey: databaseUrl must be like'],
    [{ databaseUrl: undefined, secretKey: undefined }, 'latchkey: databaseUrl is not set; secretKey is not set'],
    [{ prefix: 'auth' }, 'latchkey: prefix must begin with a slash'],
    [{ prefix: '/auth/' }, 'latchkey: prefix must begin with a slash'],
    [{ now: Object(5), hashParameters: Object({ memoryCost: 'x' }) }, /hashParameters must have .*; now must be a function/],
    [Object({ tokenTTLSeconds: 5, corsOrigin: [] }), 'latchkey: tokenTTLSeconds is no option; corsOrigin is no option'],
    [{ tokenTtlSeconds: 0 }, 'latchkey: tokenTtlSeconds must be an integer from 1 to 31536000'],
    [{ tokenTtlSeconds: 1.5 }, 'latchkey: tokenTtlSeconds'],
    [{ hashQueue: -1, loginFailuresPerAccount: 1e9, signup: Object('maybe'), passwordMinLength: 4 }, /^latchkey: passwordMinLength must be .*; hashQueue must be .*; loginFailuresPerAccount must be .*; signup must be open or closed$/]
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
    app.get('/mine', { preHandler: app.authenticate }, async ({ currentUser }) => currentUser.username)
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
    app.get('/mine', { preHandler: app.authenticate, schema: { response: { 200: { type: 'string' } } } }, async () => '')
    if (scheme !== undefined) app.get('/own', { preHandler: app.authenticate, schema: { security: [{ theirs: ['x'] }] } }, async () => '')
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

t.test('what a database says is not shown by the host either', async (t) => {
  const app = host(t)
  await app.register(latchkey, options)
  app.get('/mine', { preHandler: app.authenticate }, async () => '')
  app.get('/editors', { preHandler: [app.authenticate, app.requireRole('editor')] }, async () => '')
  const authorization = await tokenOf(app)
  const { db } = app.store
  await db.run('drop table user_roles')
  t.same((await app.inject({ url: '/editors', headers: { authorization } })).json(), { statusCode: 500, code: 'INTERNAL_SERVER_ERROR', error: 'Internal Server Error', message: 'Internal Server Error' })
  await app.store.close()
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
      scope.get('/mine', { onRequest: scope.authenticate }, async ({ currentUser }) => currentUser.username)
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
  await app.roles.create({ name: 'editor', description: 'x' })
  await app.roles.grant(1, 'editor')
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
