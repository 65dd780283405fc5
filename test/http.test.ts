import { once } from 'node:events'
import { createServer } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import Database from 'better-sqlite3'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { clientSite } from '../src/lib/client-network.js'
import errors from '../src/plugins/errors/index.js'
import validation from '../src/plugins/validation/index.js'
import { publicRoute } from '../src/plugins/authenticate/public-route.js'
import { servicesOf } from '../src/services.js'
import { connectionCloser } from '../src/standalone/close-connections.js'
import { asUser } from '../src/testing.js'
import { databases } from './databases.js'
import { bob, build, buildOn, internals, logIn, loginHead, needLogin, open, signUp, temporaryFolder, tokenOf, until } from './helper.js'

/** The port of a listening app. */
function portOf (app: FastifyInstance): number {
  const [address] = app.addresses()
  return typeof address === 'object' ? address.port : 0
}

const urlOf = (app: FastifyInstance) => `http://127.0.0.1:${portOf(app)}`

/** A server that listens. */
async function listening (t: Test, env: Record<string, string> = {}): Promise<FastifyInstance> {
  const app = await build(t, env)
  await app.listen({ host: '127.0.0.1', port: 0 })
  return app
}

/** How many connections a listening app has. */
const connectionsOf = (app: FastifyInstance) => new Promise<number>((resolve) => { app.server.getConnections((error, count) => resolve(error === null ? count : -1)) })

/** What a listening app answers to raw bytes: everything until the connection ends, or until `quietMs` pass. */
async function raw (app: FastifyInstance, bytes: string, quietMs = 30_000): Promise<string> {
  const port = portOf(app)
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes, 'latin1'))
    let answer = ''
    const finish = () => {
      socket.destroy()
      resolve(answer)
    }
    socket.setTimeout(quietMs, finish)
    socket.setEncoding('latin1').on('data', (text) => { answer += text })
    socket.on('end', finish)
    socket.on('error', (error) => answer === '' ? reject(error) : finish())
  })
}

