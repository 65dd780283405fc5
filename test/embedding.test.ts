import fastifyJwt from '@fastify/jwt'
import swagger from '@fastify/swagger'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import latchkey, { type LatchkeyOptions } from '../src/index.js'
import { bob, cheapHash, logIn, secretKey, signUp, tokenOf } from './helper.js'

/** An app of somebody else. */
function host (t: Test): FastifyInstance {
  const app = Fastify()
  t.teardown(() => app.close())
  return app
}

const options: LatchkeyOptions = { databaseUrl: 'sqlite://', secretKey, hashParameters: cheapHash }

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
  for (const wrong of [{ secretKey: 'undefined' }, { secretKeyPrevious: 'short' }, { tokenTtlSeconds: 0 }, { tokenTtlSeconds: 1.5 }, { tokenTtlSeconds: 40_000_000 }]) {
    const app = host(t)
    app.register(latchkey, { ...options, ...wrong })
    await t.rejects(async () => app.ready(), TypeError)
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
