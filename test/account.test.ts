import Fastify, { type FastifyInstance, type InjectOptions } from 'fastify'
import { sql } from 'drizzle-orm'
import t, { type Test } from 'tap'
import latchkey from '../src/index.js'
import { servicesOf } from '../src/services.js'
import { databases } from './databases.js'
import { bob, buildOn, claimsOf, logIn, needLogin, secretKey, signUp, tokenOf } from './helper.js'

const alice = { username: 'alice', password: 'another horse battery staple' }
const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
const nobodysId = '4e808214-e320-4173-bb6c-b75fbdd51003'

/** Asks as whoever has the token. */
function as (app: FastifyInstance, token: string) {
  return (method: 'GET' | 'POST' | 'PUT' | 'DELETE', url: string, payload?: InjectOptions['payload']) =>
    app.inject({ method, url: `/api/v1${url}`, headers: { authorization: `Bearer ${token}` }, payload })
}

async function makeAdmin (app: FastifyInstance, username: string): Promise<void> {
  const user = await servicesOf(app).users.find(username)
  await servicesOf(app).roles.grant(Number(user?.id), 'admin')
}

const idOf = (token: string): string => claimsOf(token).jti

for (const database of databases) {
  t.test(database.name, async (t) => {
    const build = buildOn(database)
    /** Two servers on one database. */
    const pair = async (t: Test) => {
      const env = { DATABASE_URL: await database.create(t, { isShared: true }) }
      return [await build(t, env), await build(t, env)] as const
    }

    t.test('POST /api/v1/logout · this token answers 401 from then on, everywhere; others live', async (t) => {
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

    t.test('routes that ask for nothing take nothing, whatever its type is said to be', async (t) => {
      const app = await build(t)
      for (const [method, url] of [['DELETE', '/tokens?scope=others'], ['GET', '/tokens'], ['POST', '/logout']] as const) {
        const authorization = `Bearer ${await tokenOf(app)}`
        t.equal((await app.inject({ method, url: `/api/v1${url}`, headers: { authorization, 'content-type': 'application/json' } })).statusCode, 200, url)
      }
      const forged = await app.inject({ method: 'PUT', url: '/api/v1/me/password', headers: { authorization: 'x.y.z', 'content-type': 'text/plain' }, payload: '{' })
      t.equal(forged.statusCode, 401, 'the guard decides before anything is parsed')
    })

    t.test('GET /api/v1/tokens', async (t) => {
      t.test('lists my living tokens, newest first, without the tokens, and says which is this one', async (t) => {
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

      t.test('last_used_at is written beside the requests, at most once in five minutes', async (t) => {
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

      t.test('a use is written soon, and at the latest when the server closes', async (t) => {
        const url = await database.create(t, { isShared: true })
        const app = await build(t, { DATABASE_URL: url })
        const token = await tokenOf(app)
        await needLogin(app, token)
        await app.close()
        const again = await build(t, { DATABASE_URL: url })
        const [row] = await servicesOf(again).store.db.select().from(servicesOf(again).store.tables.tokens)
        t.ok(row?.lastUsedAt instanceof Date)
      })
    })

    t.test('POST /api/v1/tokens', async (t) => {
      t.test('makes a token with a name and a life of its own, shown this once', async (t) => {
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

      t.test('refuses what it cannot be', async (t) => {
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

      t.test('a user has at most 100: the oldest logins give way, access tokens and this one never', async (t) => {
        let now = Date.now()
        const app = await build(t, {}, { now: () => now++ })
        const { tokens } = servicesOf(app).store.tables
        const count = async () => servicesOf(app).store.db.$count(tokens, sql`user_id = 1`)
        const current = await tokenOf(app)
        const alices = await tokenOf(app, alice)
        const oldest = (await logIn(app)).json().token
        const personal = (await as(app, current)('POST', '/tokens', { description: 'stays' })).json().token
        for (let i = 0; i < 97; i++) await logIn(app)
        t.equal(await count(), 100)
        await as(app, current)('POST', '/tokens', { description: 'takes the place of a login' })
        t.equal(await count(), 100)
        t.equal((await needLogin(app, current)).statusCode, 200, 'the token that asks is spared, though it is older')
        t.match((await needLogin(app, oldest)).json(), { code: 'TOKEN_REVOKED' })
        await logIn(app)
        t.equal(await count(), 100)
        t.match((await needLogin(app, current)).json(), { code: 'TOKEN_REVOKED' }, 'now it is the oldest login')
        for (const alive of [personal, alices]) t.equal((await needLogin(app, alive)).statusCode, 200)
      })

      t.test('99 of them can be personal; a request for more is refused and takes nothing from anybody', async (t) => {
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
    })

    t.test('DELETE /api/v1/tokens', async (t) => {
      t.test('takes all back, or all others', async (t) => {
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

      t.test('another scope is 422 and takes nothing back', async (t) => {
        const app = await build(t)
        const token = await tokenOf(app)
        for (const scope of ['mine', '', 'ALL', 'all&scope=others']) t.equal((await as(app, token)('DELETE', `/tokens?scope=${scope}`)).statusCode, 422, scope)
        t.equal((await needLogin(app, token)).statusCode, 200)
      })
    })

    t.test('DELETE /api/v1/tokens/{id}', async (t) => {
      t.test('takes one of mine back; those of others are not there', async (t) => {
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

      t.test('an id of any other shape is 404', async (t) => {
        const app = await build(t)
        const ask = as(app, await tokenOf(app))
        for (const id of ['1', '-1', 'null', '*', '%00', '%2e%2e', '..%2f..', "'%20or%201=1--", '%f0%9f%94%91', '%ff', '%zz', '%', nobodysId.toUpperCase(), `${nobodysId}%0a`, 'x'.repeat(99), 'x'.repeat(5_000), `${nobodysId}/x`, nobodysId]) {
          const response = await ask('DELETE', `/tokens/${id}`)
          t.equal(response.statusCode, 404, id.slice(0, 40))
          t.notMatch(response.body, /sqlite|select|stack/i)
        }
        t.equal((await app.inject({ method: 'DELETE', url: `/api/v1/tokens/${nobodysId}` })).statusCode, 400, 'without a token')
      })
    })

    t.test('GET /api/v1/me · is the account with its roles', async (t) => {
      const app = await build(t, {}, { now: () => Date.UTC(2026, 10, 23, 20, 44) })
      const token = await tokenOf(app, { ...bob, email: 'bob@example.com' })
      const expected = { id: 1, username: 'bob', email: 'bob@example.com', created_at: '2026-11-23T20:44:00.000Z', roles: [] }
      const response = await as(app, token)('GET', '/me')
      t.same(response.json(), expected)
      t.equal(response.headers['cache-control'], 'no-store')
      await servicesOf(app).roles.create({ name: 'editor', description: 'May change articles.' })
      for (const role of ['editor', 'admin']) await servicesOf(app).roles.grant(1, role)
      t.same((await as(app, token)('GET', '/me')).json(), { ...expected, roles: ['admin', 'editor'] })
      t.equal((await app.inject('/api/v1/me')).statusCode, 400)
    })

    t.test('PUT /api/v1/me/password', async (t) => {
      const next = 'incorrect donkey charger clip'

      t.test('changes it; every other token is taken back, everywhere, this one lives', async (t) => {
        const [app, there] = await pair(t)
        const token = await tokenOf(app)
        const other = (await logIn(app)).json().token
        const personal = (await as(app, token)('POST', '/tokens', { description: 'x' })).json().token
        const response = await as(app, token)('PUT', '/me/password', { current_password: bob.password, new_password: next })
        t.equal(response.statusCode, 204)
        t.equal(response.body, '')
        t.equal((await needLogin(there, token)).statusCode, 200)
        for (const gone of [other, personal]) t.match((await needLogin(there, gone)).json(), { code: 'TOKEN_REVOKED' })
        t.match((await logIn(there)).json(), { code: 'PASSWORD_INCORRECT' })
        t.equal((await logIn(there, { ...bob, password: next })).statusCode, 200)
      })

      t.test('asks for the present password, and for a new one as good as at the signup', async (t) => {
        const app = await build(t)
        const token = await tokenOf(app, { ...bob, username: 'bob_the_builder', email: 'bob@example.com' })
        const other = (await logIn(app, { ...bob, username: 'bob_the_builder' })).json().token
        const ask = (body: object) => as(app, token)('PUT', '/me/password', body)
        const wrong = await ask({ current_password: 'wrong', new_password: next })
        t.match(wrong.json(), { statusCode: 401, code: 'PASSWORD_INCORRECT', message: 'password incorrect' })
        t.type(wrong.headers['www-authenticate'], 'string')
        for (const [body, message] of [
          [{}, 'current_password is empty'],
          [{ current_password: '', new_password: next }, 'current_password is empty'],
          [{ current_password: bob.password }, 'new_password is empty'],
          [{ current_password: bob.password, new_password: 'short' }, 'new_password must be at least 8 characters long'],
          [{ current_password: bob.password, new_password: 'password1' }, 'new_password is one of the most common passwords'],
          [{ current_password: bob.password, new_password: 'BOB_the_builder' }, 'new_password must not be the username'],
          [{ current_password: bob.password, new_password: 'Bob@example.com' }, 'new_password must not be the email'],
          [{ current_password: [bob.password], new_password: next }, 'current_password must be a string']
        ] as const) {
          t.match((await ask(body)).json(), { statusCode: 422, code: 'VALIDATION_FAILED', message }, message)
        }
        t.equal((await needLogin(app, other)).statusCode, 200, 'a refused change takes nothing back')
      })

      t.test('a change that fails half-way changes nothing and takes nothing back', async (t) => {
        const app = await build(t)
        const token = await tokenOf(app)
        const other = (await logIn(app)).json().token
        await database.addTrigger(servicesOf(app).store, 'before delete on tokens', database.fault('crash'))
        t.equal((await as(app, token)('PUT', '/me/password', { current_password: bob.password, new_password: next })).statusCode, 500)
        for (const alive of [token, other]) t.equal((await needLogin(app, alive)).statusCode, 200)
        t.equal((await logIn(app)).statusCode, 200)
        t.equal((await logIn(app, { ...bob, password: next })).statusCode, 401)
      })

      t.test('a hash that a login upgrades meanwhile is no reason to refuse', async (t) => {
        const app = await build(t)
        const token = await tokenOf(app)
        await logIn(app)
        const { replacePassword } = servicesOf(app).users
        t.teardown(() => Object.assign(servicesOf(app).users, { replacePassword }))
        const upgraded = await servicesOf(app).passwords.hash(bob.password)
        Object.assign(servicesOf(app).users, {
          async replacePassword (...args: Parameters<typeof replacePassword>) {
            Object.assign(servicesOf(app).users, { replacePassword })
            await servicesOf(app).users.replaceHash(1, String(await servicesOf(app).users.findHash(1)), upgraded)
            return await replacePassword(...args)
          }
        })
        t.equal((await as(app, token)('PUT', '/me/password', { current_password: bob.password, new_password: next })).statusCode, 204)
        t.equal((await logIn(app, { ...bob, password: next })).statusCode, 200)
      })

      t.test('of two changes at once from the same password one wins', async (t) => {
        const app = await build(t, {}, { hashParameters: { memoryCost: 4_096, timeCost: 2, parallelism: 1 } })
        const token = await tokenOf(app)
        const responses = await Promise.all([next, `${next}!`].map((password) => as(app, token)('PUT', '/me/password', { current_password: bob.password, new_password: password })))
        t.same(responses.map(({ statusCode }) => statusCode).sort(), [204, 401])
        t.equal((await needLogin(app, token)).statusCode, 200)
      })

      t.test('a login with the old password that is under way meanwhile gets no token that lives', async (t) => {
        const app = await build(t)
        const token = await tokenOf(app)
        const changed = await servicesOf(app).passwords.hash(next)
        // The change takes effect exactly between the check of the old password and the answer.
        await database.addTrigger(servicesOf(app).store, 'after insert on tokens', `update users set password_hash = '${changed}'`)
        t.match((await logIn(app)).json(), { statusCode: 401, code: 'PASSWORD_INCORRECT' })
        t.equal((await as(app, token)('GET', '/tokens')).json().tokens.length, 1)
        t.equal((await logIn(app, { ...bob, password: next })).statusCode, 200, 'a hash that was only upgraded is no reason')
      })
    })

    t.test('DELETE /api/v1/me', async (t) => {
      t.test('the account and all that hangs on it is gone, everywhere, and its id never returns', async (t) => {
        const [app, there] = await pair(t)
        const token = await tokenOf(app)
        await servicesOf(app).roles.create({ name: 'editor', description: 'x' })
        await servicesOf(app).roles.grant(1, 'editor')
        t.match((await as(app, token)('DELETE', '/me', { password: 'wrong' })).json(), { statusCode: 401, code: 'PASSWORD_INCORRECT' })
        t.match((await as(app, token)('DELETE', '/me', {})).json(), { statusCode: 422, message: 'password is empty' })
        t.match((await as(app, token)('DELETE', '/me')).json(), { statusCode: 422, message: 'password is empty' })
        const response = await as(app, token)('DELETE', '/me', { password: bob.password })
        t.equal(response.statusCode, 204)
        t.match((await needLogin(there, token)).json(), { statusCode: 400, code: 'USER_NOT_FOUND' })
        t.match((await logIn(there)).json(), { code: 'USERNAME_UNKNOWN' })
        t.same(await servicesOf(app).store.db.select().from(servicesOf(app).store.tables.tokens), [])
        t.same(await servicesOf(app).store.db.select().from(servicesOf(app).store.tables.userRoles), [])
        t.equal((await signUp(app)).json().user.id, 2)
        t.match((await needLogin(there, token)).json(), { code: 'USER_NOT_FOUND' }, 'the old token does not become the new user\'s')
      })

      t.test('a password that is changed meanwhile deletes nothing; a hash that is upgraded meanwhile stands in no way', async (t) => {
        const app = await build(t)
        const token = await tokenOf(app)
        const { delete: deleteUser } = servicesOf(app).users
        const hashes = [await servicesOf(app).passwords.hash('incorrect donkey charger clip'), await servicesOf(app).passwords.hash(bob.password)]
        Object.assign(servicesOf(app).users, {
          async delete (...args: Parameters<typeof deleteUser>) {
            const hash = hashes.shift()
            if (hash !== undefined) await servicesOf(app).users.replaceHash(1, String(await servicesOf(app).users.findHash(1)), hash)
            return await deleteUser(...args)
          }
        })
        t.match((await as(app, token)('DELETE', '/me', { password: bob.password })).json(), { statusCode: 401, code: 'PASSWORD_INCORRECT' })
        t.equal((await as(app, token)('DELETE', '/me', { password: 'incorrect donkey charger clip' })).statusCode, 401, 'nor the one after it')
        t.equal((await as(app, token)('DELETE', '/me', { password: bob.password })).statusCode, 204)
      })

      t.test('the last admin cannot leave', async (t) => {
        const app = await build(t)
        const token = await tokenOf(app)
        await makeAdmin(app, 'bob')
        t.match((await as(app, token)('DELETE', '/me', { password: bob.password })).json(), { statusCode: 409, code: 'LAST_ADMIN' })
        await signUp(app, alice)
        await makeAdmin(app, 'alice')
        t.equal((await as(app, token)('DELETE', '/me', { password: bob.password })).statusCode, 204)
      })
    })

    t.test('requireRole', async (t) => {
      t.test('GET /admin · 200 for admins, 403 for others, the guard\'s answers for nobody', async (t) => {
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

      t.test('any one of the roles is enough; alone or after authenticate; on routes of one\'s own', async (t) => {
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
    })

    t.test('roles', async (t) => {
      const setUp = async (t: Test) => {
        const app = await build(t)
        const admin = as(app, await tokenOf(app))
        await makeAdmin(app, 'bob')
        const user = as(app, await tokenOf(app, alice))
        return { app, admin, user }
      }

      t.test('every route is for admins only', async (t) => {
        const { app, user } = await setUp(t)
        for (const [method, url] of [['GET', '/roles'], ['POST', '/roles'], ['DELETE', '/roles/admin'], ['PUT', '/users/alice/roles/admin'], ['DELETE', '/users/bob/roles/admin']] as const) {
          const payload = method === 'POST' ? { name: 'mine', description: 'x' } : undefined
          t.match((await user(method, url, payload)).json(), { statusCode: 403, code: 'ROLE_REQUIRED' }, url)
          t.match((await app.inject({ method, url: `/api/v1${url}`, payload })).json(), { statusCode: 400, code: 'AUTHORIZATION_MISSING' }, url)
        }
      })

      t.test('are made, listed and deleted', async (t) => {
        const { admin } = await setUp(t)
        const editor = { name: 'editor', description: 'May change articles.' }
        const made = await admin('POST', '/roles', { ...editor, id: 7 })
        t.equal(made.statusCode, 201)
        t.same(made.json(), editor)
        t.match((await admin('POST', '/roles', editor)).json(), { statusCode: 409, code: 'ROLE_EXISTS' })
        t.same((await admin('GET', '/roles')).json(), { roles: [{ name: 'admin', description: 'May do everything.' }, editor] })
        t.equal((await admin('PUT', '/users/alice/roles/editor')).statusCode, 204)
        t.equal((await admin('DELETE', '/roles/editor')).statusCode, 204)
        t.match((await admin('DELETE', '/roles/editor')).json(), { statusCode: 404, code: 'ROLE_NOT_FOUND' })
        t.match((await admin('DELETE', '/roles/admin')).json(), { statusCode: 409, code: 'ROLE_PROTECTED' })
        for (const name of ['Admin', '%00', 'x'.repeat(180), 'x'.repeat(1_000), '%f0%9f%94%91']) t.equal((await admin('DELETE', `/roles/${name}`)).statusCode, 404)
        for (const [body, message] of [
          [{}, 'name is empty'],
          [{ name: 'editor' }, 'description is empty'],
          [{ name: 'Editor', description: 'x' }, 'name may only contain a-z, 0-9 and _ . -, a letter first'],
          [{ name: '1st', description: 'x' }, 'name may only contain a-z, 0-9 and _ . -, a letter first'],
          [{ name: 'x'.repeat(65), description: 'x' }, 'name must not be longer than 64 characters'],
          [{ name: ['x'], description: 'x' }, 'name must be a string']
        ] as const) {
          t.match((await admin('POST', '/roles', body)).json(), { statusCode: 422, message }, message)
        }
      })

      t.test('are given and taken, as often as one likes', async (t) => {
        const { admin, user } = await setUp(t)
        await admin('POST', '/roles', { name: 'editor', description: 'x' })
        for (const attempt of ['once', 'twice']) t.equal((await admin('PUT', '/users/ALICE/roles/editor')).statusCode, 204, attempt)
        t.same((await user('GET', '/me')).json().roles, ['editor'])
        for (const attempt of ['once', 'twice']) t.equal((await admin('DELETE', '/users/alice/roles/editor')).statusCode, 204, attempt)
        t.same((await user('GET', '/me')).json().roles, [])
        for (const method of ['PUT', 'DELETE'] as const) {
          for (const username of ['nobody', 'b%20b', '%00', 'x'.repeat(190)]) t.match((await admin(method, `/users/${username}/roles/editor`)).json(), { statusCode: 404, code: 'USER_UNKNOWN' }, username)
          for (const name of ['nothing', 'EDITOR', '%00']) t.match((await admin(method, `/users/alice/roles/${name}`)).json(), { statusCode: 404, code: 'ROLE_NOT_FOUND' }, name)
        }
      })

      t.test('a username whose every character is escaped is found', async (t) => {
        const { app, admin } = await setUp(t)
        const username = '@'.repeat(64)
        await signUp(app, { ...bob, username })
        t.equal((await admin('PUT', `/users/${encodeURIComponent(username)}/roles/admin`)).statusCode, 204)
      })

      t.test('the last admin stays admin, also when two ask at once', async (t) => {
        const { app, admin, user } = await setUp(t)
        t.match((await admin('DELETE', '/users/bob/roles/admin')).json(), { statusCode: 409, code: 'LAST_ADMIN' })
        t.equal((await admin('DELETE', '/users/alice/roles/admin')).statusCode, 204, 'who is none does not become one')
        await admin('PUT', '/users/alice/roles/admin')
        const responses = await Promise.all([admin('DELETE', '/users/alice/roles/admin'), user('DELETE', '/users/bob/roles/admin')])
        const [first, second] = responses.map(({ statusCode }) => statusCode).sort()
        t.equal(first, 204)
        t.ok(second === 409 || second === 403, 'or the other is no admin any more when it is asked')
        t.equal((await servicesOf(app).store.db.select().from(servicesOf(app).store.tables.userRoles)).length, 1)
      })

      t.test('of two last admins who leave at once one stays', async (t) => {
        const { app, admin, user } = await setUp(t)
        await makeAdmin(app, 'alice')
        const responses = await Promise.all([admin('DELETE', '/me', { password: bob.password }), user('DELETE', '/me', { password: alice.password })])
        t.same(responses.map(({ statusCode }) => statusCode).sort(), [204, 409])
      })

      t.test('somebody stays admin whatever several servers do at once', async (t) => {
        const [here, there] = await pair(t)
        for (const account of [bob, alice]) await signUp(here, account)
        for (let i = 0; i < 20; i++) {
          for (const id of [1, 2]) await servicesOf(here).roles.grant(id, 'admin')
          const revoked = await Promise.all([servicesOf(here).roles.revoke(1, 'admin'), servicesOf(there).roles.revoke(2, 'admin')])
          t.same(revoked.sort(), [false, true])
        }
        for (let i = 0; i < 5; i++) {
          const ids = await Promise.all(['carol', 'dave'].map(async (username) => (await signUp(here, { ...bob, username: `${username}${i}` })).json().user.id))
          for (const id of ids) await servicesOf(here).roles.grant(id, 'admin')
          for (const id of [1, 2]) await servicesOf(here).roles.revoke(id, 'admin')
          const deleted = await Promise.all([servicesOf(here).users.delete(ids[0]), servicesOf(there).users.delete(ids[1])])
          t.same(deleted.sort(), [false, true])
          await servicesOf(here).roles.grant(1, 'admin')
          for (const id of ids) await servicesOf(here).users.delete(id)
        }
      })

      t.test('what happens between a look and a write is an answer, not a fault', async (t) => {
        const { app, admin } = await setUp(t)
        await admin('POST', '/roles', { name: 'editor', description: 'x' })
        const { grant } = servicesOf(app).roles
        Object.assign(servicesOf(app).roles, {
          async grant (...args: Parameters<typeof grant>) {
            await servicesOf(app).roles.delete('editor')
            return await grant(...args)
          }
        })
        t.match((await admin('PUT', '/users/alice/roles/editor')).json(), { statusCode: 404, code: 'ROLE_NOT_FOUND' })
        for (const table of ['tokens', 'user_roles']) {
          await database.addTrigger(servicesOf(app).store, `before insert on ${table}`, database.fault('a fault'))
        }
        t.match((await admin('POST', '/tokens', { description: 'x' })).json(), { statusCode: 500, code: 'INTERNAL_SERVER_ERROR' })
        t.match((await admin('PUT', '/users/alice/roles/admin')).json(), { statusCode: 500, code: 'INTERNAL_SERVER_ERROR' })
      })
    })
  })
}