for (const database of databases) {
  t.test(database.name, async (t) => {
    const build = buildOn(database)

    t.test('GET / · 200', async (t) => {
      const app = await build(t)
      const response = await app.inject('/')
      t.equal(response.statusCode, 200)
      t.match(response.headers['content-type'], /^text\/plain/)
      t.equal(response.body, 'Hello, World!')
    })

    t.test('GET /health/live, /health/ready · 200; the database fails → /health/ready 503 SERVICE_UNAVAILABLE with Retry-After', async (t) => {
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

    t.test('store closed · POST /api/v1/login, POST /api/v1/signup, GET /need_login → 500 or 503, the body says only the status', async (t) => {
      const app = await build(t)
      const token = await tokenOf(app)
      await servicesOf(app).store.close()
      for (const response of [await logIn(app), await signUp(app), await needLogin(app, token)]) {
        const { statusCode, message, error } = response.json()
        t.ok(statusCode >= 500)
        t.equal(message, error)
        t.notMatch(response.body, internals)
      }
    })

    t.test('routes without a body · Content-Type without a body → 200; the guard answers before a body is parsed', async (t) => {
      const app = await build(t)
      for (const [method, url] of [['DELETE', '/tokens?scope=others'], ['GET', '/tokens'], ['POST', '/logout']] as const) {
        const authorization = `Bearer ${await tokenOf(app)}`
        t.equal((await app.inject({ method, url: `/api/v1${url}`, headers: { authorization, 'content-type': 'application/json' } })).statusCode, 200, url)
      }
      const forged = await app.inject({ method: 'PUT', url: '/api/v1/me/password', headers: { authorization: 'x.y.z', 'content-type': 'text/plain' }, payload: '{' })
      t.equal(forged.statusCode, 401, 'the guard decides before anything is parsed')
    })

    t.test('routes without a body · any body → 400 BODY_UNEXPECTED; an empty one of any type → accepted', async (t) => {
      const app = await build(t)
      await asUser(app, 'bob', { roles: ['admin', 'editor'] })
      const routes = [
        ['POST', '/logout', 200], ['DELETE', '/tokens', 200], ['DELETE', '/tokens/4e808214-e320-4173-bb6c-b75fbdd51003', 404],
        ['PUT', '/users/bob/roles/editor', 204], ['DELETE', '/users/bob/roles/editor', 204], ['DELETE', '/roles/nothing', 404]
      ] as const
      for (const [method, path, status] of routes) {
        const request = async (headers: Record<string, string>, payload?: string | Buffer) => {
          const { token } = await asUser(app, 'bob')
          return app.inject({ method, url: `/api/v1${path}`, headers: { authorization: token, ...headers }, payload })
        }
        for (const type of ['application/json', 'text/plain', 'application/x-www-form-urlencoded', 'nonsense', 'multipart/form-data; boundary=x', ';']) {
          t.equal((await request({ 'content-type': type })).statusCode, status, `${method} ${path} · nothing, as ${type}`)
          t.match((await request({ 'content-type': type }, '{}')).json(), { statusCode: 400, code: 'BODY_UNEXPECTED' }, `${method} ${path} · something, as ${type}`)
        }
        for (const payload of ['{', '[]', 'x', '\0', 'x'.repeat(50_000)]) t.match((await request({}, payload)).json(), { code: 'BODY_UNEXPECTED' })
      }
      const url = await app.listen({ port: 0 })
      for (const [chunks, answer] of [['0\r\n\r\n', /^HTTP\/1\.1 200/], ['1\r\nx\r\n0\r\n\r\n', /BODY_UNEXPECTED/], [`${(50_000).toString(16)}\r\n${'x'.repeat(50_000)}\r\n0\r\n\r\n`, /BODY_UNEXPECTED/]] as const) {
        const { token } = await asUser(app, 'bob')
        const { ended } = await open(url, `POST /api/v1/logout HTTP/1.1\r\nHost: a\r\nAuthorization: ${token}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n${chunks}`)
        t.match(await ended, answer)
      }
    })
  })
}

t.test('a route without a body and without a guard · any body → 400 BODY_UNEXPECTED', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(errors)
  await app.register(validation, { passwordPolicy: { minLength: 8, blocklist: true } })
  app.post('/open', async () => 'open')
  t.equal((await app.inject({ method: 'POST', url: '/open', headers: { 'content-type': 'text/plain' } })).body, 'open')
  t.match((await app.inject({ method: 'POST', url: '/open', payload: {} })).json(), { statusCode: 400, code: 'BODY_UNEXPECTED' })
})

t.test('raw HTTP', async (t) => {
  const app = await build(t)
  await app.listen({ host: '127.0.0.1', port: 0 })
  const token = await tokenOf(app)
  const statusOf = (answer: string) => Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1])
  const get = (target: string, lines: string[] = []) => [`GET ${target} HTTP/1.1`, 'Host: localhost', 'Connection: close', ...lines, '', ''].join('\r\n')
  const authorization = `Authorization: Bearer ${token}`

  t.test('GET /need_login · two Authorization headers → 401', async (t) => {
    for (const lines of [[authorization, authorization], [authorization, 'Authorization: x'], ['authorization: x', authorization]]) {
      t.equal(statusOf(await raw(app, get('/need_login', lines))), 401)
    }
    t.equal(statusOf(await raw(app, get('/need_login', [authorization]))), 200)
  })

  t.test('GET /need_login · other spellings of the path → 4xx, never 200', async (t) => {
    for (const target of ['//need_login', '/need_login/', '/NEED_LOGIN', '/Need_Login', '/need_login;', '/need_login;x=1', '/%2fneed_login', '/./need_login', '/x/../need_login', '/need_login%00', '/need_login%20', '/need_login%2f', '/need_login.json', '/api/v1//need_login', '/api/v1/../../need_login', '\\need_login', 'http://localhost/need_login', 'need_login']) {
      const status = statusOf(await raw(app, get(target)))
      t.ok(status >= 400 && status < 500, `${target} ${status}`)
    }
    for (const target of ['/need_login', '/need%5Flogin', '/%6eeed_login', '/need_login?x=1', '/need_login#x']) {
      t.equal(statusOf(await raw(app, get(target))), 400, target)
    }
    t.equal(statusOf(await raw(app, get('/need_login').replace('GET', 'HEAD'))), 400, 'HEAD is guarded like GET')
    t.equal(statusOf(await raw(app, get('/need_login', ['X-HTTP-Method-Override: HEAD', 'X-Original-URL: /', 'X-Rewrite-URL: /']))), 400)
  })

  t.test('bytes that are not HTTP → 4xx in less than 1 KiB, and the server goes on', async (t) => {
    const cases: Record<string, string> = {
      'no Host': 'GET / HTTP/1.1\r\n\r\n',
      'Content-Length and Transfer-Encoding': 'POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\n\r\n',
      'two Content-Lengths': 'POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde',
      'a negative Content-Length': 'POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n',
      'a Content-Length in hexadecimal': 'POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Length: 0x10\r\n\r\n',
      'an unknown Transfer-Encoding': 'POST /api/v1/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n',
      'a chunk of no size': 'POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n',
      'a space before the colon': 'GET / HTTP/1.1\r\nHost: x\r\nX-A : b\r\n\r\n',
      'a bad header name': 'GET / HTTP/1.1\r\nHost: x\r\nX(A): b\r\n\r\n',
      'NUL in a header': 'GET / HTTP/1.1\r\nHost: x\r\nX-A: a\0b\r\n\r\n',
      'a bare CR in a header': 'GET / HTTP/1.1\r\nHost: x\r\nX-A: a\rb\r\n\r\n',
      'an oversized header': `GET / HTTP/1.1\r\nHost: x\r\nX-A: ${'a'.repeat(20_000)}\r\n\r\n`,
      'an oversized URL': `GET /${'a'.repeat(20_000)} HTTP/1.1\r\nHost: x\r\n\r\n`,
      'an unknown method': 'BREW / HTTP/1.1\r\nHost: x\r\n\r\n',
      'a TLS hello': '\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03',
      'a malformed URL': get('/%'),
      'a malformed escape': get('/%zz'),
      'an overlong escape': get('/%c0%af')
    }
    for (const [name, bytes] of Object.entries(cases)) {
      const answer = await raw(app, bytes)
      const status = statusOf(answer)
      t.ok(status >= 400 && status < 500, `${name} ${status}`)
      t.ok(answer.length < 1024, name)
      t.notMatch(answer, internals, name)
    }
    t.equal(statusOf(await raw(app, get('/'))), 200)
  })

  t.test('errors before routing → the same JSON body and headers as all others', async (t) => {
    for (const [bytes, status, code] of [
      [`GET / HTTP/1.1\r\nHost: x\r\nX-A: ${'a'.repeat(20_000)}\r\n\r\n`, 431, 'HEADERS_TOO_LARGE'],
      ['GET / HTTP/1.1\r\nHost: x\r\nX A: b\r\n\r\n', 400, 'REQUEST_MALFORMED'],
      [get('/%'), 404, 'ROUTE_NOT_FOUND']
    ] as const) {
      const [head = '', body = ''] = (await raw(app, bytes)).split('\r\n\r\n')
      t.match(head, new RegExp(`^HTTP/1.1 ${status} `))
      t.match(head, /x-content-type-options: nosniff/i)
      t.match(head, /connection: close/i)
      t.match(JSON.parse(body), { statusCode: status, code, error: String, message: String })
    }
  })

  t.test('garbage after a request → not taken for its response', async (t) => {
    const body = JSON.stringify({ ...bob, username: 'pipelined' })
    const answer = await raw(app, `POST /api/v1/signup HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}GARBAGE\r\n\r\n`)
    t.notMatch(answer, /^HTTP\/1\.1 400/)
  })

  t.test('the client resets the connection in the middle of a request → the server goes on', async (t) => {
    const port = portOf(app)
    for (const bytes of ['G', 'GET / HT', 'POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"user']) {
      await new Promise<void>((resolve) => {
        const socket = connect(port, '127.0.0.1', () => socket.write(bytes, () => setTimeout(() => {
          socket.resetAndDestroy()
          resolve()
        }, 50)))
      })
    }
    t.equal(statusOf(await raw(app, get('/'))), 200)
  })

  t.test('unknown path → 404 ROUTE_NOT_FOUND without an echo; known path, other method → 405 METHOD_NOT_ALLOWED with Allow', async (t) => {
    for (const url of ['/.env', '/package.json', '/data/latchkey.sqlite', '/docs/../.env', '/docs/static/../../package.json', '/docs/static/%2e%2e/%2e%2e/package.json', '/src/server.ts', '/api', '/api/v1', '/api/v2/login', '/<script>', '/docs/nothing', '/docs/static/nothing']) {
      const response = await app.inject(url)
      t.match(response.json(), { statusCode: 404, code: 'ROUTE_NOT_FOUND', error: 'Not Found', message: 'there is nothing here' }, url)
    }
    for (const [method, url, allow] of [
      ['GET', '/api/v1/login', 'POST'], ['DELETE', '/api/v1/signup', 'POST'], ['PUT', '/api/v1/login', 'POST'], ['OPTIONS', '/api/v1/login', 'POST'],
      ['POST', '/need_login', 'GET, HEAD'], ['PATCH', '/', 'GET, HEAD'], ['TRACE', '/need_login', 'GET, HEAD'], ['PROPFIND', '/', 'GET, HEAD'], ['DELETE', '/openapi.yaml', 'GET, HEAD']
    ] as const) {
      const answer = await raw(app, get(url).replace('GET', method))
      t.equal(statusOf(answer), 405, `${method} ${url}`)
      t.match(answer, new RegExp(`\r\nallow: ${allow}\r\n`, 'i'))
      t.match(answer, /"code":"METHOD_NOT_ALLOWED"/)
    }
  })

  t.test('every response · security headers, nothing about the software', async (t) => {
    for (const url of ['/', '/need_login', '/nothing', '/api/v1/login', '/docs/', '/docs/static/swagger-ui.css', '/openapi.json', '/openapi.yaml', '/health/live']) {
      const { headers } = await app.inject(url)
      t.match(headers, { 'x-content-type-options': 'nosniff', 'content-security-policy': /default-src 'none'.*frame-ancestors 'none'/ }, url)
      t.notOk('x-powered-by' in headers || 'server' in headers || 'strict-transport-security' in headers)
      t.notOk('access-control-allow-origin' in headers, 'no CORS unless it is asked for')
      // What only means something to a page is on pages only.
      for (const name of ['cross-origin-opener-policy', 'referrer-policy', 'x-frame-options']) t.equal(name in headers, url.startsWith('/docs/'), `${name} ${url}`)
    }
  })

  t.test('GET /docs/ · the page cannot be built → 500 INTERNAL_SERVER_ERROR, and it is built for the next request', async (t) => {
    const app = await build(t)
    await app.ready()
    const { swagger } = app
    Object.assign(app, { swagger: () => { throw new Error('too many open files') } })
    for (let i = 0; i < 2; i++) t.match((await app.inject('/docs/')).json(), { statusCode: 500, code: 'INTERNAL_SERVER_ERROR', message: 'Internal Server Error' })
    const failed = await build(t)
    Object.assign(app, { swagger })
    t.equal((await app.inject('/docs/')).statusCode, 200)
    await failed.close()
  })

  t.test('GET, HEAD /docs/ · several in parallel → 200, and the server closes', async (t) => {
    const app = await build(t)
    const answers = await Promise.all(Array.from({ length: 5 }, () => app.inject('/docs/')))
    for (const { statusCode, headers } of answers) {
      t.equal(statusCode, 200)
      t.match(headers, { 'content-type': /^text\/html/, 'content-security-policy': /script-src 'self'/ })
    }
    t.match(await app.inject({ method: 'HEAD', url: '/docs/' }), { statusCode: 200, body: '' })
    t.equal((await app.inject({ method: 'POST', url: '/docs' })).statusCode, 405)
    t.match((await app.inject('/docs/static/%00')).json(), { code: /ROUTE_NOT_FOUND|REQUEST_MALFORMED/ })
    const url = await app.listen({ port: 0 })
    const { host } = new URL(url)
    const answer = await raw(app, `GET /docs/ HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`)
    t.equal(statusOf(answer), 200)
    await app.close()
  })
})

