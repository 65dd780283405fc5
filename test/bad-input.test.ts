import { createHmac, generateKeyPairSync, sign as signRsa } from 'node:crypto'
import { connect } from 'node:net'
import { join } from 'node:path'
import { Type } from '@sinclair/typebox'
import Database from 'better-sqlite3'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import validation from '../src/plugins/validation/index.js'
import { servicesOf } from '../src/services.js'
import { databases } from './databases.js'
import { bob, build, buildOn, costlyToNormalize, logIn, needLogin, secretKey, signUp, temporaryFolder, tokenOf, watchNormalization } from './helper.js'

/** Nothing that a body of ours may ever say. */
const leaks = /stack|node_modules|\.ts:|sqlite|postgres|relation|select |insert |argon2|drizzle|fast-jwt|fastify|SyntaxError/i

for (const database of databases) {
  t.test(database.name, async (t) => {
    const build = buildOn(database)

    t.test('bodies', async (t) => {
      const app = await build(t)
      const routes = ['/api/v1/signup', '/api/v1/login']
      const post = (url: string, payload: string | Buffer, type: string | undefined = 'application/json') =>
        app.inject({ method: 'POST', url, payload, headers: type === undefined ? {} : { 'content-type': type } })

      t.test('JSON in any spelling of its media type is read', async (t) => {
        for (const type of ['application/json', 'Application/JSON', 'application/json; charset=utf-8', 'application/json;charset="UTF-8"']) {
          t.equal((await post('/api/v1/login', JSON.stringify(bob), type)).statusCode, 404, type)
        }
      })

      t.test('anything else is 415', async (t) => {
        for (const url of routes) {
          for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', 'application/jsonp', 'text/json', 'application/json+x', 'application/xml', 'json', ';']) {
            const response = await post(url, JSON.stringify(bob), type)
            t.match(response.json(), { statusCode: 415, code: 'MEDIA_TYPE_UNSUPPORTED', message: 'the body must be application/json' }, type)
            t.notMatch(response.body, leaks)
          }
        }
      })

      t.test('what is no JSON in UTF-8 is 400', async (t) => {
        for (const url of routes) {
          for (const body of [
            '', '{', '{"username":', "{'username':'bob'}", '{"username":"bob",}', '\0', '{"a":NaN}', 'undefined', '{"username":"bob"}{"x":1}', '{"__proto__":{"admin":true}}',
            '{"username":"bob","password":"x","__proto__":null}', '{"constructor":{"prototype":{"admin":true}}}', '{"a":{"b":{"__proto__":1}}}',
            Buffer.from('7b22757365726e616d65223a22ff22 7d'.replaceAll(' ', ''), 'hex'), Buffer.from('fffe7b007d00', 'hex'), '['.repeat(8000), '{"a":'.repeat(2500)
          ]) {
            const response = await post(url, body)
            t.match(response.json(), { statusCode: 400, code: 'BODY_MALFORMED', message: 'the body is not valid JSON' }, String(body).slice(0, 40))
            t.notMatch(response.body, leaks)
          }
        }
      })

      t.test('more than 16 KiB is 413, by its length or while it arrives', async (t) => {
        for (const url of routes) {
          const body = JSON.stringify({ ...bob, padding: 'x'.repeat(16_384) })
          t.match((await post(url, body)).json(), { statusCode: 413, code: 'BODY_TOO_LARGE' })
          t.equal((await post(url, JSON.stringify({ padding: 'x'.repeat(16_000) }))).statusCode, 422)
        }
      })

      t.test('what is no object, or lacks its fields, is 422 and says all that is missing', async (t) => {
        for (const body of ['[]', '"bob"', '5', 'true', '[{"username":"bob"}]']) {
          for (const url of routes) t.match((await post(url, body)).json(), { statusCode: 422, message: 'the body must be an object' }, body)
        }
        for (const body of ['{}', 'null', '\ufeff{}', '{"username":""}', '{"a":1}']) {
          t.same((await post('/api/v1/signup', body)).json(), {
            statusCode: 422,
            code: 'VALIDATION_FAILED',
            error: 'Unprocessable Entity',
            message: 'username is empty',
            errors: [{ field: 'username', message: 'username is empty' }, { field: 'password', message: 'password is empty' }]
          }, body)
        }
        const nothing = await app.inject({ method: 'POST', url: '/api/v1/login' })
        t.match(nothing.json(), { statusCode: 422, message: 'username is empty' })
      })

      t.test('types are checked, never coerced', async (t) => {
        for (const wrong of [['bob'], 5, 0, true, false, null, {}, [], { $gt: '' }]) {
          for (const url of routes) {
            for (const field of ['username', 'password']) {
              const response = await post(url, JSON.stringify({ ...bob, [field]: wrong }))
              t.match(response.json(), { statusCode: 422, message: `${field} must be a string`, errors: [{ field }] }, JSON.stringify(wrong))
            }
          }
          if (wrong !== null) {
            t.match((await post('/api/v1/signup', JSON.stringify({ ...bob, email: wrong }))).json(), { statusCode: 422, message: 'email must be a string or null' })
          }
        }
      })

      t.test('the problems come in the order username, email, password, one a field', async (t) => {
        const response = await post('/api/v1/signup', JSON.stringify({ password: 'short', email: 'no address', username: 'b b' }))
        t.same(response.json().errors, [
          { field: 'username', message: 'username may only contain ASCII letters, digits and _ . @ + -' },
          { field: 'email', message: 'email must be one address like user@example.com' },
          { field: 'password', message: 'password must be at least 8 characters long' }
        ])
        for (const body of ['{"username":5,"email":5,"password":""}', '{"username":"b b","email":5,"password":""}', '{"password":"","email":5,"username":""}']) {
          t.same((await post('/api/v1/signup', body)).json().errors.map(({ field }: { field: string }) => field), ['username', 'email', 'password'], body)
        }
        t.equal(response.json().message, 'username may only contain ASCII letters, digits and _ . @ + -')
        t.match((await post('/api/v1/signup', JSON.stringify({ email: '' }))).json().errors.map(({ field }: { field: string }) => field), ['username', 'email', 'password'])
        t.match((await post('/api/v1/signup', JSON.stringify({ ...bob, username: 'x'.repeat(65) }))).json(), { message: 'username must not be longer than 64 characters' })
      })

      t.test('identities and passwords that look alike or hide something are 422, with no echo', async (t) => {
        for (const username of ['bob ', ' bob', 'bob\n', 'bob\0', 'bob\u202e', 'bob\u200d', 'bоb', '\ud83d', 'bob/../x', '<script>', 'x'.repeat(15_000)]) {
          const response = await post('/api/v1/signup', JSON.stringify({ ...bob, username }))
          t.equal(response.statusCode, 422, JSON.stringify(username).slice(0, 40))
          t.ok(response.body.length < 400 && !response.body.includes(JSON.stringify(username).slice(1, -1)))
        }
        for (const password of ['\ud800'.repeat(8), 'x'.repeat(257), '𝒫'.repeat(257), 'seven77', 'x'.repeat(15_000)]) {
          t.match((await post('/api/v1/signup', JSON.stringify({ ...bob, password }))).json(), { statusCode: 422, errors: [{ field: 'password' }] })
        }
        for (const password of ['\udfff secret', 'x'.repeat(257)]) {
          t.match((await post('/api/v1/login', JSON.stringify({ ...bob, password }))).json(), { statusCode: 422, errors: [{ field: 'password' }] })
        }
      })

      t.test('a password is normalized once a request, and only where it can be short enough', async (t) => {
        const normalized = watchNormalization(t)
        const [decomposed, next] = ['e\u0301'.repeat(20), 'e\u0301'.repeat(21)]
        await signUp(app, { username: 'jose', password: 'é'.repeat(20) })
        const authorization = (await logIn(app, { username: 'jose', password: 'é'.repeat(20) })).json().token
        const costly = { username: 'jose', email: `${costlyToNormalize}@example.com`, password: costlyToNormalize }
        const changes = { current_password: costlyToNormalize, new_password: costlyToNormalize }
        for (const [method, url, payload, status, composed] of [
          ['POST', 'login', { username: 'jose', password: decomposed }, 200, 1],
          ['POST', 'signup', { username: 'decomposed', email: 'decomposed@example.com', password: decomposed }, 200, 1],
          ['POST', 'signup', { username: 'short', password: 'e\u0301' }, 422, 1],
          ['DELETE', 'me', { password: next }, 401, 1],
          ['PUT', 'me/password', { current_password: decomposed, new_password: next }, 204, 2],
          ['POST', 'login', costly, 422, 0],
          ['POST', 'signup', costly, 422, 0],
          ['DELETE', 'me', costly, 422, 0],
          ['PUT', 'me/password', changes, 422, 0]
        ] as const) {
          normalized.length = 0
          const response = await app.inject({ method, url: `/api/v1/${url}`, headers: { authorization }, payload })
          t.equal(response.statusCode, status, `${method} ${url}: ${response.body}`)
          t.equal(normalized.filter(({ hasChanged }) => hasChanged).length, composed)
          t.ok(normalized.every(({ units }) => units <= 1_024))
        }
        t.equal((await logIn(app, { username: 'jose', password: next.normalize('NFC') })).statusCode, 200)
        for (const body of ['[]', '[{"password":"e\u0301"}]', '5']) t.equal((await post('/api/v1/login', body)).statusCode, 422, body)
      })

      t.test('servicesOf(app).passwords · takes text as a host has it, and never more than a password can be', async (t) => {
        const hash = await servicesOf(app).passwords.hash('e\u0301'.repeat(8))
        t.equal(await servicesOf(app).passwords.verify(hash, 'é'.repeat(8)), true)
        const normalized = watchNormalization(t)
        await t.rejects(servicesOf(app).passwords.hash(costlyToNormalize), { name: 'RangeError', message: 'a password must not be longer than 256 characters' })
        for (const stored of [hash, undefined]) t.equal(await servicesOf(app).passwords.verify(stored, costlyToNormalize), false)
        t.same(normalized, [])
      })

      t.test('a new username is no relative path segment and no command-line option; accounts that have such a name still log in', async (t) => {
        for (const [username, message] of [['.', 'username must not be . or ..'], ['..', 'username must not be . or ..'], ['-', 'username must not begin with -'], ['--help', 'username must not begin with -']]) {
          t.match((await post('/api/v1/signup', JSON.stringify({ ...bob, username }))).json(), { statusCode: 422, message, errors: [{ field: 'username', message }] })
          await t.rejects(servicesOf(app).users.create({ username: String(username), email: null, passwordHash: '' }), TypeError, 'an app that embeds us makes none either')
          t.match((await post('/api/v1/login', JSON.stringify({ ...bob, username }))).json(), { statusCode: 404, code: 'USERNAME_UNKNOWN' })
        }
        const { users } = servicesOf(app).store.tables
        await servicesOf(app).store.db.insert(users).values({ username: '--Help', usernameKey: '--help', passwordHash: await servicesOf(app).passwords.hash(bob.password), createdAt: new Date(), updatedAt: new Date() })
        const { token } = (await logIn(app, { ...bob, username: '--HELP' })).json()
        t.match((await app.inject({ url: '/api/v1/me', headers: { authorization: token } })).json(), { username: '--Help' })
        const deletion = await app.inject({ method: 'DELETE', url: '/api/v1/me', headers: { authorization: token }, payload: { password: bob.password } })
        t.equal(deletion.statusCode, 204)
      })

      t.test('no password contains NUL, neither a new one nor a current one', async (t) => {
        const password = 'correct\0horse battery'
        for (const url of routes) {
          t.match((await post(url, JSON.stringify({ ...bob, username: 'nul', password }))).json(), { statusCode: 422, message: 'password must not contain NUL', errors: [{ field: 'password' }] })
        }
        const authorization = await tokenOf(app, { ...bob, username: 'nul' })
        const ask = async (method: 'PUT' | 'DELETE', url: string, payload: object) => (await app.inject({ method, url, headers: { authorization }, payload })).json()
        t.match(await ask('PUT', '/api/v1/me/password', { current_password: password, new_password: password }), { statusCode: 422, errors: [{ message: 'current_password must not contain NUL' }, { message: 'new_password must not contain NUL' }] })
        t.match(await ask('DELETE', '/api/v1/me', { password }), { statusCode: 422, message: 'password must not contain NUL' })
      })

      t.test('an email is what the rule says, not what a library thinks', async (t) => {
        for (const [i, email] of ['a@b', 'root@localhost', 'josé@example.com', 'user@bücher.example', "o'hara+tag@example.com"].entries()) {
          t.equal((await post('/api/v1/signup', JSON.stringify({ ...bob, username: `mail${i}`, email }))).statusCode, 200, email)
        }
        for (const [email, message] of [['nowhere', 'email must be one address like user@example.com'], ['a@b, c@d', 'email must be one address like user@example.com'], [`${'a'.repeat(253)}@b`, 'email must not be longer than 254 characters']]) {
          t.match((await post('/api/v1/signup', JSON.stringify({ ...bob, username: 'mail', email }))).json(), { statusCode: 422, message })
        }
      })

      t.test('unknown members and duplicate keys: an answer, and nothing is stored', async (t) => {
        const response = await post('/api/v1/signup', '{"username":"first","username":"eve","password":"long enough to do","id":99,"roles":["admin"],"password_hash":"x","created_at":0,"toString":1}')
        t.match(response.json(), { msg: 'welcome :-)', user: { username: 'eve' } })
        t.not(response.json().user.id, 99)
        t.same(Object.keys(response.json().user), ['id', 'username', 'email', 'created_at'])
      })

      t.test('names that JavaScript knows are just names', async (t) => {
        for (const username of ['__proto__', 'constructor', 'toString', 'hasOwnProperty']) {
          t.equal((await signUp(app, { ...bob, username })).statusCode, 200, username)
          t.equal((await logIn(app, { ...bob, username })).statusCode, 200, username)
        }
        t.equal((await logIn(app, { ...bob, username: 'valueOf' })).statusCode, 404)
      })
    })

    t.test('tokens', async (t) => {
      const app = await build(t)
      const token = await tokenOf(app)
      const [header = '', payload = '', signature = ''] = token.split('.')
      const claims = JSON.parse(Buffer.from(payload, 'base64url').toString())
      const encode = (part: unknown) => Buffer.from(typeof part === 'string' ? part : JSON.stringify(part)).toString('base64url')
      const forge = (head: unknown, body: unknown = claims, key = secretKey, hash = 'sha256') => {
        const input = `${encode(head)}.${encode(body)}`
        return `${input}.${createHmac(hash, key).update(input).digest('base64url')}`
      }
      const ours = { alg: 'HS256', typ: 'JWT' }
      const middle = Math.floor(signature.length / 2)
      const flipped = `${signature.slice(0, middle)}${signature[middle] === 'A' ? 'B' : 'A'}${signature.slice(middle + 1)}`
      const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
      const rsaInput = `${encode({ alg: 'RS256', typ: 'JWT' })}.${payload}`

      t.test('the forger of this test can make a good one', async (t) => {
        t.equal((await needLogin(app, forge(ours))).statusCode, 200)
        t.equal((await needLogin(app, forge({ alg: 'HS256' }))).statusCode, 200, 'typ is optional (RFC 7519, section 5.1)')
      })

      const cases: Record<string, string> = {
        'empty header value': '',
        'Bearer and nothing': 'Bearer',
        'Bearer and a space': 'Bearer ',
        'another scheme': `Basic ${token}`,
        'token68 of another scheme': 'Basic Ym9iOnBhc3N3b3Jk',
        'scheme twice': `Bearer Bearer ${token}`,
        'something after it': `Bearer ${token} x`,
        'a comma after it': `Bearer ${token},`,
        'in quotes': `Bearer "${token}"`,
        'a tab before it': `Bearer\t${token}`,
        'two segments': `${header}.${payload}`,
        'no signature': `${header}.${payload}.`,
        'four segments': `${token}.x`,
        'five segments': `${token}.x.y`,
        'only dots': '..',
        padding: `${header}.${payload}.${signature}=`,
        'padding in the payload': `${header}.${payload}==.${signature}`,
        'the standard alphabet': `${header}.${payload}+/.${signature}`,
        'a space within': `${header}. ${payload}.${signature}`,
        'signature flipped': `${header}.${payload}.${flipped}`,
        'signature cut': `${header}.${payload}.${signature.slice(0, -4)}`,
        'signature in another spelling': `${token.slice(0, -1)}${String.fromCharCode(token.charCodeAt(token.length - 1) + 1)}`,
        'signature longer': `${token}AAAA`,
        'signature of nothing': `${header}.${payload}.AAAA`,
        'payload of another': `${header}.${encode({ ...claims, user_id: 2 })}.${signature}`,
        'another key': forge(ours, claims, 'Another-Key-Of-Somebody-Else-Altogether-42'),
        'an empty key': forge(ours, claims, ''),
        'alg none': `${encode({ alg: 'none', typ: 'JWT' })}.${payload}.`,
        'alg none, signed': forge({ alg: 'none', typ: 'JWT' }),
        'alg NONE': `${encode({ alg: 'NONE' })}.${payload}.${signature}`,
        'alg nOnE': `${encode({ alg: 'nOnE' })}.${payload}.x`,
        'alg hs256': forge({ alg: 'hs256', typ: 'JWT' }),
        'alg HS384': forge({ alg: 'HS384', typ: 'JWT' }, claims, secretKey, 'sha384'),
        'alg HS512': forge({ alg: 'HS512', typ: 'JWT' }, claims, secretKey, 'sha512'),
        'alg RS256': `${rsaInput}.${signRsa('sha256', Buffer.from(rsaInput), privateKey).toString('base64url')}`,
        'alg RS256 keyed with the secret': forge({ alg: 'RS256', typ: 'JWT' }),
        'alg missing': forge({ typ: 'JWT' }),
        'alg a number': forge({ alg: 256 }),
        'alg null': forge({ alg: null }),
        'alg an array': forge({ alg: ['HS256'] }),
        'alg an object': forge({ alg: { toString: 'HS256' } }),
        'typ another': forge({ alg: 'HS256', typ: 'at+jwt' }),
        'typ a number': forge({ alg: 'HS256', typ: 1 }),
        jku: forge({ ...ours, jku: 'http://127.0.0.1/keys' }),
        x5u: forge({ ...ours, x5u: 'http://127.0.0.1/cert' }),
        jwk: forge({ ...ours, jwk: { kty: 'oct', k: '' } }),
        x5c: forge({ ...ours, x5c: ['MIIB'] }),
        kid: forge({ ...ours, kid: '../../../dev/null' }),
        'crit unknown': forge({ ...ours, crit: ['exp2'], exp2: 1 }),
        'crit empty': forge({ ...ours, crit: [] }),
        'b64 false': forge({ ...ours, b64: false, crit: ['b64'] }),
        'header an array': forge([ours]),
        'header a string': forge('"HS256"'),
        'header null': forge('null'),
        'header no JSON': forge('{'),
        'header empty': `.${payload}.${signature}`,
        'payload an array': forge(ours, [claims]),
        'payload a string': forge(ours, '"bob"'),
        'payload null': forge(ours, 'null'),
        'payload a number': forge(ours, '42'),
        'payload no JSON': forge(ours, '{'),
        'payload empty': `${header}..${signature}`,
        'payload not UTF-8': `${header}.${Buffer.from([0xff, 0xfe]).toString('base64url')}.${signature}`,
        'no exp': forge(ours, { ...claims, exp: undefined }),
        'no iat': forge(ours, { ...claims, iat: undefined }),
        'exp a string': forge(ours, { ...claims, exp: String(claims.exp) }),
        'exp infinite': forge(ours, `{"user_id":1,"jti":"${claims.jti}","iat":${claims.iat},"exp":1e999}`),
        'exp in ten years': forge(ours, { ...claims, exp: claims.iat + 315_360_000 }),
        'exp in milliseconds': forge(ours, { ...claims, exp: claims.exp * 1000 }),
        'iat in the future': forge(ours, { ...claims, iat: claims.iat + 90, exp: claims.exp + 90 }),
        'nbf in the future': forge(ours, { ...claims, nbf: claims.iat + 90 }),
        'nbf a string': forge(ours, { ...claims, nbf: '0' }),
        '15 kB of garbage': 'x'.repeat(15_000),
        '15 kB of dots': '.'.repeat(15_000),
        '15 kB in three segments': `${'a'.repeat(5000)}.${'b'.repeat(5000)}.${'c'.repeat(5000)}`,
        'deep JSON': `${encode('['.repeat(5000))}.${payload}.${signature}`
      }
      for (const [name, authorization] of Object.entries(cases)) {
        t.test(`${name} · 401 TOKEN_INVALID`, async (t) => {
          // Its own time, not the clock's: the machine may be busy with something else.
          const before = process.cpuUsage()
          const response = await needLogin(app, authorization)
          const { user, system } = process.cpuUsage(before)
          t.ok(user + system < 100_000, `${user + system} µs`)
          t.match(response.json(), { statusCode: 401, code: 'TOKEN_INVALID', message: 'token is invalid' })
          t.equal(response.headers['www-authenticate'], 'Bearer error="invalid_token"')
          t.notMatch(response.body, leaks)
        })
      }

      t.test('a token in a query string or a cookie does not count', async (t) => {
        t.equal((await app.inject(`/need_login?token=${token}&access_token=${token}&Authorization=${token}`)).statusCode, 400)
        t.equal((await app.inject({ url: '/need_login', headers: { cookie: `token=${token}; Authorization=${token}` } })).statusCode, 400)
        t.equal((await app.inject({ url: '/need_login', headers: { 'x-authorization': token, 'proxy-authorization': token } })).statusCode, 400)
      })
    })

    t.test('a database that is gone · 500 or 503, and the body says no more than its status', async (t) => {
      const app = await build(t)
      const token = await tokenOf(app)
      await servicesOf(app).store.close()
      for (const response of [await logIn(app), await signUp(app), await needLogin(app, token)]) {
        const { statusCode, message, error } = response.json()
        t.ok(statusCode >= 500)
        t.equal(message, error)
        t.notMatch(response.body, leaks)
      }
    })
  })
}

