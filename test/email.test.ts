// What an account is called: its username, its email, the proof of it, and logging in by either.
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import type { BuildOptions } from '../src/app.js'
import { mailVerification } from '../src/plugins/codes/email-verification.js'
import type { Mail } from '../src/plugins/mail/mail.js'
import { servicesOf } from '../src/services.js'
import { createTestClock } from '../src/testing.js'
import { commandLine, refused } from './command-line.js'
import { databases } from './databases.js'
import { as, bob, buildOn, logIn, needLogin, pairOn, signUp, tokenOf, until } from './helper.js'
import { smtpError } from './smtp-server.js'

const { password } = bob
const alice = { username: 'alice', password: 'another horse battery staple' }
const bobWithEmail = { ...bob, email: 'bob@example.com' }
const wrong = 'a wrong password'
const notOwn = 'username must be the email of the account if it contains @'
const isUsername = 'email must be the username, which is an address: change the username first'

/** The mails that a server has sent. */
function outbox () {
  const mails: Mail[] = []
  return {
    mails,
    sendMail: async (mail: Mail) => { mails.push(mail) },
    /** Waits for the mails so far, and takes them out. */
    async take (count: number): Promise<Mail[]> {
      await until(() => mails.length >= count)
      return mails.splice(0)
    }
  }
}

const verify = (app: FastifyInstance, code: unknown) => app.inject({ method: 'PUT', url: '/api/v1/email-verification', payload: { code } })
const me = async (app: FastifyInstance, token: string) => (await as(app, token)('GET', '/me')).json()

/** Has a method of the users do something else first, once. */
function before (app: FastifyInstance, name: 'rename' | 'setEmail' | 'mayChangeEmail', work: () => Promise<unknown>): void {
  const { users, codes } = servicesOf(app)
  // What is mailed is decided where the code is issued.
  const [owner, method] = name === 'mayChangeEmail' ? [codes, 'issue'] as const : [users, name] as const
  const original = owner[method as never] as (...args: unknown[]) => Promise<unknown>
  Object.assign(owner, {
    async [method] (...args: unknown[]) {
      Object.assign(owner, { [method]: original })
      await work()
      return await original(...args)
    }
  })
}

/** Has a mail that proves an address. */
async function pendingCode (t: Test, build: (t: Test, env?: Record<string, string>, options?: BuildOptions) => Promise<FastifyInstance>, account: object = bob, env: Record<string, string> = {}) {
  const clock = createTestClock()
  const post = outbox()
  const app = await build(t, env, { sendMail: post.sendMail, now: clock.now })
  const token = await tokenOf(app, account)
  // The signup mails one as well.
  if ('email' in account) await post.take(1)
  const ask = as(app, token)
  t.equal((await ask('PUT', '/me/email', { email: 'new@example.com', password })).statusCode, 202)
  const [mail] = await post.take(1)
  return { app, clock, post, token, ask, code: String(mail?.code) }
}

