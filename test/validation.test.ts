import { Type } from '@sinclair/typebox'
import t from 'tap'
import { clientNetwork, printableAddress } from '../src/lib/client-network.js'
import { describeRequestId, describeUserAgent, descriptionProblem } from '../src/lib/single-line.js'
import { canonicalPassword, newPasswordProblem, passwordProblem, personalPasswordProblem } from '../src/plugins/passwords/policy.js'
import { parseHash } from '../src/plugins/passwords/stored-hash.js'
import { canonicalEmail, emailProblem } from '../src/plugins/users/email.js'
import { canonicalUsername, usernamePattern, usernameProblem } from '../src/plugins/users/username.js'
import validation from '../src/plugins/validation/index.js'
import { servicesOf } from '../src/services.js'
import { asUser } from '../src/testing.js'
import { databases } from './databases.js'
import { as, bob, build, buildOn, costlyToNormalize, internals, logIn, signUp, tokenOf, watchNormalization } from './helper.js'

for (const database of databases) {
  t.test(database.name, async (t) => {
    const build = buildOn(database)

    t.test('request bodies', async (t) => {
      const app = await build(t)
      const routes = ['/api/v1/signup', '/api/v1/login']
      const post = (url: string, payload: string | Buffer, type: string | undefined = 'application/json') =>
        app.inject({ method: 'POST', url, payload, headers: type === undefined ? {} : { 'content-type': type } })

      t.test('JSON in any spelling of its media type → accepted', async (t) => {
        for (const type of ['application/json', 'Application/JSON', 'application/json; charset=utf-8', 'application/json;charset="UTF-8"']) {
          t.equal((await post('/api/v1/login', JSON.stringify(bob), type)).statusCode, 404, type)
        }
      })

      t.test('any other media type → 415 MEDIA_TYPE_UNSUPPORTED', async (t) => {
        for (const url of routes) {
          for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', 'application/jsonp', 'text/json', 'application/json+x', 'application/xml', 'json', ';']) {
            const response = await post(url, JSON.stringify(bob), type)
            t.match(response.json(), { statusCode: 415, code: 'MEDIA_TYPE_UNSUPPORTED', message: 'the body must be application/json' }, type)
            t.notMatch(response.body, internals)
          }
        }
      })

      t.test('not JSON in UTF-8, or with __proto__ → 400 BODY_MALFORMED', async (t) => {
        for (const url of routes) {
          for (const body of [
            '', '{', '{"username":', "{'username':'bob'}", '{"username":"bob",}', '\0', '{"a":NaN}', 'undefined', '{"username":"bob"}{"x":1}', '{"__proto__":{"admin":true}}',
            '{"username":"bob","password":"x","__proto__":null}', '{"constructor":{"prototype":{"admin":true}}}', '{"a":{"b":{"__proto__":1}}}',
            Buffer.from('7b22757365726e616d65223a22ff22 7d'.replaceAll(' ', ''), 'hex'), Buffer.from('fffe7b007d00', 'hex'), '['.repeat(8000), '{"a":'.repeat(2500)
          ]) {
            const response = await post(url, body)
            t.match(response.json(), { statusCode: 400, code: 'BODY_MALFORMED', message: 'the body is not valid JSON' }, String(body).slice(0, 40))
            t.notMatch(response.body, internals)
          }
        }
      })

      t.test('longer than 16 KiB → 413 BODY_TOO_LARGE', async (t) => {
        for (const url of routes) {
          const body = JSON.stringify({ ...bob, padding: 'x'.repeat(16_384) })
          t.match((await post(url, body)).json(), { statusCode: 413, code: 'BODY_TOO_LARGE' })
          t.equal((await post(url, JSON.stringify({ padding: 'x'.repeat(16_000) }))).statusCode, 422)
        }
      })

      t.test('not an object, or required fields are missing → 422 VALIDATION_FAILED with every missing field', async (t) => {
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

      t.test('wrong types → 422 VALIDATION_FAILED, nothing is converted', async (t) => {
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

      t.test('several problems → 422 VALIDATION_FAILED with one for each field, in the order username, email, password', async (t) => {
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

      t.test('look-alike or hidden characters, passwords of a wrong length → 422 VALIDATION_FAILED, without an echo', async (t) => {
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

      t.test('passwords → normalized once per request, and only if they are short enough', async (t) => {
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

      t.test('passwords.hash, passwords.verify · text as a host has it → normalized; too long → RangeError, false', async (t) => {
        const hash = await servicesOf(app).passwords.hash('e\u0301'.repeat(8))
        t.equal(await servicesOf(app).passwords.verify(hash, 'é'.repeat(8)), true)
        const normalized = watchNormalization(t)
        await t.rejects(servicesOf(app).passwords.hash(costlyToNormalize), { name: 'RangeError', message: 'a password must not be longer than 256 characters' })
        for (const stored of [hash, undefined]) t.equal(await servicesOf(app).passwords.verify(stored, costlyToNormalize), false)
        t.same(normalized, [])
      })

      t.test('username like a path segment or an option → 422 VALIDATION_FAILED; an account that has one still logs in', async (t) => {
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

      t.test('password with NUL → 422 VALIDATION_FAILED', async (t) => {
        const password = 'correct\0horse battery'
        for (const url of routes) {
          t.match((await post(url, JSON.stringify({ ...bob, username: 'nul', password }))).json(), { statusCode: 422, message: 'password must not contain NUL', errors: [{ field: 'password' }] })
        }
        const authorization = await tokenOf(app, { ...bob, username: 'nul' })
        const ask = async (method: 'PUT' | 'DELETE', url: string, payload: object) => (await app.inject({ method, url, headers: { authorization }, payload })).json()
        t.match(await ask('PUT', '/api/v1/me/password', { current_password: password, new_password: password }), { statusCode: 422, errors: [{ message: 'current_password must not contain NUL' }, { message: 'new_password must not contain NUL' }] })
        t.match(await ask('DELETE', '/api/v1/me', { password }), { statusCode: 422, message: 'password must not contain NUL' })
      })

      t.test('email · valid → 200; invalid → 422 VALIDATION_FAILED', async (t) => {
        for (const [i, email] of ['a@b', 'root@localhost', 'josé@example.com', 'user@bücher.example', "o'hara+tag@example.com"].entries()) {
          t.equal((await post('/api/v1/signup', JSON.stringify({ ...bob, username: `mail${i}`, email }))).statusCode, 200, email)
        }
        for (const [email, message] of [['nowhere', 'email must be one address like user@example.com'], ['a@b, c@d', 'email must be one address like user@example.com'], [`${'a'.repeat(253)}@b`, 'email must not be longer than 254 characters']]) {
          t.match((await post('/api/v1/signup', JSON.stringify({ ...bob, username: 'mail', email }))).json(), { statusCode: 422, message })
        }
      })

      t.test('unknown members and duplicate keys → ignored, nothing of them is stored', async (t) => {
        const response = await post('/api/v1/signup', '{"username":"first","username":"eve","password":"long enough to do","id":99,"roles":["admin"],"password_hash":"x","created_at":0,"toString":1}')
        t.match(response.json(), { msg: 'welcome :-)', user: { username: 'eve' } })
        t.not(response.json().user.id, 99)
        t.same(Object.keys(response.json().user), ['id', 'username', 'email', 'email_verified', 'created_at'])
      })

      t.test('usernames like __proto__ → ordinary names', async (t) => {
        for (const username of ['__proto__', 'constructor', 'toString', 'hasOwnProperty']) {
          t.equal((await signUp(app, { ...bob, username })).statusCode, 200, username)
          t.equal((await logIn(app, { ...bob, username })).statusCode, 200, username)
        }
        t.equal((await logIn(app, { ...bob, username: 'valueOf' })).statusCode, 404)
      })
    })

    t.test('GET /api/v1/events · numbers that are not decimal digits or out of range → 422 VALIDATION_FAILED', async (t) => {
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

t.test('query strings · converted to the type of the schema; not convertible → 422 VALIDATION_FAILED', async (t) => {
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

t.test('request bodies · passwords are normalized, whatever the schema', async (t) => {
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

t.test('usernames · valid and invalid ones; the pattern in the contract agrees', async (t) => {
  const pattern = new RegExp(usernamePattern)
  for (const good of ['b', 'bob', 'Bob_1', 'a.b@c+d-e', '_', 'x'.repeat(64), '__proto__', 'constructor', 'b-', '.b', '..b', '...', '....', '.-', '..-', '._', '@', '+1']) {
    t.equal(usernameProblem(good), undefined, good)
    t.match(good, pattern, 'and the contract says so')
  }
  for (const bad of ['bob ', ' bob', 'b ob', 'böb', 'bob\n', 'bob\0', 'bob\u202e', 'bob\u200b', 'ｂｏｂ', 'b/b', '\ud800', 'x'.repeat(65)]) {
    t.type(usernameProblem(bad), 'string', JSON.stringify(bad))
    t.equal(canonicalUsername(bad), undefined)
    if (bad.length <= 64) t.notMatch(bad, pattern)
  }
  for (const [bad, problem] of [['.', 'must not be . or ..'], ['..', 'must not be . or ..'], ['-', 'must not begin with -'], ['--help', 'must not begin with -'], ['-X', 'must not begin with -']] as const) {
    t.equal(usernameProblem(bad), problem)
    t.notMatch(bad, pattern)
    t.equal(canonicalUsername(bad), bad.toLowerCase(), 'an account that has it already is found')
  }
  t.equal(canonicalUsername('BoB'), 'bob')
})

t.test('emails · valid and invalid ones', async (t) => {
  for (const good of ['a@b', 'bob@example.com', "o'hara+tag@mail.example.co.uk", 'jörg@exämple.de', '用户@例子.公司', 'a@b-c.d--e', `${'a'.repeat(252)}@b`]) {
    t.equal(emailProblem(good), undefined, good)
  }
  for (const bad of [
    '', 'bob', '@b', 'a@', 'a@b@c', 'a b@c', ' a@b', 'a@b ', 'a@b\n', 'a@b.', 'a@.b', 'a@b..c', 'a@-b', 'a@b-', 'a..b@c', 'a@b,c@d', 'a@b;c', '<a@b>', 'Bob <a@b>', 'a@[127.0.0.1]', 'a@b:c',
    'a\0@b', 'a\u202e@b', 'a\u200b@b', 'a\u00a0@b', 'a@b\ud800', '\ufeffa@b', 'a@b_c', `${'a'.repeat(253)}@b`
  ]) {
    t.type(emailProblem(bad), 'string', JSON.stringify(bad))
  }
  t.equal(emailProblem(''), 'is empty')
  t.equal(canonicalEmail('JO\u0308RG@Example.COM'), 'jörg@example.com')
})

t.test('User-Agent and request id · shortened, without invisible characters', async (t) => {
  t.equal(describeUserAgent(undefined), '')
  t.equal(describeUserAgent(` curl/8\n\u200b${'x'.repeat(300)}`), ` curl/8${'x'.repeat(193)}`)
  t.equal(describeUserAgent('\u200b'.repeat(16_000) + 'x'), '', 'of a string of any length the start is looked at')
  t.equal(describeRequestId('\u200b'.repeat(16_000) + 'x'), null)
  t.equal(describeRequestId('req-1'), 'req-1')
})

t.test('passwords · length in characters, NFC, NUL, common ones', async (t) => {
  const policy = { minLength: 8, blocklist: true }
  for (const good of ['correct horse', '        ', 'test_user', '𝒫'.repeat(8), 'é'.repeat(256), 'e\u0301'.repeat(256), '\ufffd'.repeat(8)]) {
    t.equal(newPasswordProblem(good, policy), undefined, JSON.stringify(good))
  }
  t.equal(newPasswordProblem('1234567', policy), 'must be at least 8 characters long')
  t.equal(newPasswordProblem('𝒫'.repeat(7), policy), 'must be at least 8 characters long', 'counts code points')
  t.equal(newPasswordProblem('e\u0301'.repeat(7), policy), 'must be at least 8 characters long', 'counts after NFC')
  t.equal(newPasswordProblem('x'.repeat(257), policy), 'must not be longer than 256 characters')
  t.equal(newPasswordProblem('long enough\ud800', policy), 'is not valid Unicode')
  for (const withNul of ['\0', '\0\0\0\0\0\0\0\0', 'long enough\0', '\0long enough', 'long\0enough']) {
    t.equal(passwordProblem(withNul), 'must not contain NUL', 'not at a login either')
    t.equal(newPasswordProblem(withNul, policy), 'must not contain NUL')
  }
  for (const common of ['password', 'PassWord', '12345678', 'qwertyuiop', 'iloveyou', 'password123']) {
    t.equal(newPasswordProblem(common, policy), 'is one of the most common passwords', common)
    t.equal(newPasswordProblem(common, { ...policy, blocklist: false }), undefined)
  }
  t.equal(newPasswordProblem('# Source:', policy), undefined, 'the head of the list is no entry')
  t.equal(passwordProblem('x'), undefined, 'a login asks for less')
  t.type(passwordProblem('x'.repeat(257)), 'string')
  t.equal(canonicalPassword(' e\u0301 '), ' \u00e9 ')
})

t.test('rules · no more of a text is read than its longest valid value has', async (t) => {
  const policy = { minLength: 8, blocklist: true }
  const normalized = watchNormalization(t)
  // Four units are the most that become one character: a Greek letter with three marks.
  const longest = '\u03b1\u0313\u0300\u0345'.repeat(256)
  t.equal(longest.length, 1_024)
  t.equal(newPasswordProblem(longest, policy), undefined)
  t.equal(canonicalPassword(longest), '\u1f82'.repeat(256))
  for (const long of [`${longest}x`, costlyToNormalize, 'x'.repeat(1_000_000), '\ud800'.repeat(2_000)]) {
    for (const problem of [passwordProblem(long), newPasswordProblem(long, policy)]) t.equal(problem, 'must not be longer than 256 characters')
    t.equal(emailProblem(`${long}@example.com`), 'must not be longer than 254 characters')
    t.equal(descriptionProblem(long), 'must not be longer than 200 characters')
    t.type(usernameProblem(long), 'string')
    t.equal(parseHash(long), undefined)
    for (const text of [clientNetwork(long), printableAddress(long), printableAddress(`[::1%${long}]:80`)]) t.equal(text, 'unknown')
    t.equal(clientNetwork(`::1%${long}`), '::/64')
    t.equal(printableAddress(`::1%${long}`), '::1')
    t.equal(describeUserAgent(long.slice(0, 600)), describeUserAgent(long.slice(0, 600) + long))
    for (const normalize of [canonicalPassword, canonicalEmail, (text: string) => personalPasswordProblem(text, { username: 'bob', email: null })]) t.throws(() => normalize(long), { name: 'RangeError' })
  }
  t.equal(Math.max(...normalized.map(({ units }) => units)), 1_024)
  t.equal(describeUserAgent(`${'\u200b'.repeat(10)}curl/8`), 'curl/8')
  t.equal(descriptionProblem('𝒫'.repeat(200)), undefined)
})