t.test('query strings are text: they are coerced, and refused when they cannot be', async (t) => {
  const app = await build(t)
  await app.register(async (scope) => {
    await scope.register(validation, { passwordPolicy: { minLength: 8, blocklist: true } })
    scope.get('/page', { schema: { querystring: Type.Object({ limit: Type.Integer({ minimum: 1 }) }) } }, async ({ query }) => query)
  })
  t.same((await app.inject('/page?limit=5')).json(), { limit: 5 })
  for (const [query, message] of [['limit=0', 'limit must be >= 1'], ['limit=five', 'limit must be an integer'], ['', 'limit is empty']]) {
    t.match((await app.inject(`/page?${query}`)).json(), { statusCode: 422, code: 'VALIDATION_FAILED', message, errors: [{ field: 'limit', message }] })
  }
})

t.test('whatever the schema of a body is, its passwords are normalized', async (t) => {
  const app = await build(t)
  await app.register(async (scope) => {
    await scope.register(validation, { passwordPolicy: { minLength: 8, blocklist: true } })
    scope.post('/inline', { preValidation: async () => {}, schema: { body: Type.Object({ secret: Type.String({ format: 'current-password' }), name: Type.String() }) } }, async ({ body }) => body)
    scope.post('/any', { schema: { body: Type.Unknown() } }, async ({ body }) => body)
  })
  const payload = { secret: 'e\u0301', name: 'e\u0301' }
  t.same((await app.inject({ method: 'POST', url: '/inline', payload })).json(), { ...payload, secret: 'é' })
  t.same((await app.inject({ method: 'POST', url: '/any', payload })).json(), payload)
})