for (const database of databases) {
  t.test(database.name, async (t) => {
    const build = buildOn(database)
    const pair = pairOn(database)
    const rename = (app: FastifyInstance, token: string, username: string, given = password) => as(app, token)('PUT', '/me/username', { username, password: given })
    const setEmail = (app: FastifyInstance, token: string, email: unknown, given = password) => as(app, token)('PUT', '/me/email', { email, password: given })
    const eventsOf = async (app: FastifyInstance, kind: string) => (await servicesOf(app).audit.list({ kind }, 100)).map(({ outcome }) => outcome)

    t.test('PUT /api/v1/me/username · 204 → the new name on every server, with the same tokens; the old one is free', async (t) => {
      const [app, there] = await pair(t)
      const token = await tokenOf(app)
      const response = await rename(app, token, 'Robert')
      t.equal(response.statusCode, 204)
      t.equal(response.body, '')
      t.match(await me(there, token), { id: 1, username: 'Robert', email: null })
      t.match((await logIn(there)).json(), { code: 'USERNAME_UNKNOWN' })
      t.equal((await logIn(there, { username: 'robert', password })).statusCode, 200)
      t.equal((await rename(app, token, 'ROBERT')).statusCode, 204, 'in another case')
      t.match(await me(app, token), { username: 'ROBERT' })
      t.equal((await signUp(app)).json().user.id, 2)
      t.match((await rename(app, token, 'Bob')).json(), { statusCode: 409, code: 'USERNAME_TAKEN', message: 'username already taken' })
      t.match((await rename(app, token, 'other', wrong)).json(), { statusCode: 401, code: 'PASSWORD_INCORRECT' })
      t.match(await me(app, token), { username: 'ROBERT' })
      t.same(await eventsOf(app, 'username_change'), ['password_incorrect', 'success', 'success'])
    })

    t.test('PUT /api/v1/me/username · invalid name, or the password → 422 VALIDATION_FAILED, whether the password is right or wrong', async (t) => {
      const app = await build(t)
      const token = await tokenOf(app, { ...bob, password: 'Robert_the_First' })
      for (const given of ['Robert_the_First', wrong]) {
        for (const [username, message] of [
          ['', 'username is empty'],
          ['-bob', 'username must not begin with -'],
          ['..', 'username must not be . or ..'],
          ['a b', 'username may only contain ASCII letters, digits and _ . @ + -'],
          ['x'.repeat(65), 'username must not be longer than 64 characters']
        ] as const) t.match((await rename(app, token, username, given)).json(), { statusCode: 422, code: 'VALIDATION_FAILED', message })
      }
      t.match((await rename(app, token, 'robert_the_first', 'Robert_the_First')).json(), { statusCode: 422, message: 'username must not be the password' })
      t.match((await as(app, token)('PUT', '/me/username', {})).json(), { statusCode: 422, errors: [{ field: 'username' }, { field: 'password' }] })
    })

    t.test('PUT /api/v1/me/username · failures for the name from before → forgotten; for one\'s own name → not', async (t) => {
      const { now } = createTestClock()
      const app = await build(t, { LOGIN_FAILURES_PER_ACCOUNT: '1' }, { now })
      const token = await tokenOf(app)
      for (const username of ['robert', 'carol']) await logIn(app, { username, password: wrong })
      t.equal((await logIn(app, { username: 'robert', password })).statusCode, 429)
      t.equal((await rename(app, token, 'Robert')).statusCode, 204)
      t.equal((await logIn(app, { username: 'robert', password })).statusCode, 200)
      t.equal((await logIn(app, { username: 'carol', password })).statusCode, 429)
      const { db, tables: { loginFailures } } = servicesOf(app).store
      await db.insert(loginFailures).values({ usernameKey: 'robert', network: '', failures: 5, blockedUntilMs: 0, lastFailureMs: now() })
      t.equal((await rename(app, token, 'ROBERT')).statusCode, 204)
      t.same((await db.select().from(loginFailures)).map(({ usernameKey }) => usernameKey).sort(), ['carol', 'robert'])
    })

    t.test('PUT /api/v1/me/username · with @ → the own email, or 422; without an email it becomes the email', async (t) => {
      const app = await build(t)
      const [bobs, alices] = [await tokenOf(app, bobWithEmail), await tokenOf(app, alice)]
      for (const username of ['alice@example.com', 'bob@', '@', 'bob@example.com.']) {
        t.match((await rename(app, bobs, username)).json(), { statusCode: 422, message: notOwn, errors: [{ field: 'username' }] })
      }
      t.equal((await rename(app, bobs, 'Bob@Example.com')).statusCode, 204)
      t.match(await me(app, bobs), { username: 'Bob@Example.com', email: 'bob@example.com' })
      t.equal((await logIn(app, { username: 'bob@example.com', password })).statusCode, 200)
      t.match((await rename(app, alices, 'a@b..c', alice.password)).json(), { statusCode: 422, message: notOwn })
      t.match((await rename(app, alices, 'bob@example.com', alice.password)).json(), { statusCode: 409, code: 'USERNAME_TAKEN' })
      t.equal((await rename(app, bobs, 'bob')).statusCode, 204)
      t.match((await rename(app, alices, 'bob@example.com', alice.password)).json(), { statusCode: 409, code: 'EMAIL_TAKEN' })
      t.equal((await rename(app, alices, 'alice@example.com', alice.password)).statusCode, 204)
      t.match(await me(app, alices), { username: 'alice@example.com', email: 'alice@example.com', email_verified: false })
    })

    t.test('PUT /api/v1/me/username · a look-alike of the own email → 422', async (t) => {
      const app = await build(t)
      const token = await tokenOf(app, { ...bob, email: 'mar\u212A@example.com' })
      t.match((await rename(app, token, 'mark@example.com')).json(), { statusCode: 422, message: notOwn })
    })

    t.test('PUT /api/v1/me/username, /me/email · an account of before whose username is a stranger\'s address → keeps it, and can do the rest', async (t) => {
      const app = await build(t)
      const { users, passwords } = servicesOf(app)
      await users.create({ username: 'old@example.com', email: 'other@example.com', passwordHash: await passwords.hash(password) })
      const { token } = (await logIn(app, { username: 'old@example.com', password })).json()
      t.equal((await setEmail(app, token, 'third@example.com')).statusCode, 204)
      t.equal((await setEmail(app, token, null)).statusCode, 204)
      t.match(await me(app, token), { username: 'old@example.com', email: null })
      t.equal((await rename(app, token, 'old')).statusCode, 204)
    })

    t.test('PUT /api/v1/me/username, /me/email · hash upgraded concurrently → 204; password changed → 401; token revoked → 401 TOKEN_REVOKED', async (t) => {
      const app = await build(t)
      const token = await tokenOf(app)
      const { users, passwords, tokens } = servicesOf(app)
      const setHash = (password: string) => async () => users.replaceHash(1, String(await users.findHash(1)), await passwords.hash(password))
      before(app, 'rename', setHash(password))
      t.equal((await rename(app, token, 'robert')).statusCode, 204)
      before(app, 'setEmail', setHash(password))
      t.equal((await setEmail(app, token, 'bob@example.com')).statusCode, 204)
      before(app, 'rename', setHash(wrong))
      t.match((await rename(app, token, 'bob')).json(), { statusCode: 401, code: 'PASSWORD_INCORRECT' })
      before(app, 'setEmail', setHash(password))
      t.match((await setEmail(app, token, null, wrong)).json(), { statusCode: 401, code: 'PASSWORD_INCORRECT' })
      before(app, 'rename', () => tokens.revokeAll(1))
      t.match((await rename(app, token, 'bob')).json(), { statusCode: 401, code: 'TOKEN_REVOKED' })
      const other = (await logIn(app, { username: 'robert', password })).json().token
      before(app, 'setEmail', () => tokens.revokeAll(1))
      t.match((await setEmail(app, other, null)).json(), { statusCode: 401, code: 'TOKEN_REVOKED' })
      t.match(await users.findById(1), { username: 'robert', email: 'bob@example.com' })
      t.same(await eventsOf(app, 'username_change'), ['password_changed_concurrently', 'success'])
      t.same(await eventsOf(app, 'email_change'), ['password_changed_concurrently', 'success'])
    })

    t.test('PUT /api/v1/me/username, /me/email · the name, or the rule for it, changes concurrently → 409, 422', async (t) => {
      const app = await build(t)
      const [token, other] = [await tokenOf(app), await tokenOf(app, alice)]
      const { users } = servicesOf(app)
      before(app, 'rename', () => rename(app, other, 'carol', alice.password))
      t.match((await rename(app, token, 'Carol')).json(), { code: 'USERNAME_TAKEN' })
      before(app, 'setEmail', () => setEmail(app, other, 'carol@example.com', alice.password))
      t.match((await setEmail(app, token, 'CAROL@example.com')).json(), { code: 'EMAIL_TAKEN' })
      before(app, 'rename', () => users.setEmail(1, 'x@example.com'))
      t.match((await rename(app, token, 'bob@example.com')).json(), { statusCode: 422, message: notOwn })
      before(app, 'setEmail', () => users.rename(1, 'x@example.com'))
      t.match((await setEmail(app, token, 'y@example.com')).json(), { statusCode: 422, message: isUsername })
      t.match(await users.list(), [{ username: 'x@example.com', email: 'x@example.com' }, { username: 'carol', email: 'carol@example.com' }])
    })

    t.test('PUT /api/v1/me/username, /me/email · in parallel on two servers for one name → one 204, the others 409; a fault → 500', async (t) => {
      const servers = await pair(t)
      const [app] = servers
      const tokens = [await tokenOf(app), await tokenOf(app, { ...bob, username: 'alice' })]
      for (const [change, code] of [[rename, 'USERNAME_TAKEN'], [setEmail, 'EMAIL_TAKEN']] as const) {
        const responses = await Promise.all(tokens.map((token, i) => change(servers[i] ?? app, token, i === 0 ? 'carol@example.com' : 'CAROL@example.com')))
        t.same(responses.map(({ statusCode }) => statusCode).sort(), [204, 409])
        t.match(responses.find(({ statusCode }) => statusCode === 409)?.json().code, change === rename ? /_TAKEN$/ : code)
        for (const id of [1, 2]) {
          await servicesOf(app).users.rename(id, `user${id}`)
          await servicesOf(app).users.setEmail(id, null)
        }
      }
      await database.addTrigger(servicesOf(app).store, 'before update on users', database.fault('a fault'))
      t.equal((await rename(app, String(tokens[0]), 'dave')).statusCode, 500)
    })

    t.test('PUT /api/v1/me/username, /me/email · taken names → they count like rejected signups: 429 TOO_MANY_ATTEMPTS', async (t) => {
      const app = await build(t, { LOGIN_FAILURES_PER_ADDRESS_HOUR: '4' })
      await signUp(app, { ...alice, email: 'alice@example.com' })
      const token = await tokenOf(app)
      for (const [change, name] of [[rename, 'alice'], [setEmail, 'alice@example.com'], [rename, 'Alice'], [setEmail, 'ALICE@example.com']] as const) t.equal((await change(app, token, name)).statusCode, 409)
      for (const change of [rename, setEmail]) t.match(await change(app, token, 'new@example.com'), { statusCode: 429, headers: { 'retry-after': /^3[56]\d\d$/ } })
    })

    t.test('PUT /api/v1/me/email · without a mailer → 204, the email is there, unverified; the codes for the one before are dead', async (t) => {
      const app = await build(t)
      const token = await tokenOf(app, bobWithEmail)
      const { codes, users, store } = servicesOf(app)
      const issue = async () => [
        await codes.issue({ kind: 'password_reset', userId: 1, lifetimeSeconds: 60 }),
        await codes.issue({ kind: 'email_verification', userId: 1, data: { email: 'bob@example.com' }, lifetimeSeconds: 60 })
      ]
      const count = () => store.db.$count(store.tables.codes)
      await users.setEmail(1, 'bob@example.com', { isVerified: true })
      t.match(await me(app, token), { email_verified: true })
      await issue()
      t.equal((await setEmail(app, token, 'bob@example.com')).statusCode, 204)
      t.match(await me(app, token), { email: 'bob@example.com', email_verified: true }, 'the same one changes nothing')
      t.match((await setEmail(app, token, null, wrong)).json(), { statusCode: 401, code: 'PASSWORD_INCORRECT' })
      t.equal(await count(), 2)
      const response = await setEmail(app, token, 'Bob@Example.org')
      t.equal(response.statusCode, 204)
      t.equal(response.body, '')
      t.match(await me(app, token), { email: 'Bob@Example.org', email_verified: false })
      t.equal(await count(), 0)
      t.equal((await setEmail(app, token, 'Bob@Example.org')).statusCode, 204)
      await issue()
      t.equal((await setEmail(app, token, null)).statusCode, 204)
      t.match(await me(app, token), { email: null, email_verified: false })
      t.equal(await count(), 0)
      t.equal((await setEmail(app, token, null)).statusCode, 204)
      t.same(await eventsOf(app, 'email_change'), ['success', 'success', 'success', 'password_incorrect'])
      t.equal((await needLogin(app, token)).statusCode, 200)
    })

    t.test('PUT /api/v1/me/email · taken → 409 EMAIL_TAKEN; invalid, the password, other than a username that is the email → 422', async (t) => {
      const app = await build(t)
      await signUp(app, { ...alice, email: 'alice@example.com' })
      const token = await tokenOf(app, { ...bobWithEmail, password: 'Robert@First.example' })
      const change = (email: unknown) => setEmail(app, token, email, 'Robert@First.example')
      t.match((await change('ALICE@example.com')).json(), { statusCode: 409, code: 'EMAIL_TAKEN', message: 'email already signed-up' })
      for (const [email, message] of [
        ['', 'email is empty'],
        [undefined, 'email is empty'],
        [5, 'email must be a string or null'],
        ['bob', 'email must be one address like user@example.com'],
        ['a@example.com\r\nBcc: b@example.com', 'email must be one address like user@example.com'],
        ['a@example.com,b@example.com', 'email must be one address like user@example.com'],
        ['"a b"@example.com', 'email must be one address like user@example.com'],
        [`${'x'.repeat(254)}@example.com`, 'email must not be longer than 254 characters'],
        ['robert@first.example', 'email must not be the password']
      ] as const) t.match((await change(email)).json(), { statusCode: 422, code: 'VALIDATION_FAILED', message })
      t.equal((await rename(app, token, 'bob@example.com', 'Robert@First.example')).statusCode, 204)
      for (const email of ['other@example.com', null]) t.match((await change(email)).json(), { statusCode: 422, message: isUsername, errors: [{ field: 'email' }] })
      t.equal((await change('BOB@example.com')).statusCode, 204, 'in another case')
      t.match(await me(app, token), { username: 'bob@example.com', email: 'BOB@example.com' })
    })

    t.test('PUT /api/v1/me/email, /email-verification · with a mailer → 202; the code gives the account the email, and the old one is told', async (t) => {
      const post = outbox()
      const app = await build(t, { PUBLIC_URL: 'https://login.example.com/' }, { sendMail: post.sendMail })
      const token = await tokenOf(app, bobWithEmail)
      t.match(await post.take(1), [{ kind: 'email_verification', to: 'bob@example.com' }], 'of the signup')
      const { codes, users } = servicesOf(app)
      const first = await setEmail(app, token, 'bob@example.com')
      t.equal(first.statusCode, 202, 'the same one, which is not verified')
      t.equal(first.body, '')
      const [{ code, url, ...mail } = {} as Mail] = await post.take(1)
      t.match(mail, { kind: 'email_verification', to: 'bob@example.com' })
      t.equal(url, `https://login.example.com/ui/verify#${code}`)
      t.equal((await app.inject({ url: '/api/v1/email-verification', query: { code: String(code) } })).statusCode, 405, 'GET changes nothing')
      t.equal((await verify(app, String(code).toLowerCase().replace(/(.{4})/g, '$1-'))).statusCode, 204)
      t.match(await me(app, token), { email: 'bob@example.com', email_verified: true })
      t.same(await eventsOf(app, 'email_change'), [], 'it is no other one')
      t.equal((await setEmail(app, token, 'bob@example.com')).statusCode, 204, 'nothing to do')

      const reset = await codes.issue({ kind: 'password_reset', userId: 1, lifetimeSeconds: 60 })
      t.equal((await setEmail(app, token, 'new@example.com')).statusCode, 202)
      const [second] = await post.take(1)
      t.match(second, { to: 'new@example.com' })
      t.match(await me(app, token), { email: 'bob@example.com', email_verified: true }, 'not changed yet')
      t.ok(await codes.find('password_reset', String(reset?.code)))
      const used = await verify(app, second?.code)
      t.equal(used.statusCode, 204)
      t.equal(used.body, '')
      t.match(await me(app, token), { email: 'new@example.com', email_verified: true })
      t.match(await post.take(1), [{ kind: 'email_changed', to: 'bob@example.com', text: /^The account bob does not use this address any longer/ }])
      t.notOk(await codes.find('password_reset', String(reset?.code)), 'which was mailed to the old address')
      t.match((await verify(app, second?.code)).json(), { statusCode: 403, code: 'CODE_INVALID' })

      t.equal((await setEmail(app, token, null)).statusCode, 204)
      t.match(await post.take(1), [{ kind: 'email_changed', to: 'new@example.com' }])
      t.match(await me(app, token), { email: null })
      t.equal((await setEmail(app, token, null)).statusCode, 204)
      await users.setEmail(1, 'unverified@example.com')
      t.equal((await setEmail(app, token, null)).statusCode, 204)
      t.same(post.mails, [], 'an address that was not verified is not told')
      t.same(await eventsOf(app, 'email_verification'), ['success', 'success'])
    })

    t.test('PUT /api/v1/me/email · with a mailer, taken → 409, wrong password → 401, invalid → 422, no longer allowed → no mail', async (t) => {
      const post = outbox()
      const app = await build(t, {}, { sendMail: post.sendMail })
      const [token, other] = [await tokenOf(app, bobWithEmail), await tokenOf(app, { ...alice, email: 'alice@example.com' })]
      await post.take(2)
      t.match((await setEmail(app, token, 'Alice@example.com')).json(), { code: 'EMAIL_TAKEN' })
      t.match((await setEmail(app, token, 'new@example.com', wrong)).json(), { code: 'PASSWORD_INCORRECT' })
      t.match((await setEmail(app, token, 'new@example')).statusCode, 202, 'a host without a dot')
      t.equal((await post.take(1)).length, 1)
      const { users, passwords, tokens } = servicesOf(app)
      before(app, 'mayChangeEmail', async () => users.replaceHash(1, String(await users.findHash(1)), await passwords.hash(password)))
      t.equal((await setEmail(app, token, 'new@example.com')).statusCode, 202)
      t.equal((await post.take(1)).length, 1)
      before(app, 'mayChangeEmail', () => users.rename(1, 'bob@example.com'))
      t.match((await setEmail(app, token, 'new@example.com')).json(), { statusCode: 422, message: isUsername })
      before(app, 'mayChangeEmail', async () => users.replaceHash(2, String(await users.findHash(2)), await passwords.hash(password)))
      t.match((await setEmail(app, other, 'new@example.com', alice.password)).json(), { code: 'PASSWORD_INCORRECT' })
      before(app, 'mayChangeEmail', () => tokens.revokeAll(2))
      t.match((await setEmail(app, other, 'new@example.com')).json(), { code: 'TOKEN_REVOKED' })
      t.same(post.mails, [])
    })

    t.test('PUT /api/v1/email-verification · unknown, expired, foreign, of another kind, of a deleted account → 403 CODE_INVALID; none → 422', async (t) => {
      const { app, clock, ask, post, code } = await pendingCode(t, build)
      const reset = await servicesOf(app).codes.issue({ kind: 'password_reset', userId: 1, lifetimeSeconds: 60 })
      for (const bad of ['nothing', '0'.repeat(24), 'x'.repeat(10_000), `${code}0`, reset?.code, ' ']) t.match((await verify(app, bad)).json(), { statusCode: 403, code: 'CODE_INVALID', message: 'the code is not valid, or not any longer' })
      t.match((await app.inject({ method: 'PUT', url: '/api/v1/email-verification', payload: {} })).json(), { statusCode: 422, message: 'code is empty' })
      t.match((await verify(app, '')).json(), { statusCode: 422, message: 'code is empty' })
      t.match((await verify(app, 5)).json(), { statusCode: 422, message: 'code must be a string' })
      clock.advance(86_400)
      t.match((await verify(app, code)).json(), { code: 'CODE_INVALID' })
      t.equal((await ask('PUT', '/me/email', { email: 'newer@example.com', password })).statusCode, 202)
      const [newer] = await post.take(1)
      t.equal((await ask('DELETE', '/me', { password })).statusCode, 204)
      t.match((await verify(app, newer?.code)).json(), { code: 'CODE_INVALID' })
    })

    t.test('PUT /api/v1/email-verification · the email is taken → 409 EMAIL_TAKEN, the code stays usable', async (t) => {
      const { app, code, token } = await pendingCode(t, build)
      await signUp(app, { ...alice, email: 'New@example.com' })
      t.match((await verify(app, code)).json(), { statusCode: 409, code: 'EMAIL_TAKEN' })
      t.match(await me(app, token), { email: null })
      await app.latchkey.users.setEmail(2, null)
      t.equal((await verify(app, code)).statusCode, 204)
      t.match(await me(app, token), { email: 'new@example.com', email_verified: true })
      t.same((await eventsOf(app, 'email_verification')).length, 1)
    })

    t.test('PUT /api/v1/email-verification · 40 at once on two servers → one 204, 39 times 403', async (t) => {
      const post = outbox()
      const env = { DATABASE_URL: await database.create(t, { isShared: true }) }
      const [app, there] = [await build(t, env, { sendMail: post.sendMail }), await build(t, env)]
      const token = await tokenOf(app)
      await setEmail(app, token, 'new@example.com')
      const [mail] = await post.take(1)
      const responses = await Promise.all(Array.from({ length: 40 }, (_, i) => verify(i % 2 === 0 ? app : there, mail?.code)))
      t.same(responses.map(({ statusCode }) => statusCode).sort(), [204, ...Array.from({ length: 39 }, () => 403)])
      t.same((await eventsOf(app, 'email_verification')).length, 1)
    })

    t.test('PUT /api/v1/email-verification · the change was replaced, cancelled, or the username needs the email → 403', async (t) => {
      const { app, ask, code, post } = await pendingCode(t, build, bobWithEmail)
      t.equal((await ask('PUT', '/me/email', { email: 'newer@example.com', password })).statusCode, 202)
      const [newer] = await post.take(1)
      t.match((await verify(app, code)).json(), { code: 'CODE_INVALID' })
      t.equal((await ask('PUT', '/me/username', { username: 'bob@example.com', password })).statusCode, 204)
      t.match((await verify(app, newer?.code)).json(), { code: 'CODE_INVALID' })
      t.equal((await ask('PUT', '/me/username', { username: 'bob', password })).statusCode, 204)
      t.equal((await ask('PUT', '/me/email', { email: 'newer@example.com', password })).statusCode, 202)
      const [newest] = await post.take(1)
      t.equal((await ask('PUT', '/me/email', { email: null, password })).statusCode, 204)
      t.match((await verify(app, newest?.code)).json(), { code: 'CODE_INVALID' })
    })

    t.test('POST /api/v1/email-verification · mails the code again, to the newest address; within a minute none, and the answer is the same', async (t) => {
      const { app, ask, clock, code, post, token } = await pendingCode(t, build, bobWithEmail)
      const again = () => ask('POST', '/email-verification')
      const early = await again()
      t.equal(early.statusCode, 202)
      t.equal(early.body, '')
      clock.advance(59)
      await again()
      t.same(post.mails, [])
      clock.advance(1)
      const late = await Promise.all(Array.from({ length: 10 }, again))
      for (const { statusCode, body } of late) t.same([statusCode, body], [202, ''])
      const [second, ...others] = await post.take(1)
      t.match(second, { kind: 'email_verification', to: 'new@example.com' })
      t.same(others, [])
      t.match((await verify(app, code)).json(), { code: 'CODE_INVALID' }, 'the newest one counts')
      t.equal((await verify(app, second?.code)).statusCode, 204)
      t.match((await again()).json(), { statusCode: 409, code: 'EMAIL_VERIFIED', message: 'the email is verified already' })
      t.equal((await ask('PUT', '/me/email', { email: null, password })).statusCode, 204)
      t.match(await post.take(1), [{ kind: 'email_changed' }])
      t.match((await again()).json(), { statusCode: 409, code: 'EMAIL_MISSING', message: 'the account has no email' })
      await servicesOf(app).users.setEmail(1, 'Bob@example.com')
      t.equal((await again()).statusCode, 202)
      t.match(await post.take(1), [{ to: 'Bob@example.com' }], 'as it is stored')
      t.match((await (await as(app, token)('POST', '/email-verification', {})).json()), { code: 'BODY_UNEXPECTED' })
    })

    t.test('POST /api/v1/email-verification · without a mailer → 409 MAIL_NOT_CONFIGURED; token revoked concurrently → no mail', async (t) => {
      const app = await build(t)
      t.match((await as(app, await tokenOf(app, bobWithEmail))('POST', '/email-verification')).json(), { statusCode: 409, code: 'MAIL_NOT_CONFIGURED', message: 'this server sends no mails' })
      t.equal(await mailVerification(servicesOf(app), { id: 1, username: 'bob' }, 'bob@example.com'), false)
      const { app: mailing, ask, clock, post } = await pendingCode(t, build)
      clock.advance(60)
      before(mailing, 'mayChangeEmail', () => servicesOf(mailing).tokens.revokeAll(1))
      t.equal((await ask('POST', '/email-verification')).statusCode, 202)
      t.same(post.mails, [])
    })

    t.test('PUT /api/v1/me/email, POST /api/v1/email-verification · 10 mails of one account in an hour → 429 TOO_MANY_ATTEMPTS with Retry-After', async (t) => {
      const { app, ask, clock, post } = await pendingCode(t, build)
      for (let i = 0; i < 8; i++) t.equal((await ask('PUT', '/me/email', { email: `stranger${i}@example.com`, password })).statusCode, 202)
      clock.advance(60)
      t.equal((await ask('POST', '/email-verification')).statusCode, 202)
      for (const response of [await ask('PUT', '/me/email', { email: 'stranger@example.com', password }), await ask('POST', '/email-verification')]) {
        t.match(response.json(), { statusCode: 429, code: 'TOO_MANY_ATTEMPTS' })
        t.equal(response.headers['retry-after'], '3540')
      }
      t.equal((await post.take(9)).length, 9)
      t.match(servicesOf(app).throttle.counts, { account_mails: 2 })
      const other = as(app, await tokenOf(app, alice))
      t.equal((await other('PUT', '/me/email', { email: 'alice@example.com', password: alice.password })).statusCode, 202, 'another account has its own')
      t.equal((await ask('PUT', '/me/email', { email: null, password })).statusCode, 204, 'what mails nothing is not limited')
      clock.advance(3_540)
      t.equal((await ask('PUT', '/me/email', { email: 'stranger@example.com', password })).statusCode, 202)
    })

    t.test('PUT /api/v1/me/email · 20 at once → 10 mails', async (t) => {
      const post = outbox()
      const app = await build(t, {}, { sendMail: post.sendMail })
      const token = await tokenOf(app)
      const responses = await Promise.all(Array.from({ length: 20 }, (_, i) => setEmail(app, token, `stranger${i}@example.com`)))
      t.equal(responses.filter(({ statusCode }) => statusCode === 202).length, 10)
      t.equal(responses.filter(({ statusCode }) => statusCode === 429).length, 10)
      t.equal((await post.take(10)).length, 10)
    })

    t.test('POST /api/v1/signup, PUT /api/v1/me/email, POST /api/v1/email-verification · many accounts, one address → 10 mails in an hour, whatever its case', async (t) => {
      const post = outbox()
      const clock = createTestClock()
      const lines: string[] = []
      const app = await build(t, {}, { sendMail: post.sendMail, now: clock.now, logStream: { write: (line) => { lines.push(line) } } })
      const email = 'Stranger@example.com'
      const tokens: string[] = []
      for (let i = 0; i < 4; i++) {
        const account = { ...bob, username: `bob${i}`, email: i % 2 === 0 ? email : email.toUpperCase() }
        const token = await tokenOf(app, account)
        tokens.push(token)
        t.equal((await setEmail(app, token, null)).statusCode, 204)
      }
      const [token = '', ...others] = tokens
      for (let i = 0; i < 6; i++) t.equal((await setEmail(app, String(tokens[i % 4]), email)).statusCode, 202)
      const rejected = await setEmail(app, token, email.toLowerCase())
      t.match(rejected.json(), { statusCode: 429, code: 'TOO_MANY_ATTEMPTS' })
      t.equal(rejected.headers['retry-after'], '3600')
      t.equal((await signUp(app, { ...alice, email })).statusCode, 200, 'the account is made, without a mail')
      clock.advance(60)
      t.equal((await as(app, await tokenOf(app, { ...alice, username: 'carol' }))('POST', '/email-verification')).statusCode, 409)
      t.equal((await as(app, String((await logIn(app, alice)).json().token))('POST', '/email-verification')).statusCode, 429)
      t.equal((await setEmail(app, String(others[0]), 'other@example.com')).statusCode, 202, 'another address has its own')
      t.equal((await post.take(11)).length, 11)
      t.match(servicesOf(app).throttle.counts, { recipient_mails: 3, account_mails: 0 })
      t.notMatch(lines.join(''), /could not be mailed|stranger@/i)
      clock.advance(3_600)
      t.equal((await as(app, String((await logIn(app, alice)).json().token))('POST', '/email-verification')).statusCode, 202)
    })

    t.test('codes · in no log, no event, no answer and no table', async (t) => {
      const lines: string[] = []
      const post = outbox()
      const app = await build(t, { LOG_LEVEL: 'trace' }, { sendMail: post.sendMail, logStream: { write: (line) => { lines.push(line) } } })
      const token = await tokenOf(app)
      await setEmail(app, token, 'new@example.com')
      const [mail] = await post.take(1)
      const { store, audit } = servicesOf(app)
      const stored = await store.db.select().from(store.tables.codes)
      for (const code of [mail?.code, String(mail?.code).toLowerCase()]) await verify(app, code)
      const seen = JSON.stringify([lines, stored, await audit.list({}, 100)])
      t.ok(seen.includes('email verified'))
      t.notOk(seen.toUpperCase().includes(String(mail?.code)))
      t.notOk(JSON.stringify([lines, await audit.list({}, 100)]).includes('new@example.com'))
    })

    t.test('a mail that cannot be sent → the answer is the same', async (t) => {
      const lines: string[] = []
      const app = await build(t, { LOG_LEVEL: 'error' }, { sendMail: async () => { throw smtpError(550, 'no such mailbox') }, logStream: { write: (line) => { lines.push(line) } } })
      t.equal((await setEmail(app, await tokenOf(app), 'new@example.com')).statusCode, 202)
      await until(() => lines.length > 0)
      t.notMatch(lines.join(''), /new@example/)
    })

    t.test('a changed password → the verified email is told, no other', async (t) => {
      const post = outbox()
      const app = await build(t, {}, { sendMail: post.sendMail })
      const token = await tokenOf(app, bobWithEmail)
      await post.take(1)
      const next = 'incorrect donkey charger clip'
      const change = (from: string, to: string) => as(app, token)('PUT', '/me/password', { current_password: from, new_password: to })
      t.equal((await change(password, next)).statusCode, 204)
      await servicesOf(app).users.setEmail(1, 'bob@example.com', { isVerified: true })
      t.equal((await change(wrong, password)).statusCode, 401)
      t.equal((await change(next, password)).statusCode, 204)
      const note = { kind: 'password_changed', to: 'bob@example.com', text: /^The password of your account bob was changed/ }
      t.match(await post.take(1), [note])
      await app.latchkey.users.setPassword(1, next)
      const notes = await post.take(1)
      t.match(notes, [note])
      t.equal(notes.length, 1)
    })

    t.test('POST /api/v1/signup · username with @ → it is the email, or 422', async (t) => {
      const app = await build(t)
      for (const account of [{ username: 'bob@example.com', email: 'robert@example.com' }, { username: 'bob@' }, { username: 'bob@example..com' }, { username: 'bok@example.com', email: 'bo\u212A@example.com' }, { username: 'bos@example.com', email: 'bo\u017F@example.com' }]) {
        t.match((await signUp(app, { ...account, password })).json(), { statusCode: 422, message: notOwn, errors: [{ field: 'username' }] })
      }
      t.match((await signUp(app, { username: 'Bob@example.com', password })).json().user, { username: 'Bob@example.com', email: 'Bob@example.com', email_verified: false })
      t.match((await signUp(app, { username: 'carol@example.com', email: 'CAROL@example.com', password })).json().user, { username: 'carol@example.com', email: 'CAROL@example.com' })
      await signUp(app, { ...alice, email: 'alice@example.com' })
      t.match((await signUp(app, { username: 'alice@example.com', password })).json(), { statusCode: 409, code: 'EMAIL_TAKEN' })
      t.match((await signUp(app, { username: 'dave@example.com', email: null, password: 'dave@example.com' })).json(), { statusCode: 422, message: 'password must not be the username' })
    })

    t.test('POST /api/v1/login · by email, in any case and Unicode form → 200; unknown, too long, with controls → 404', async (t) => {
      const app = await build(t)
      await signUp(app, { ...bob, email: 'J\u00f6rg.Mark@Example.com' })
      for (const username of ['J\u00f6rg.Mark@Example.com', 'jo\u0308rg.MARK@example.COM', 'j\u00f6rg.mar\u212A@example.com', 'bob']) t.equal((await logIn(app, { username, password })).statusCode, 200, username)
      t.match((await logIn(app, { username: 'j\u00f6rg.mark@example.com', password: wrong })).json(), { statusCode: 401, code: 'PASSWORD_INCORRECT' })
      for (const username of ['jorg.mark@example.com', 'j\u00f6rg.mark@example.com ', 'j\u00f6rg.mark@example.com\0', 'j\u00f6rg.mark@example.com\n', `${'x'.repeat(255)}@example.com`, `${'o\u0308'.repeat(4_000)}@example.com`, 'j\u00f6rg.mark@example.com,x@example.com']) {
        t.match((await logIn(app, { username, password })).json(), { statusCode: 404, code: 'USERNAME_UNKNOWN' })
      }
    })

    t.test('POST /api/v1/login · by username or email → failures count for the account, whichever was typed', async (t) => {
      const clock = createTestClock()
      const app = await build(t, { LOGIN_FAILURES_PER_ACCOUNT: '4' }, { now: clock.now })
      await signUp(app, { ...bob, email: 'bob!@example.com' })
      const names = ['bob', 'bob!@example.com', 'BOB', 'BOB!@example.com']
      for (const username of names) t.equal((await logIn(app, { username, password: wrong })).statusCode, 401)
      for (const seconds of [1, 2, 4]) {
        for (const username of names) t.match(await logIn(app, { username, password }), { statusCode: 429, headers: { 'retry-after': String(seconds) } })
        clock.advance(seconds)
        t.equal((await logIn(app, { username: String(names[seconds % names.length]), password: wrong })).statusCode, 401)
      }
      clock.advance(8)
      t.equal((await logIn(app, { username: 'bob!@example.com', password })).statusCode, 200)
      for (const username of names) t.equal((await logIn(app, { username, password: wrong })).statusCode, 401, 'a success clears them')
      t.equal((await logIn(app, { username: 'bob', password })).statusCode, 429)
    })

    t.test('POST /api/v1/login · LOGIN_ERRORS=uniform → known and unknown emails get the same answers and waits', async (t) => {
      const clock = createTestClock()
      const app = await build(t, { LOGIN_FAILURES_PER_ACCOUNT: '2', LOGIN_ERRORS: 'uniform' }, { now: clock.now })
      await signUp(app, { ...bob, email: 'bob!@example.com' })
      const answers = async (username: string) => {
        const found: object[] = []
        for (let i = 0; i < 4; i++) {
          const { statusCode, body, headers } = await logIn(app, { username: i % 2 === 0 ? username : username.toUpperCase(), password: wrong })
          found.push({ statusCode, body, headers: { ...headers, date: '' } })
        }
        return found
      }
      const known = await answers('bob!@example.com')
      t.match(known, [{ statusCode: 401 }, { statusCode: 401 }, { statusCode: 429 }, { statusCode: 429 }])
      for (const unknown of ['nobody!@example.com', 'nobody@example.com', `${'x'.repeat(200)}@example.com`]) t.same(await answers(unknown), known)
    })

    t.test('POST /api/v1/login · an address keeps its budgets by account, whichever was typed', async (t) => {
      const app = await build(t, { TRUST_PROXY: '127.0.0.1', LOGIN_FAILURES_PER_ADDRESS_MINUTE: '3' })
      const send = (payload: object, url = 'login') => app.inject({ method: 'POST', url: `/api/v1/${url}`, payload, headers: { 'x-forwarded-for': '203.0.113.1' } })
      await send(bobWithEmail, 'signup')
      for (let i = 0; i < 3; i++) await send({ username: 'nobody@example.com', password: wrong })
      t.equal((await send({ username: 'nobody@example.com', password })).statusCode, 429)
      t.equal((await send({ username: 'bob@example.com', password })).statusCode, 200, 'its owner is known there')
    })

    t.test('app.latchkey.users · create, rename and setEmail have the rules of the routes', async (t) => {
      const post = outbox()
      const app = await build(t, {}, { sendMail: post.sendMail })
      const { users, audit } = app.latchkey
      await t.rejects(users.create({ username: 'bob@example.com', email: 'other@example.com', password }), { code: 'VALIDATION_FAILED', message: notOwn })
      t.match(await users.create({ username: 'bob@example.com', password }), { email: 'bob@example.com', emailVerified: false })
      await users.create({ ...alice, email: 'alice@example.com' })
      for (const [username, error] of [
        ['', { code: 'VALIDATION_FAILED', message: 'username is empty' }],
        ['-x', { code: 'VALIDATION_FAILED' }],
        ['x@example.com', { code: 'VALIDATION_FAILED', message: notOwn }],
        ['Alice', { code: 'USERNAME_TAKEN' }]
      ] as const) await t.rejects(users.rename(1, username), error)
      await t.rejects(users.rename(9, 'x'), { code: 'USER_UNKNOWN' })
      await t.rejects(users.setEmail(9, 'x@example.com'), { code: 'USER_UNKNOWN' })
      await t.rejects(users.setEmail(1, null), { code: 'VALIDATION_FAILED', message: isUsername })
      await users.rename(1, 'bob')
      await users.setEmail(1, null)
      await t.rejects(users.rename(1, 'alice@example.com'), { code: 'EMAIL_TAKEN' })
      for (const [email, error] of [['', { code: 'VALIDATION_FAILED', message: 'email is empty' }], ['nope', { code: 'VALIDATION_FAILED' }], ['Alice@example.com', { code: 'EMAIL_TAKEN' }]] as const) await t.rejects(users.setEmail(1, email), error)
      await users.setEmail(1, 'bob@example.com', { verified: true })
      await users.setEmail(1, 'bob@example.com')
      t.match(await users.find('bob'), { email: 'bob@example.com', emailVerified: true }, 'the same one stays verified')
      t.same(post.mails, [])
      await users.setEmail(1, 'new@example.com')
      t.match(await post.take(1), [{ kind: 'email_changed', to: 'bob@example.com' }])
      t.match(await users.find('bob'), { email: 'new@example.com', emailVerified: false })
      await users.setEmail(1, 'new@example.com', { verified: true })
      await users.setEmail(1, null, { verified: true })
      t.match(await users.find('bob'), { email: null, emailVerified: false })
      t.same((await audit.list({ userId: 1 }, 100)).map(({ kind }) => kind).reverse(), ['signup', 'username_change', 'email_change', 'email_change', 'email_change', 'email_verification', 'email_change'])
      await t.rejects(servicesOf(app).users.rename(1, 'not a username'), TypeError)
      await t.rejects(servicesOf(app).users.rename(1, '-x'), TypeError)
    })

    t.test('latchkey user create, import · username with @ → it is the email, or one line', async (t) => {
      const { latchkey, settings } = commandLine(t, { DATABASE_URL: await database.create(t, { isShared: true }) })
      const create = (...args: string[]) => latchkey(['user', 'create', ...args, '--password-stdin', '--json'], password)
      refused(t, await create('bob@example.com', '--email', 'other@example.com'), `the ${notOwn}`)
      refused(t, await create('bob@'), `the ${notOwn}`)
      t.match(await create('bob@example.com'), { code: 0, out: /"email":"bob@example.com"/ })
      refused(t, await create('eve', '--email', 'BOB@example.com'), /the email .* is already signed up/)

      const record = (more: object) => JSON.stringify({ type: 'user', password_hash: '$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW', ...more })
      refused(t, await latchkey(['import'], record({ username: 'carol@example.com', email: 'other@example.com' })), `line 1: the ${notOwn}; nothing was imported`)
      refused(t, await latchkey(['import'], [record({ username: 'carol@example.com' }), record({ username: 'x', email: 'Carol@example.com' })].join('\n')), 'line 2: the email "Carol@example.com" is already on line 1')
      t.match(await latchkey(['import'], [record({ username: 'carol@example.com' }), record({ username: 'dave' })].join('\n')), { code: 0 })
      const old = [JSON.stringify({ type: 'export', version: 1 }), record({ username: 'old@example.com' }), record({ username: 'older@example.com', email: 'x@example.com' }), JSON.stringify({ type: 'end', users: 2, roles: 0 })]
      t.match(await latchkey(['import'], old.join('\n')), { code: 0 })
      const app = await build(t, settings)
      t.same((await app.latchkey.users.list()).map(({ username, email }) => [username, email]), [
        ['bob@example.com', 'bob@example.com'], ['carol@example.com', 'carol@example.com'], ['dave', null], ['old@example.com', null], ['older@example.com', 'x@example.com']
      ])
    })
  })
}
