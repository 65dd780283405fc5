import { setTimeout as delay } from 'node:timers/promises'
import Database from 'better-sqlite3'
import t from 'tap'
import { servicesOf } from '../src/services.js'
import { databases } from './databases.js'
import { as, bob, build, buildOn, logIn, makeAdmin, needLogin, pairOn, signUp, temporaryFolder, tokenOf } from './helper.js'

const alice = { username: 'alice', password: 'another horse battery staple' }
const next = 'incorrect donkey charger clip'

/** Two ways to the same: some proxies drop the body of a DELETE. */
const deletions = [['DELETE', '/me'], ['POST', '/me/deletion']] as const

for (const database of databases) {
  t.test(database.name, async (t) => {
    const build = buildOn(database)
    const pair = pairOn(database)

    t.test('GET /api/v1/me · 200 → the account with its roles; no token → 400', async (t) => {
      const app = await build(t, {}, { now: () => Date.UTC(2026, 10, 23, 20, 44) })
      const token = await tokenOf(app, { ...bob, email: 'bob@example.com' })
      const expected = { id: 1, username: 'bob', email: 'bob@example.com', email_verified: false, created_at: '2026-11-23T20:44:00.000Z', roles: [] }
      const response = await as(app, token)('GET', '/me')
      t.same(response.json(), expected)
      t.equal(response.headers['cache-control'], 'no-store')
      await servicesOf(app).roles.create({ name: 'editor', description: 'May change articles.' })
      for (const role of ['editor', 'admin']) await servicesOf(app).roles.grant(1, role)
      t.same((await as(app, token)('GET', '/me')).json(), { ...expected, roles: ['admin', 'editor'] })
      t.equal((await app.inject('/api/v1/me')).statusCode, 400)
    })

    t.test('PUT /api/v1/me/password · 204 → every other token is revoked on every server, this one stays active', async (t) => {
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

    t.test('PUT /api/v1/me/password · wrong password → 401 PASSWORD_INCORRECT; invalid input → 422; nothing is revoked', async (t) => {
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

    t.test('PUT /api/v1/me/password · the database fails half-way → 500, nothing is changed or revoked', async (t) => {
      const app = await build(t)
      const token = await tokenOf(app)
      const other = (await logIn(app)).json().token
      await database.addTrigger(servicesOf(app).store, 'before delete on tokens', database.fault('crash'))
      t.equal((await as(app, token)('PUT', '/me/password', { current_password: bob.password, new_password: next })).statusCode, 500)
      for (const alive of [token, other]) t.equal((await needLogin(app, alive)).statusCode, 200)
      t.equal((await logIn(app)).statusCode, 200)
      t.equal((await logIn(app, { ...bob, password: next })).statusCode, 401)
    })

    t.test('PUT /api/v1/me/password · a login upgrades the hash concurrently → 204', async (t) => {
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

    t.test('PUT /api/v1/me/password · two in parallel from the same password → 204 and 401', async (t) => {
      const app = await build(t, {}, { hashParameters: { memoryCost: 4_096, timeCost: 2, parallelism: 1 } })
      const token = await tokenOf(app)
      const responses = await Promise.all([next, `${next}!`].map((password) => as(app, token)('PUT', '/me/password', { current_password: bob.password, new_password: password })))
      t.same(responses.map(({ statusCode }) => statusCode).sort(), [204, 401])
      t.equal((await needLogin(app, token)).statusCode, 200)
    })

    t.test('PUT /api/v1/me/password · changed during a login with the old password → the login gets 401 PASSWORD_INCORRECT, no token', async (t) => {
      const app = await build(t, { LOGIN_FAILURES_PER_ACCOUNT: '10' })
      const token = await tokenOf(app)
      const changed = await servicesOf(app).passwords.hash(next)
      // The change takes effect exactly between the check of the old password and the new token: a
      // correct password deletes the failures before it.
      await logIn(app, { ...bob, password: 'wrong' })
      await database.addTrigger(servicesOf(app).store, 'before delete on login_failures', `update users set password_hash = '${changed}'`)
      t.match((await logIn(app)).json(), { statusCode: 401, code: 'PASSWORD_INCORRECT' })
      t.equal((await as(app, token)('GET', '/tokens')).json().tokens.length, 1)
    })

    t.test('PUT /api/v1/me/password · two in parallel with two tokens → the token of the successful one stays active, the other is revoked', async (t) => {
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

    for (const [method, path] of deletions) {
      t.test(`${method} /api/v1${path} · 204 → the account and its data are deleted on every server; its id is not used again`, async (t) => {
        const [app, there] = await pair(t)
        const token = await tokenOf(app)
        await servicesOf(app).roles.create({ name: 'editor', description: 'x' })
        await servicesOf(app).roles.grant(1, 'editor')
        t.match((await as(app, token)(method, path, { password: 'wrong' })).json(), { statusCode: 401, code: 'PASSWORD_INCORRECT' })
        t.match((await as(app, token)(method, path, {})).json(), { statusCode: 422, message: 'password is empty' })
        t.match((await as(app, token)(method, path)).json(), { statusCode: 422, message: 'password is empty' })
        const response = await as(app, token)(method, path, { password: bob.password })
        t.equal(response.statusCode, 204)
        t.match((await needLogin(there, token)).json(), { statusCode: 400, code: 'USER_NOT_FOUND' })
        t.match((await logIn(there)).json(), { code: 'USERNAME_UNKNOWN' })
        t.same(await servicesOf(app).store.db.select().from(servicesOf(app).store.tables.tokens), [])
        t.same(await servicesOf(app).store.db.select().from(servicesOf(app).store.tables.userRoles), [])
        t.match((await servicesOf(app).audit.list({ userId: 1, kind: 'deletion' }, 10)).map(({ outcome }) => outcome), ['success', 'password_incorrect'])
        t.equal((await signUp(app)).json().user.id, 2)
        t.match((await needLogin(there, token)).json(), { code: 'USER_NOT_FOUND' }, 'the old token does not become the new user\'s')
      })

      t.test(`${method} /api/v1${path} · password changed concurrently → 401, nothing is deleted; hash upgraded concurrently → 204`, async (t) => {
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
        t.match((await as(app, token)(method, path, { password: bob.password })).json(), { statusCode: 401, code: 'PASSWORD_INCORRECT' })
        t.equal((await as(app, token)(method, path, { password: 'incorrect donkey charger clip' })).statusCode, 401, 'nor the one after it')
        t.equal((await as(app, token)(method, path, { password: bob.password })).statusCode, 204)
      })

      t.test(`${method} /api/v1${path} · last admin → 409 LAST_ADMIN`, async (t) => {
        const app = await build(t)
        const token = await tokenOf(app)
        await makeAdmin(app, 'bob')
        t.match((await as(app, token)(method, path, { password: bob.password })).json(), { statusCode: 409, code: 'LAST_ADMIN' })
        await signUp(app, alice)
        await makeAdmin(app, 'alice')
        t.equal((await as(app, token)(method, path, { password: bob.password })).statusCode, 204)
      })
    }
  })
}

t.test('database locked by another process · a right and a wrong password get the same answers: guessing gains nothing', async (t) => {
  const file = `${temporaryFolder(t)}/latchkey.sqlite`
  const app = await build(t, { DATABASE_URL: `sqlite:///${file}`, LOGIN_FAILURES_PER_ACCOUNT: '10' })
  const token = await tokenOf(app)
  const ask = as(app, token)
  const lock = new Database(file)
  t.teardown(() => lock.close())
  lock.exec('begin immediate')
  for (const [method, path, payload] of [
    ['PUT', '/me/password', (password: string) => ({ current_password: password, new_password: next })],
    ['PUT', '/me/password', (password: string) => ({ current_password: password, new_password: bob.username.repeat(3) })],
    ['PUT', '/me/password', (password: string) => ({ current_password: password, new_password: 'bob@example.com' })],
    ['PUT', '/me/username', (password: string) => ({ username: 'robert', password })],
    ['PUT', '/me/email', (password: string) => ({ email: 'bob@example.com', password })],
    ...deletions.map(([method, path]) => [method, path, (password: string) => ({ password })] as const),
    ['POST', '/tokens', (password: string) => ({ description: 'x', password })]
  ] as const) {
    const [wrong, right] = [await ask(method, path, payload('wrong')), await ask(method, path, payload(bob.password))]
    t.same([right.statusCode, right.json()], [wrong.statusCode, wrong.json()], `${method} ${path}`)
    t.equal(wrong.statusCode, 503)
  }
  lock.exec('rollback')
  while ((await ask('PUT', '/me/password', { current_password: bob.password, new_password: next })).statusCode === 503) await delay(100)
  t.equal((await logIn(app, { ...bob, password: next })).statusCode, 200)
})

t.test('PUT /api/v1/me/password · new password that is the username → 422, whether the current one is right or wrong', async (t) => {
  const app = await build(t)
  const user = { username: 'bob@example.com', email: 'bob@example.com', password: bob.password }
  const ask = as(app, await tokenOf(app, user))
  for (const current of [user.password, 'wrong']) {
    t.match((await ask('PUT', '/me/password', { current_password: current, new_password: user.username })).json(), { statusCode: 422, message: 'new_password must not be the username' })
  }
})