t.test('raw HTTP · requests that are not valid → 4xx with a JSON body; unusual but valid ones → 200', async (t) => {
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

t.test('CORS_ORIGIN · listed origin → allowed, without credentials; any other → no header', async (t) => {
  const app = await build(t, { CORS_ORIGIN: 'https://app.example.com,http://localhost:5173' })
  const ask = (origin: string, method: 'OPTIONS' | 'GET' = 'GET') =>
    app.inject({ method, url: '/need_login', headers: { origin, 'access-control-request-method': 'GET', 'access-control-request-headers': 'authorization' } })
  for (const origin of ['https://app.example.com', 'http://localhost:5173']) {
    t.match((await ask(origin)).headers, { 'access-control-allow-origin': origin, vary: /Origin/ })
    const preflight = await ask(origin, 'OPTIONS')
    t.equal(preflight.statusCode, 204)
    t.match(preflight.headers, { 'access-control-allow-origin': origin, 'access-control-allow-headers': 'authorization' })
    t.notOk('access-control-allow-credentials' in preflight.headers)
    t.equal(preflight.headers['access-control-allow-methods'], 'GET, HEAD, POST, PUT, DELETE')
    t.equal(preflight.headers['access-control-max-age'], '600')
  }
  for (const origin of ['https://evil.example', 'https://app.example.com.evil.example', 'null']) {
    t.notOk('access-control-allow-origin' in (await ask(origin)).headers, origin)
  }
  t.equal((await app.inject('/nothing')).statusCode, 404)
  t.equal((await app.inject({ method: 'DELETE', url: '/' })).statusCode, 405)
  t.equal((await app.inject({ method: 'OPTIONS', url: '/' })).statusCode, 204, 'also when it is no preflight')
})

t.test('CORS_ORIGIN · errors, also of requests that reach no route → readable by a listed origin, and by no other', async (t) => {
  const listed = 'capacitor://localhost'
  const app = await build(t, { CORS_ORIGIN: `https://app.example.com,${listed}`, HASH_QUEUE: '0', HASH_CONCURRENCY: '1', LOGIN_FAILURES_PER_ADDRESS_MINUTE: '1' })
  await app.listen({ host: '127.0.0.1', port: 0 })
  await logIn(app, { ...bob, password: 'wrong' })
  const head = (line: string, origin: string, ...lines: string[]) => [`${line} HTTP/1.1`, 'Host: a', `origin: ${origin}`, 'Connection: close', ...lines, '', ''].join('\r\n')
  const json = 'Content-Type: application/json'
  for (const [status, request] of [
    [404, (origin: string) => head('GET /nothing', origin)],
    [404, (origin: string) => head('GET /%zz', origin)],
    [404, (origin: string) => head(`PUT /api/v1/users/${'x'.repeat(300)}/roles/x`, origin)],
    [405, (origin: string) => head('DELETE /', origin)],
    [413, (origin: string) => `${head('POST /api/v1/signup', origin, json, 'Content-Length: 20000')}${'x'.repeat(20_000)}`],
    [415, (origin: string) => `${head('POST /api/v1/signup', origin, 'Content-Type: text/plain', 'Content-Length: 1')}x`],
    [400, (origin: string) => `${head('POST /api/v1/signup', origin, json, 'Content-Length: 1')}{`],
    [422, (origin: string) => `${head('POST /api/v1/signup', origin, json, 'Content-Length: 2')}{}`],
    [417, (origin: string) => head('GET /', origin, 'Expect: 200-ok')],
    [431, (origin: string) => head('GET /', origin, `X-A: ${'a'.repeat(20_000)}`)],
    [400, (origin: string) => head('GET /', origin, 'X A: b')]
  ] as const) {
    const own = await raw(app, request(listed))
    t.match(own, new RegExp(`^HTTP/1.1 ${status} `))
    t.match(own, /\r\naccess-control-allow-origin: capacitor:\/\/localhost\r\n/i, `${status}`)
    t.match(own, /\r\nvary: origin\r\n/i)
    t.match(own, /\r\naccess-control-expose-headers: retry-after, www-authenticate\r\n/i)
    for (const origin of ['https://evil.example', 'capacitor://localhost.evil.example', 'null', '*']) {
      const other = await raw(app, request(origin))
      t.notMatch(other, /access-control-allow-origin|access-control-allow-credentials/i, `${status} ${origin}`)
      t.match(other, /\r\nvary: origin\r\n/i)
    }
  }
  const body = 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\norigin: https://app.example.com\r\n\r\n'
  t.notMatch(await raw(app, body), /allow-origin/i, 'a line of the body is no header')
  const ask = (password: string) => app.inject({ method: 'POST', url: '/api/v1/login', payload: { ...bob, password }, headers: { origin: listed } })
  t.match(await ask('wrong'), { statusCode: 429, headers: { 'access-control-allow-origin': listed } })
  await servicesOf(app).store.close()
  t.match(await app.inject({ url: '/health/ready', headers: { origin: listed } }), { statusCode: 503, headers: { 'access-control-allow-origin': listed } })
  const none = await build(t)
  await none.listen({ host: '127.0.0.1', port: 0 })
  t.notMatch(await raw(none, head('GET /', listed, 'X A: b')), /allow-origin|vary/i, 'not set')
})

t.test('TRUST_PROXY · forwarded address → used only when it comes from a trusted proxy', async (t) => {
  const addresses = async (env: Record<string, string>) => {
    const lines: string[] = []
    const app = await build(t, { LOG_LEVEL: 'info', ...env }, { logStream: { write: (line) => { lines.push(line) } } })
    await app.inject({ method: 'POST', url: '/api/v1/login', payload: bob, headers: { 'x-forwarded-for': '203.0.113.7', 'x-real-ip': '203.0.113.8', forwarded: 'for=203.0.113.9' } })
    return lines.map((line) => JSON.parse(line)).find(({ outcome }) => outcome !== undefined).address
  }
  t.equal(await addresses({}), '127.0.0.1')
  t.equal(await addresses({ TRUST_PROXY: '10.0.0.0/8' }), '127.0.0.1')
  t.equal(await addresses({ TRUST_PROXY: '127.0.0.0/8' }), '203.0.113.7')
})

t.test('TRUST_PROXY · not set → only routes that are open to anyone look at forwarded headers, also without hooks of their own', async (t) => {
  const lines: string[] = []
  const app = await build(t, { LOG_LEVEL: 'warn' }, { logStream: { write: (line) => { lines.push(line) } } })
  app.get('/open', { schema: { hide: true }, config: { [publicRoute]: true } }, async () => 'open')
  for (const url of ['/', '/open']) {
    t.equal(lines.length, 0)
    await app.inject({ url, headers: { forwarded: 'for=203.0.113.7' } })
  }
  t.equal(lines.length, 1)
})

t.test('TRUST_PROXY · not set, forwarded headers arrive → one warning in the log', async (t) => {
  const warnings = async (env: Record<string, string>) => {
    const lines: string[] = []
    const app = await build(t, { LOG_LEVEL: 'warn', ...env }, { logStream: { write: (line) => { lines.push(line) } } })
    await app.inject({ method: 'POST', url: '/api/v1/login' })
    t.same(lines, [])
    for (const name of ['x-forwarded-for', 'X-Real-IP', 'forwarded']) await app.inject({ method: 'POST', url: '/api/v1/login', headers: { [name]: '203.0.113.7' } })
    return lines
  }
  const [line = '', ...others] = await warnings({})
  t.match(JSON.parse(line), { level: 40, address: '127.0.0.1', msg: /name it in TRUST_PROXY$/ })
  t.notMatch(line, '203.0.113.7')
  t.same(others, [])
  t.same(await warnings({ TRUST_PROXY: '127.0.0.1' }), [])
})

t.test('SQLite locked by another process · POST /api/v1/signup and /login → 503 SERVICE_UNAVAILABLE with Retry-After; reads → 200; afterwards → 200', async (t) => {
  const file = join(temporaryFolder(t), 'latchkey.sqlite')
  const lines: string[] = []
  const app = await build(t, { DATABASE_URL: `sqlite:///${file}`, LOG_LEVEL: 'error' }, { logStream: { write: (line) => { lines.push(line) } } })
  const token = await tokenOf(app)
  const other = new Database(file)
  other.exec('begin immediate')
  for (const response of [await signUp(app, { ...bob, username: 'alice' }), await logIn(app)]) {
    t.same(response.json(), { statusCode: 503, code: 'SERVICE_UNAVAILABLE', error: 'Service Unavailable', message: 'Service Unavailable' })
    t.equal(response.headers['retry-after'], '1')
  }
  t.equal((await needLogin(app, token)).statusCode, 200)
  t.equal((await app.inject('/health/ready')).statusCode, 200)
  other.exec('rollback')
  other.close()
  t.equal((await signUp(app, { ...bob, username: 'alice' })).statusCode, 200)
  t.match(lines.join(''), /SQLITE_BUSY/)
  t.notMatch(lines.join(''), /alice|insert into|argon2/i, 'no statement, no parameter')
})

t.test('SQLite locked by another process · 40 times POST /api/v1/signup in parallel → 503 for all, GET /need_login between them → 200', async (t) => {
  const file = join(temporaryFolder(t), 'latchkey.sqlite')
  const app = await build(t, { DATABASE_URL: `sqlite:///${file}` })
  const token = await tokenOf(app)
  const other = new Database(file)
  other.exec('begin immediate')
  const writes = Promise.all(Array.from({ length: 40 }, (_, i) => signUp(app, { ...bob, username: `bob${i}` })))
  t.equal((await needLogin(app, token)).statusCode, 200)
  for (const { statusCode } of await writes) t.equal(statusCode, 503)
  await new Promise((resolve) => setTimeout(resolve, 1_000))
  t.equal((await signUp(app, { ...bob, username: 'alice' })).statusCode, 503, 'the next one waits again, in vain')
  other.exec('rollback')
  other.close()
  t.equal((await signUp(app, { ...bob, username: 'alice' })).statusCode, 200)
})

t.test('clientSite · the IPv6 network of a customer, or the IPv4 address', async (t) => {
  for (const address of ['2001:db8:1::1', '2001:db8:1:ffff::2', '2001:db8:1:0:1::%eth0', '[2001:db8:1:ab::1]:80']) t.equal(clientSite(address), '2001:db8:1::/48')
  t.equal(clientSite('2001:db8:2::1'), '2001:db8:2::/48')
  for (const address of ['203.0.113.7', '::ffff:203.0.113.7', '64:ff9b::203.0.113.7', '203.0.113.7:80']) t.equal(clientSite(address), '203.0.113.7')
  for (const address of ['nonsense', '', undefined]) t.equal(clientSite(address), 'unknown')
})

t.test('app.close · request in flight → answered with Connection: close', async (t) => {
  const lines: string[] = []
  const app = await build(t, { LOG_LEVEL: 'debug' }, { logStream: { write: (line) => { lines.push(line) } } })
  await signUp(app)
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  const body = JSON.stringify(bob)
  const { socket, ended } = await open(url, `${loginHead(body.length)}${body.slice(0, 10)}`)
  await until(() => lines.some((line) => line.includes('incoming request') && line.includes('/api/v1/login')))
  const closed = app.close()
  await until(() => fetch(url).then(() => false, () => true))
  socket.write(body.slice(10))
  t.match(await ended, /^HTTP\/1\.1 200 OK[^]*\r\nconnection: close\r\n/i)
  await closed
})

t.test('raw HTTP · request that is not finished in time → 408 REQUEST_TIMEOUT', async (t) => {
  const app = await build(t)
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  Object.assign(app.server, { headersTimeout: 50, requestTimeout: 100 })
  for (const bytes of ['GET / HTTP/1.1\r\nHost: localhost\r\nX-A: ', `${loginHead(1_000)}{`]) {
    t.match(await (await open(url, bytes)).ended, /^HTTP\/1\.1 408 [^]*"code":"REQUEST_TIMEOUT"/)
  }
})

t.test('a connection that sends nothing → closed', async (t) => {
  const app = await listening(t)
  Object.assign(app.server, { headersTimeout: 50, requestTimeout: 100 })
  t.match(await (await open(urlOf(app), '')).ended, /^HTTP\/1\.1 408 /)
})

t.test('a client that reads nothing of its response → closed; one that reads → the whole response', async (t) => {
  const text = 'x'.repeat(40_000_000)
  const { ServerResponse } = connectionCloser({ readTimeoutMs: 500 })
  const server = createServer({ ServerResponse }, (request, response) => {
    if (request.url === '/stream') Readable.from([text, text]).pipe(response)
    else if (request.url === '/short') setTimeout(() => response.end('short'), 100)
    else response.end(text)
  })
  t.teardown(() => server.close())
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`
  for (const [bytes, path, length] of [
    [get('/'), '/', text.length],
    [get('/stream'), '/stream', 2 * text.length],
    // The first response is finished, and the next ones were waiting for it.
    [get('/short') + get('/'), '/short', 5]
  ] as const) {
    const url = `http://127.0.0.1:${port}${path}`
    const closed = once(server, 'connection').then(async ([socket]) => await once(socket, 'close'))
    const { socket } = await open(url, bytes)
    socket.pause()
    await closed
    socket.destroy()
    t.equal((await (await fetch(url)).text()).length, length)
  }
})

t.test('connections between two requests', async (t) => {
  const request = 'GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n'

  t.test('KEEP_ALIVE_TIMEOUT_MS · clients are told, and the connection is closed after that time, not before', async (t) => {
    t.match(await raw(await listening(t), request, 500), /\r\nkeep-alive: timeout=72\r\n/i, '72 s by default')
    const { socket, ended } = await open(urlOf(await listening(t, { KEEP_ALIVE_TIMEOUT_MS: '1000' })), request)
    const before = performance.now()
    await once(socket, 'data')
    await delay(700)
    socket.write(request)
    const answers = (await ended).split('HTTP/1.1 200').length - 1
    t.equal(answers, 2)
    t.ok(performance.now() - before >= 1_600)
  })

  t.test('shutdown · idle connections are closed at once', async (t) => {
    const app = await listening(t)
    const { socket, ended } = await open(urlOf(app), request)
    await once(socket, 'data')
    const before = performance.now()
    await app.close()
    await ended
    t.ok(performance.now() - before < 5_000)
  })

  t.test('more than 1,000 → further ones are closed after their answers; those that were there stay', { timeout: 120_000 }, async (t) => {
    const app = await listening(t)
    const sockets: Socket[] = []
    t.teardown(() => { for (const socket of sockets) socket.destroy() })
    /** Opens connections and sends a request on each; resolves with the answers. */
    const openMany = async (count: number, bytes = request) => await Promise.all(Array.from({ length: count }, async () => {
      const { socket } = await open(urlOf(app), bytes)
      sockets.push(socket)
      return String((await once(socket, 'data'))[0])
    }))
    const isClosing = (answer: string) => /\r\nconnection: close\r\n/i.test(answer)
    for (let i = 0; i < 10; i++) t.notOk((await openMany(100)).some(isClosing))
    for (const url of ['/health/live', '/%zz', '/docs/']) t.ok((await openMany(20, request.replace('/health/live', url))).every(isClosing), url)
    t.equal(await connectionsOf(app), 1_000)
    sockets[0]?.write(request)
    t.notOk(isClosing(String((await once(sockets[0] as Socket, 'data'))[0])), 'an open one is used again')
    for (const socket of sockets.slice(500)) socket.destroy()
    await until(async () => await connectionsOf(app) === 500)
    t.notOk((await openMany(1)).some(isClosing), 'there is room again')
  })
})
