import t from 'tap'
import { servicesOf } from '../src/services.js'
import { databases } from './databases.js'
import { bob, buildOn, signUp } from './helper.js'

for (const database of databases) {
  t.test(database.name, async (t) => {
    const build = buildOn(database)

    t.test('POST /api/v1/signup · new account → 200; taken → 409 USERNAME_TAKEN; empty field → 422 VALIDATION_FAILED', async (t) => {
      const app = await build(t)
      const account = { username: 'testuser', password: 'test_user', email: 'test@example.com' }
      const first = await signUp(app, account)
      t.equal(first.statusCode, 200)
      t.equal(first.json().msg, 'welcome :-)')
      const again = await signUp(app, account)
      t.equal(again.statusCode, 409)
      t.match(again.json(), { code: 'USERNAME_TAKEN', error: 'Conflict', message: 'username already taken' })
      for (const field of ['username', 'email', 'password']) {
        const response = await signUp(app, { ...account, [field]: '' })
        t.equal(response.statusCode, 422)
        t.match(response.json(), { code: 'VALIDATION_FAILED', message: `${field} is empty` })
      }
    })

    t.test('POST /api/v1/signup · unknown members, capital letters → 200, the account as it was typed and no secret', async (t) => {
      const app = await build(t, {}, { now: () => Date.UTC(2026, 10, 23, 20, 44) })
      const response = await signUp(app, { username: 'Bob', email: 'Bob@Example.com', password: bob.password, is_admin: true, id: 7 })
      t.equal(response.statusCode, 200)
      t.same(response.json(), {
        msg: 'welcome :-)',
        user: { id: 1, username: 'Bob', email: 'Bob@Example.com', email_verified: false, created_at: '2026-11-23T20:44:00.000Z' }
      })
      t.equal(response.headers['cache-control'], 'no-store')
    })

    t.test('POST /api/v1/signup · username or email taken in any case → 409 USERNAME_TAKEN, EMAIL_TAKEN; the username is checked first', async (t) => {
      const app = await build(t)
      await signUp(app, { ...bob, email: 'bob@example.com' })
      t.match((await signUp(app, { ...bob, username: 'BOB', email: 'other@example.com' })).json(), { statusCode: 409, code: 'USERNAME_TAKEN' })
      t.match((await signUp(app, { ...bob, username: 'bOb', email: 'bob@example.com' })).json(), { statusCode: 409, code: 'USERNAME_TAKEN' })
      t.match((await signUp(app, { ...bob, username: 'alice', email: 'BOB@example.COM' })).json(), { statusCode: 409, code: 'EMAIL_TAKEN', message: 'email already signed-up' })
      t.match((await signUp(app, { ...bob, username: 'alice', email: null })).json().user, { id: Number, email: null })
      t.equal((await signUp(app, { ...bob, username: 'carol' })).json().user.email, null, 'any number of accounts can do without')
    })

    t.test('POST /api/v1/signup · 40 in parallel for one username → one 200, 39 times 409, one hash', async (t) => {
      const app = await build(t, { DATABASE_URL: await database.create(t, { isShared: true }), HASH_QUEUE: '32' })
      const responses = await Promise.all(Array.from({ length: 40 }, (_, i) => signUp(app, { ...bob, username: i % 2 === 0 ? 'bob' : 'BOB' })))
      t.equal(responses.filter(({ statusCode }) => statusCode === 200).length, 1)
      t.equal(responses.filter(({ statusCode }) => statusCode === 409).length, 39)
      t.match(servicesOf(app).passwords.load(), { passed: 1 }, 'and cost one hash')
    })

    t.test('POST /api/v1/signup · in parallel for one email, or on two servers → the index decides: one 200, one 409', async (t) => {
      const env = { DATABASE_URL: await database.create(t, { isShared: true }) }
      const [here, there] = [await build(t, env), await build(t, env)]
      const email = 'bob@example.com'
      const emails = await Promise.all(['alice', 'carol'].map((username) => signUp(here, { ...bob, username, email })))
      t.same(emails.map(({ statusCode }) => statusCode).sort(), [200, 409])
      t.match(emails.find(({ statusCode }) => statusCode === 409)?.json(), { code: 'EMAIL_TAKEN' })
      const names = await Promise.all([here, there].map((app, i) => signUp(app, i === 0 ? bob : { ...bob, email: 'another@example.com' })))
      t.same(names.map(({ statusCode }) => statusCode).sort(), [200, 409])
      t.match(names.find(({ statusCode }) => statusCode === 409)?.json(), { code: 'USERNAME_TAKEN' })
    })

    t.test('POST /api/v1/signup · in parallel for one username → the next is tried after a 409, none succeeds after a 500', async (t) => {
      const app = await build(t)
      await signUp(app, { ...bob, username: 'alice', email: 'taken@example.com' })
      const statuses = async (...accounts: object[]) => (await Promise.all(accounts.map((account) => signUp(app, account)))).map(({ statusCode }) => statusCode)
      t.same(await statuses({ ...bob, email: 'taken@example.com' }, bob, bob), [409, 200, 409])
      t.match(servicesOf(app).passwords.load(), { passed: 2 }, 'what is taken costs no hash')
      await database.addTrigger(servicesOf(app).store, 'before insert on users', database.fault('a fault'))
      t.same(await statuses(...Array.from({ length: 3 }, () => ({ ...bob, username: 'carol' }))), [500, 500, 500])
    })

    t.test('POST /api/v1/signup · password is the username, the email, common or short → 422 VALIDATION_FAILED', async (t) => {
      const app = await build(t)
      for (const [account, message] of [
        [{ username: 'longusername', password: 'LongUserName' }, 'password must not be the username'],
        [{ username: 'bob', email: 'bob@example.com', password: 'BOB@example.com' }, 'password must not be the email'],
        [{ username: 'bob', password: 'Password1' }, 'password is one of the most common passwords'],
        [{ username: 'bob', password: 'short' }, 'password must be at least 8 characters long']
      ] as const) {
        t.match((await signUp(app, account)).json(), { statusCode: 422, message, errors: [{ field: 'password', message }] })
      }
      t.equal((await signUp(await build(t, { PASSWORD_BLOCKLIST: 'off' }), { username: 'bob', password: 'Password1' })).statusCode, 200)
      t.equal((await signUp(await build(t, { PASSWORD_MIN_LENGTH: '15' }), { username: 'bob', password: 'fourteen chars' })).statusCode, 422)
    })

    t.test('POST /api/v1/signup · SIGNUP=closed → 403 SIGNUP_CLOSED', async (t) => {
      const app = await build(t, { SIGNUP: 'closed' })
      t.match((await signUp(app)).json(), { statusCode: 403, code: 'SIGNUP_CLOSED', message: 'signup is closed' })
      t.match((await signUp(app, {})).json(), { statusCode: 403 })
    })
  })
}