/** The port of a listening app. */
function portOf (app: FastifyInstance): number {
  const [address] = app.addresses()
  return typeof address === 'object' ? address.port : 0
}

/** What a listening app answers to raw bytes: everything until the connection ends, or until `quietMs` pass. */
async function raw (app: FastifyInstance, bytes: string, quietMs = 300): Promise<string> {
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

t.test('HTTP', async (t) => {
  const app = await build(t)
  await app.listen({ host: '127.0.0.1', port: 0 })
  const token = await tokenOf(app)
  const statusOf = (answer: string) => Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1])
  const get = (target: string, lines: string[] = []) => [`GET ${target} HTTP/1.1`, 'Host: localhost', 'Connection: close', ...lines, '', ''].join('\r\n')
  const authorization = `Authorization: Bearer ${token}`

  t.test('two Authorization headers are refused, whatever they say', async (t) => {
    for (const lines of [[authorization, authorization], [authorization, 'Authorization: x'], ['authorization: x', authorization]]) {
      t.equal(statusOf(await raw(app, get('/need_login', lines))), 401)
    }
    t.equal(statusOf(await raw(app, get('/need_login', [authorization]))), 200)
  })

  t.test('the guard is not bypassed by another spelling of its path', async (t) => {
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

  t.test('what is no HTTP is 4xx, in less than 1 KiB, and the server goes on', async (t) => {
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
      t.notMatch(answer, leaks, name)
    }
    t.equal(statusOf(await raw(app, get('/'))), 200)
  })

  t.test('errors below the routes have the shape and the headers of all others', async (t) => {
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

  t.test('garbage behind a request is not taken for its answer', async (t) => {
    const body = JSON.stringify({ ...bob, username: 'pipelined' })
    const answer = await raw(app, `POST /api/v1/signup HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}GARBAGE\r\n\r\n`)
    t.notMatch(answer, /^HTTP\/1\.1 400/)
  })

  t.test('a client that leaves in the middle harms nobody', async (t) => {
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

  t.test('unknown paths are 404 and repeat nothing; known ones with another method 405 with Allow', async (t) => {
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

  t.test('every answer has the security headers, and none says what made it', async (t) => {
    for (const url of ['/', '/need_login', '/nothing', '/api/v1/login', '/docs', '/docs/static/swagger-ui.css', '/openapi.json', '/openapi.yaml', '/health/live']) {
      const { headers } = await app.inject(url)
      t.match(headers, { 'x-content-type-options': 'nosniff', 'referrer-policy': 'no-referrer', 'content-security-policy': /default-src 'none'/, 'x-frame-options': String }, url)
      t.notOk('x-powered-by' in headers || 'server' in headers || 'strict-transport-security' in headers)
      t.notOk('access-control-allow-origin' in headers, 'no CORS unless it is asked for')
      // What only means something to a page is on pages only.
      t.equal('cross-origin-opener-policy' in headers, url.startsWith('/docs'), url)
    }
  })

  t.test('a docs page that could not be made is made when the next one asks, and the server closes', async (t) => {
    const app = await build(t)
    await app.ready()
    const { swagger } = app
    Object.assign(app, { swagger: () => { throw new Error('too many open files') } })
    for (let i = 0; i < 2; i++) t.match((await app.inject('/docs')).json(), { statusCode: 500, code: 'INTERNAL_SERVER_ERROR', message: 'Internal Server Error' })
    const failed = await build(t)
    Object.assign(app, { swagger })
    t.equal((await app.inject('/docs')).statusCode, 200)
    await failed.close()
  })

  t.test('the docs page is there for HEAD and for many at once, and closes with the server', async (t) => {
    const app = await build(t)
    const answers = await Promise.all(Array.from({ length: 5 }, () => app.inject('/docs')))
    for (const { statusCode, headers } of answers) {
      t.equal(statusCode, 200)
      t.match(headers, { 'content-type': /^text\/html/, 'content-security-policy': /script-src 'self'/ })
    }
    t.match(await app.inject({ method: 'HEAD', url: '/docs' }), { statusCode: 200, body: '' })
    t.equal((await app.inject({ method: 'POST', url: '/docs' })).statusCode, 405)
    t.match((await app.inject('/docs/static/%00')).json(), { code: /ROUTE_NOT_FOUND|REQUEST_MALFORMED/ })
    const url = await app.listen({ port: 0 })
    const { host } = new URL(url)
    const answer = await raw(app, `GET /docs HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`)
    t.equal(statusOf(answer), 200)
    await app.close()
  })
})

t.test('CORS_ORIGIN · only the origins of the list, never with credentials', async (t) => {
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
  }
  for (const origin of ['https://evil.example', 'https://app.example.com.evil.example', 'null']) {
    t.notOk('access-control-allow-origin' in (await ask(origin)).headers, origin)
  }
  t.equal((await app.inject('/nothing')).statusCode, 404)
  t.equal((await app.inject({ method: 'DELETE', url: '/' })).statusCode, 405)
  t.equal((await app.inject({ method: 'OPTIONS', url: '/' })).statusCode, 204, 'also when it is no preflight')
})

t.test('TRUST_PROXY · forwarded addresses count only from a named peer', async (t) => {
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

t.test('forwarded addresses that nobody is trusted with are warned of, once', async (t) => {
  const warnings = async (env: Record<string, string>) => {
    const lines: string[] = []
    const app = await build(t, { LOG_LEVEL: 'warn', ...env }, { logStream: { write: (line) => { lines.push(line) } } })
    await app.inject('/')
    t.same(lines, [])
    for (const name of ['x-forwarded-for', 'X-Real-IP', 'forwarded']) await app.inject({ url: '/', headers: { [name]: '203.0.113.7' } })
    return lines
  }
  const [line = '', ...others] = await warnings({})
  t.match(JSON.parse(line), { level: 40, address: '127.0.0.1', msg: /name it in TRUST_PROXY$/ })
  t.notMatch(line, '203.0.113.7')
  t.same(others, [])
  t.same(await warnings({ TRUST_PROXY: '127.0.0.1' }), [])
})

t.test('a locked database · writes answer 503 with Retry-After within a second, reads go on, and it heals', async (t) => {
  const file = join(temporaryFolder(t), 'latchkey.sqlite')
  const lines: string[] = []
  const app = await build(t, { DATABASE_URL: `sqlite:///${file}`, LOG_LEVEL: 'error' }, { logStream: { write: (line) => { lines.push(line) } } })
  const token = await tokenOf(app)
  const other = new Database(file)
  other.exec('begin immediate')
  const before = performance.now()
  for (const response of [await signUp(app, { ...bob, username: 'alice' }), await logIn(app)]) {
    t.same(response.json(), { statusCode: 503, code: 'SERVICE_UNAVAILABLE', error: 'Service Unavailable', message: 'Service Unavailable' })
    t.equal(response.headers['retry-after'], '1')
  }
  t.ok(performance.now() - before < 2000)
  t.equal((await needLogin(app, token)).statusCode, 200)
  t.equal((await app.inject('/health/ready')).statusCode, 200)
  other.exec('rollback')
  other.close()
  t.equal((await signUp(app, { ...bob, username: 'alice' })).statusCode, 200)
  t.match(lines.join(''), /SQLITE_BUSY/)
  t.notMatch(lines.join(''), /alice|insert into|argon2/i, 'no statement, no parameter')
})

t.test('a locked database · of many writes one waits; reads are served between them', async (t) => {
  const file = join(temporaryFolder(t), 'latchkey.sqlite')
  const app = await build(t, { DATABASE_URL: `sqlite:///${file}` })
  const token = await tokenOf(app)
  const other = new Database(file)
  other.exec('begin immediate')
  const before = performance.now()
  const writes = Promise.all(Array.from({ length: 40 }, (_, i) => signUp(app, { ...bob, username: `bob${i}` })))
  t.equal((await needLogin(app, token)).statusCode, 200)
  const read = performance.now() - before
  for (const { statusCode } of await writes) t.equal(statusCode, 503)
  t.ok(performance.now() - before < 5_000, 'in a row they would take ten seconds')
  t.ok(read < 2_000, `${Math.round(read)} ms`)
  await new Promise((resolve) => setTimeout(resolve, 1_000))
  t.equal((await signUp(app, { ...bob, username: 'alice' })).statusCode, 503, 'the next one waits again, in vain')
  other.exec('rollback')
  other.close()
  t.equal((await signUp(app, { ...bob, username: 'alice' })).statusCode, 200)
})
