import { join } from 'node:path'
import Database from 'better-sqlite3'
import { eq } from 'drizzle-orm'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { createCode, hashCode } from '../src/plugins/codes/code.js'
import { issuePasswordReset } from '../src/plugins/codes/password-reset.js'
import type { Mail } from '../src/plugins/mail/mail.js'
import { createNoPassword } from '../src/plugins/passwords/stored-hash.js'
import { resetPassword } from '../src/plugins/passwords/reset-password.js'
import { servicesOf } from '../src/services.js'
import { asUser } from '../src/testing.js'
import { commandLine } from './command-line.js'
import { databases } from './databases.js'
import { as, bob, buildOn, logIn, needLogin, temporaryFolder, until } from './helper.js'

const email = 'Bob@Example.com'
const next = 'incorrect donkey charger clip'
const accepted = { statusCode: 202, body: '' }
const codeInvalid = { statusCode: 403, code: 'CODE_INVALID', error: 'Forbidden', message: 'the code is not valid, or not any longer' }

const ask = (app: FastifyInstance, payload: unknown = { email }, headers: Record<string, string> = {}) =>
  app.inject({ method: 'POST', url: '/api/v1/password-reset', payload: JSON.stringify(payload), headers: { 'content-type': 'application/json', ...headers } })

const use = (app: FastifyInstance, code: unknown, password: unknown = next) =>
  app.inject({ method: 'PUT', url: '/api/v1/password-reset', payload: { code, new_password: password } })

/** An account with an email, verified unless said otherwise. */
async function createAccount (app: FastifyInstance, { username = 'bob', email: address = email, isVerified = true, isDisabled = false } = {}) {
  const created = await asUser(app, username, { email: address, emailVerified: isVerified, password: bob.password })
  const { db, tables: { users } } = servicesOf(app).store
  if (isDisabled) await db.update(users).set({ disabledAt: new Date() }).where(eq(users.id, created.user.id))
  return created
}

/** A code as an admin hands it over. */
async function codeOf (app: FastifyInstance, userId: number): Promise<string> {
  return String((await issuePasswordReset(servicesOf(app), userId))?.code)
}

/** Waits until every address that was asked for has been looked up: the last one belongs to an account of its own. */
async function lookedUp (app: FastifyInstance, outbox: Mail[]): Promise<void> {
  const name = `last${outbox.length}`
  await createAccount(app, { username: name, email: `${name}@example.com` })
  await ask(app, { email: `${name}@example.com` })
  await until(() => outbox.some(({ to }) => to === `${name}@example.com`))
  outbox.splice(outbox.findIndex(({ to }) => to === `${name}@example.com`), 1)
}

for (const database of databases) {
  t.test(database.name, async (t) => {
    const build = buildOn(database)

    /** A server with an outbox, a clock and a log. */
    async function setUp (t: Test, env: Record<string, string> = {}, options = {}) {
      const outbox: Mail[] = []
      const lines: string[] = []
      let shift = 0
      const app = await build(t, { PUBLIC_URL: 'https://login.example.com', LOG_LEVEL: 'trace', ...env }, {
        now: () => Date.now() + shift,
        logStream: { write: (line: string) => { lines.push(line) } },
        sendMail: async (mail) => { outbox.push(mail) },
        ...options
      })
      return { app, outbox, lines, advance: (seconds: number) => { shift += seconds * 1_000 } }
    }

    /** The code that is mailed. */
    async function mailedCode ({ app, outbox }: { app: FastifyInstance, outbox: Mail[] }): Promise<string> {
      await ask(app)
      await until(() => outbox.length > 0)
      return String(outbox.shift()?.code)
    }

    t.test('POST, PUT /api/v1/password-reset · verified email → a mail, a new password; everything of before is gone', async (t) => {
      const server = await setUp(t, { LOGIN_FAILURES_PER_ACCOUNT: '1' })
      const { app, outbox, lines } = server
      const { users, loginFailures, store, accessTokens, audit } = servicesOf(app)
      const { user, token } = await createAccount(app)
      const personal = String((await accessTokens.issue({ userId: user.id, kind: 'personal', description: 'x' }))?.token)
      t.equal((await logIn(app, bob)).statusCode, 200)
      t.not(await loginFailures.lastLoginAt(user.id, '127.0.0.1'), null)
      await asUser(app, 'carol', { email: 'carol@example.com' })

      t.match(await ask(app, { email: 'bob@EXAMPLE.com' }), { ...accepted, headers: { 'content-length': '0', 'cache-control': 'no-store' } })
      await until(() => outbox.length === 1)
      const [mail] = outbox.splice(0)
      t.match(mail, { kind: 'password_reset', to: email, code: /^[0-9A-HJKMNP-TV-Z]{24}$/, url: `https://login.example.com/ui/reset#${mail?.code}` })
      t.match(mail?.text, `\n${mail?.url}\n`)
      t.match(mail?.text, 'bob')
      t.notMatch(JSON.stringify(await store.db.select().from(store.tables.codes)), mail?.code)

      const other = await codeOf(app, Number((await users.find('carol'))?.id))
      const verification = String((await servicesOf(app).codes.issue({ kind: 'email_verification', userId: user.id, lifetimeSeconds: 3_600 }))?.code)
      for (let i = 0; i < 2; i++) await logIn(app, { ...bob, password: 'wrong' })
      t.equal((await logIn(app, bob)).statusCode, 429)
      const reset = await use(app, mail?.code)
      t.match(reset, { statusCode: 204, body: '' })
      t.equal(reset.headers['set-cookie'], undefined)
      for (const old of [token, personal]) t.match((await needLogin(app, old)).json(), { statusCode: 401, code: 'TOKEN_REVOKED' })
      t.equal(await loginFailures.lastLoginAt(user.id, '127.0.0.1'), null)
      t.equal((await logIn(app, { ...bob, password: next })).statusCode, 200, 'no wait is left')
      t.equal((await logIn(app, bob)).statusCode, 401)
      t.same((await use(app, mail?.code)).json(), codeInvalid)
      t.equal(await servicesOf(app).codes.find('email_verification', verification), undefined)
      t.not(await servicesOf(app).codes.find('password_reset', other), undefined, 'those of others stay')
      await until(() => outbox.length === 1)
      t.match(outbox, [{ kind: 'password_changed', to: email, code: undefined }])

      const events = (await audit.list({ userId: user.id }, 20)).filter(({ kind }) => ['reset_request', 'password_reset'].includes(kind))
      t.match(events, [
        { kind: 'password_reset', outcome: 'success', source: 'http', address: '127.0.0.1', actorId: null, detail: null },
        { kind: 'reset_request', outcome: 'success', source: 'http', address: '127.0.0.1', actorId: null, detail: null, requestId: String }
      ])
      t.equal(events.length, 2)
      const secrets = new RegExp([mail?.code, other, verification, next, bob.password].join('|'), 'i')
      t.notMatch(lines.join(''), secrets)
      t.notMatch(lines.join(''), /example\.com/i)
      t.notMatch(JSON.stringify(await store.db.select().from(store.tables.events)), secrets)
    })

    t.test('POST /api/v1/password-reset · unknown, unverified, disabled, mail fails or hangs → the same status, body and headers', async (t) => {
      const answers: unknown[] = []
      let isDown = false
      let isHanging = false
      const mails: Mail[] = []
      const { app, lines } = await setUp(t, {}, {
        async sendMail (mail: Mail) {
          if (isDown) throw new Error('no route to the mail server')
          if (isHanging) await new Promise((resolve) => setTimeout(resolve, 60_000).unref())
          mails.push(mail)
        }
      })
      await createAccount(app)
      await createAccount(app, { username: 'una', email: 'una@example.com', isVerified: false })
      await createAccount(app, { username: 'dis', email: 'dis@example.com', isDisabled: true })
      await createAccount(app, { username: 'down', email: 'down@example.com' })
      await createAccount(app, { username: 'hang', email: 'hang@example.com' })
      const answerFor = async (address: string) => {
        const { statusCode, body, headers: { date, ...headers } } = await ask(app, { email: address })
        answers.push({ statusCode, body, headers })
      }
      for (const address of [email, 'nobody@example.com', 'una@example.com', 'dis@example.com']) await answerFor(address)
      await until(() => mails.length === 1 && lines.filter((line) => /a new password was asked for|account_disabled/.test(line)).length === 3)
      isDown = true
      await answerFor('down@example.com')
      await until(() => lines.some((line) => line.includes('a mail could not be sent')))
      isDown = false
      isHanging = true
      await answerFor('hang@example.com')
      for (const answer of answers) t.same(answer, answers[0])
      t.match(mails, [{ to: email }])
      const events = (await servicesOf(app).audit.list({ kind: 'reset_request' }, 20)).map(({ username, outcome }) => `${username} ${outcome}`)
      t.same(events.slice(-2), ['dis account_disabled', 'bob success'])
      t.equal(events.filter((event) => /null|una/.test(event)).length, 0)
      t.notMatch(lines.join(''), /example\.com|no route/)
    })

    t.test('POST /api/v1/password-reset · a look-alike of an address → the mail goes to the stored one, or nowhere', async (t) => {
      const { app, outbox } = await setUp(t)
      await createAccount(app, { username: 'kim', email: 'kim@example.com' })
      for (const address of ['ｋim@example.com', 'ki.m@example.com', 'kim+x@example.com', 'kim@example.com.evil.example', 'kım@example.com']) t.match(await ask(app, { email: address }), accepted)
      await lookedUp(app, outbox)
      t.same(outbox, [])
      t.match(await ask(app, { email: '\u212Aim@example.com' }), accepted)
      await until(() => outbox.length === 1)
      t.equal(outbox[0]?.to, 'kim@example.com')
    })

    t.test('POST /api/v1/password-reset · no address, or more than one → 422 VALIDATION_FAILED, and nothing happens', async (t) => {
      const { app, outbox } = await setUp(t)
      await createAccount(app)
      for (const wrong of [{}, { email: '' }, { email: null }, { email: [email] }, { email: { email } }, { email: 5 }, ...[
        'bob', `${email}\r\nBcc: x@evil.example`, `${email},x@evil.example`, '"bob"@example.com', `Bob <${email}>`, ` ${email}`, `${email}\0`, `${'b'.repeat(250)}@example.com`, 'a'.repeat(10_000)
      ].map((address) => ({ email: address }))]) {
        t.match((await ask(app, wrong)).json(), { statusCode: 422, code: 'VALIDATION_FAILED' }, JSON.stringify(wrong).slice(0, 60))
      }
      await lookedUp(app, outbox)
      t.same(outbox, [])
    })

    t.test('POST /api/v1/password-reset · ten at once on two servers → one mail; a minute later another one, whose code replaces the first', async (t) => {
      const env = { DATABASE_URL: await database.create(t, { isShared: true }) }
      const [here, there] = [await setUp(t, env), await setUp(t, env)]
      await createAccount(here.app)
      await Promise.all(Array.from({ length: 10 }, (_, i) => ask(i % 2 === 0 ? here.app : there.app)))
      await lookedUp(here.app, here.outbox)
      await lookedUp(there.app, there.outbox)
      const mails = [...here.outbox.splice(0), ...there.outbox.splice(0)]
      t.equal(mails.length, 1)
      here.advance(61)
      const code = await mailedCode(here)
      t.not(code, mails[0]?.code)
      t.same((await use(here.app, mails[0]?.code)).json(), codeInvalid)
      t.equal((await use(there.app, code)).statusCode, 204)
    })

    t.test('POST /api/v1/password-reset · the account gets another email, or is disabled, while the address is looked up → no mail', async (t) => {
      const { app, outbox } = await setUp(t)
      const { user } = await createAccount(app)
      const { codes, users } = servicesOf(app)
      const { issue } = codes
      let change = async (): Promise<unknown> => undefined
      let issued: unknown[] = []
      codes.issue = async (...args) => {
        if (args[0].userId === user.id) await change()
        const code = await issue(...args)
        if (args[0].userId === user.id) issued.push(code)
        return code
      }
      for (const work of [
        () => users.setEmail(user.id, 'other@example.com', { isVerified: true }),
        () => users.setEmail(user.id, email),
        () => users.disable(user.id)
      ]) {
        await users.enable(user.id)
        await users.setEmail(user.id, email, { isVerified: true })
        change = work
        issued = []
        t.match(await ask(app), accepted)
        await until(() => issued.length === 1)
        t.same(issued, [undefined])
      }
      await lookedUp(app, outbox)
      t.same(outbox, [])
      t.equal(await codes.newestOfUser('password_reset', user.id), undefined)
    })

    t.test('POST /api/v1/password-reset · more than an address may → 429 TOO_MANY_ATTEMPTS, until it is unlocked', async (t) => {
      const { app, outbox, lines } = await setUp(t, { RESETS_PER_ADDRESS_HOUR: '2', TRUST_PROXY: '127.0.0.1' })
      await createAccount(app)
      const from = (address: string) => ask(app, { email }, { 'x-forwarded-for': address })
      t.same((await Promise.all(Array.from({ length: 6 }, () => from('203.0.113.1')))).map(({ statusCode }) => statusCode).sort(), [202, 202, 429, 429, 429, 429])
      const rejected = await from('203.0.113.1')
      t.match(rejected.json(), { statusCode: 429, code: 'TOO_MANY_ATTEMPTS' })
      t.match(rejected.headers['retry-after'], /^\d+$/)
      t.equal((await from('203.0.113.2')).statusCode, 202)
      t.equal(servicesOf(app).throttle.counts.reset, 5)
      await servicesOf(app).throttle.unlockAddress('203.0.113.1')
      t.equal((await from('203.0.113.1')).statusCode, 202)
      await until(() => outbox.length === 1)
      await until(() => lines.some((line) => line.includes('"event":"reset_request"')))
      t.match((await servicesOf(app).audit.list({ kind: 'reset_request' }, 5)).map(({ address }) => address), [/^203\.0\.113\.[12]$/])
    })

    t.test('POST /api/v1/password-reset · no way to send mails → 202, and one hint in the log', async (t) => {
      const { app, lines } = await setUp(t, {}, { sendMail: undefined })
      await createAccount(app)
      for (let i = 0; i < 3; i++) t.match(await ask(app), accepted)
      await until(() => lines.filter((line) => line.includes('request completed')).length === 3)
      t.match(lines.map((line) => JSON.parse(line)).filter(({ level }) => level === 40), [{ msg: /nothing can be mailed: set SMTP_URL and MAIL_FROM/ }])
      t.same(await servicesOf(app).codes.list('password_reset'), [])
    })

    t.test('POST /api/v1/password-reset · Host, X-Forwarded-Host, Origin of a stranger → the link is that of PUBLIC_URL; without it there is none', async (t) => {
      const evil = { host: 'evil.example', 'x-forwarded-host': 'evil.example', 'x-forwarded-proto': 'http', origin: 'https://evil.example', referer: 'https://evil.example/', forwarded: 'host=evil.example' }
      for (const [env, url] of [[{ PUBLIC_URL: 'https://login.example.com/auth/' }, /^https:\/\/login\.example\.com\/auth\/ui\/reset#\w{24}$/], [{ PUBLIC_URL: '' }, undefined]] as const) {
        const { app, outbox } = await setUp(t, env)
        await createAccount(app)
        t.match(await ask(app, { email }, evil), accepted)
        await until(() => outbox.length === 1)
        t.match(outbox, [{ url, code: String }])
        t.notMatch(outbox[0]?.text, 'evil')
        t.match(outbox[0]?.text, outbox[0]?.code)
      }
    })

    t.test('POST /api/v1/password-reset · more than can be looked up → dropped, one log line; the database fails → one log line', async (t) => {
      const { app, outbox, lines } = await setUp(t)
      const { user } = await createAccount(app)
      const { passwordReset, store } = servicesOf(app)
      const source = { id: 'x', ip: '127.0.0.1', headers: {}, log: app.log }
      for (let i = 0; i < 1_010; i++) passwordReset.request('nobody@example.com', source)
      t.equal(lines.filter((line) => line.includes('Requests for a new password dropped: the queue is full or closed.')).length, 1)
      await until(() => lines.filter((line) => line.includes('with an address that no account has')).length === 1_000)
      await database.addTrigger(store, 'before insert on codes', database.fault('not today'))
      t.match(await ask(app), accepted)
      await until(() => lines.some((line) => line.includes('the code for a new password could not be mailed')))
      t.notMatch(lines.join(''), /example\.com/i)
      t.same(outbox, [])
      t.equal((await needLogin(app, (await asUser(app, user.username)).token)).statusCode, 200)
    })

    t.test('closing · the last addresses are looked up; what hangs is given up', async (t) => {
      const first = await setUp(t)
      await createAccount(first.app)
      const source = { id: 'x', ip: '127.0.0.1', headers: {}, log: first.app.log }
      servicesOf(first.app).passwordReset.request(email, source)
      await first.app.close()
      t.match(first.outbox, [{ to: email }])

      const second = await setUp(t)
      await createAccount(second.app)
      Object.assign(servicesOf(second.app).codes, { issue: () => new Promise(() => {}) })
      servicesOf(second.app).passwordReset.request(email, source)
      await second.app.close()
      t.match(second.lines.map((line) => JSON.parse(line)).filter(({ level }) => level === 50), [{ count: 1, msg: /^Requests for a new password lost/ }])
    })

    t.test('PUT /api/v1/password-reset · lower case, dashes, spaces, O for 0, I and L for 1 → 204', async (t) => {
      const { app } = await setUp(t)
      const { user } = await createAccount(app)
      for (const spell of [
        (code: string) => code.toLowerCase(),
        (code: string) => code.replace(/(.{4})(?!$)/g, '$1-'),
        (code: string) => ` ${code.replace(/(.{6})/g, '$1 ')}`,
        (code: string) => code.replaceAll('0', 'O').replaceAll('1', 'I'),
        (code: string) => code.replaceAll('0', 'o').replaceAll('1', 'l')
      ]) t.equal((await use(app, spell(await codeOf(app, user.id)))).statusCode, 204, String(spell))
    })

    t.test('PUT /api/v1/password-reset · unknown, used, expired, replaced, of another kind, of a deleted account, not a code → 403 CODE_INVALID', async (t) => {
      const { app, advance } = await setUp(t)
      const { user } = await createAccount(app)
      const { user: gone } = await createAccount(app, { username: 'gone', email: 'gone@example.com' })
      const { codes, users } = servicesOf(app)
      const used = await codeOf(app, user.id)
      t.equal((await use(app, used)).statusCode, 204)
      const replaced = await codeOf(app, user.id)
      const deleted = await codeOf(app, gone.id)
      await users.delete(gone.id)
      const verification = String((await codes.issue({ kind: 'email_verification', userId: user.id, lifetimeSeconds: 3_600 }))?.code)
      const invitation = codes.prepare({ kind: 'invite', lifetimeSeconds: 3_600 })
      await servicesOf(app).store.batch([codes.insertQuery(invitation.row)])
      const expired = await codeOf(app, user.id)
      for (const code of [createCode(), used, replaced, deleted, verification, invitation.code, 'x', `${expired}0`, 'U'.repeat(24), '-'.repeat(60), 'x'.repeat(5_000)]) t.same((await use(app, code)).json(), codeInvalid, code.slice(0, 30))
      advance(86_400)
      t.same((await use(app, expired)).json(), codeInvalid)
      t.equal((await logIn(app, { ...bob, password: next })).statusCode, 200)
      // Their upper case is S, I and ST.
      for (const letter of ['ſ', 'ı']) t.equal(hashCode(letter.repeat(24)), undefined, letter)
      t.equal(hashCode('ﬆ'.repeat(12)), undefined)
      for (const code of [undefined, '', null, 5, ['x']]) t.match((await use(app, code)).json(), { statusCode: 422, code: 'VALIDATION_FAILED' })
    })

    t.test('PUT /api/v1/password-reset · a mailed code after an hour → 403 CODE_INVALID', async (t) => {
      const server = await setUp(t)
      await createAccount(server.app)
      const code = await mailedCode(server)
      server.advance(3_600)
      t.same((await use(server.app, code)).json(), codeInvalid)
    })

    t.test('PUT /api/v1/password-reset · the password is rejected, or the hash queue is full → 422, 503; the code is not spent', async (t) => {
      const { app } = await setUp(t, { HASH_CONCURRENCY: '1', HASH_QUEUE: '0' })
      const { user } = await createAccount(app)
      const code = await codeOf(app, user.id)
      for (const password of ['short', 'password1', 'x'.repeat(300), '', null, 5, email.toLowerCase()]) t.match((await use(app, code, password)).json(), { statusCode: 422, code: 'VALIDATION_FAILED' }, String(password).slice(0, 30))
      const { user: long } = await createAccount(app, { username: 'longenough', email: 'long@example.com' })
      const longCode = await codeOf(app, long.id)
      t.match((await use(app, longCode, 'LongEnough')).json(), { statusCode: 422, errors: [{ field: 'new_password', message: 'new_password must not be the username' }] })
      const { passwords } = servicesOf(app)
      const busy = passwords.hash('a password of another')
      t.match((await use(app, code)).json(), { statusCode: 503, code: 'OVERLOADED' })
      await busy
      t.equal((await use(app, code)).statusCode, 204)
      t.equal((await use(app, longCode)).statusCode, 204)
    })

    t.test('PUT /api/v1/password-reset · one code 40 times at once on two servers → one 204', async (t) => {
      const env = { DATABASE_URL: await database.create(t, { isShared: true }) }
      const [here, there] = [await setUp(t, env), await setUp(t, env)]
      const { user } = await createAccount(here.app)
      const code = await codeOf(here.app, user.id)
      const answers = await Promise.all(Array.from({ length: 40 }, (_, i) => use((i % 2 === 0 ? here : there).app, code, `${next} ${i}`)))
      t.same(answers.map(({ statusCode }) => statusCode).sort(), [204, ...Array.from({ length: 39 }, () => 403)])
      const winner = answers.findIndex(({ statusCode }) => statusCode === 204)
      t.equal((await logIn(there.app, { ...bob, password: `${next} ${winner}` })).statusCode, 200)
    })

    t.test('PUT /api/v1/password-reset · another code is issued at the same moment, on another server → each is done, one after the other', async (t) => {
      const env = { DATABASE_URL: await database.create(t, { isShared: true }) }
      const [here, there] = [await setUp(t, env), await setUp(t, env)]
      const { user } = await createAccount(here.app)
      for (let i = 0; i < 10; i++) {
        const code = await codeOf(here.app, user.id)
        const [reset, newer] = await Promise.all([use(here.app, code), codeOf(there.app, user.id)])
        t.ok([204, 403].includes(reset.statusCode), String(reset.statusCode))
        t.equal(newer.length, 24)
      }
    })

    t.test('PUT /api/v1/password-reset · a login is recorded at the same moment, on another server → each is done, one after the other', async (t) => {
      const env = { DATABASE_URL: await database.create(t, { isShared: true }) }
      const [here, there] = [await setUp(t, env), await setUp(t, env)]
      const { user } = await createAccount(here.app)
      const attempt = { usernameKey: 'bob', network: '192.0.2.1', lastLoginAt: null }
      for (let i = 0; i < 40; i++) {
        const found = await servicesOf(here.app).codes.find('password_reset', await codeOf(here.app, user.id))
        await servicesOf(there.app).loginFailures.count(attempt, 10)
        const [isReset] = await Promise.all([
          servicesOf(here.app).passwordReset.setPassword({ hash: String(found?.hash), userId: user.id }, `hash ${i}`),
          servicesOf(there.app).loginFailures.recordSuccess(attempt, { userId: user.id, mustDelete: true })
        ])
        t.ok(isReset)
      }
    })

    t.test('PUT /api/v1/password-reset · a write fails → 500, and nothing has changed', async (t) => {
      const { app } = await setUp(t)
      const { user, token } = await createAccount(app)
      const code = await codeOf(app, user.id)
      const { store } = servicesOf(app)
      for (const table of ['tokens', 'codes']) {
        await database.addTrigger(store, `before delete on ${table}`, database.fault('not today'))
        t.equal((await use(app, code)).statusCode, 500, table)
        await database.removeTriggers(store, table)
      }
      t.equal((await needLogin(app, token)).statusCode, 200)
      t.equal((await logIn(app, bob)).statusCode, 200)
      t.equal((await use(app, code)).statusCode, 204)
    })

    t.test('PUT /api/v1/password-reset · a login with the old password in flight → it gets no token, and its network is not known', async (t) => {
      const { app } = await setUp(t)
      const { user } = await createAccount(app)
      const { passwords } = servicesOf(app)
      const { verify } = passwords
      let release = () => {}
      const released = new Promise<void>((resolve) => { release = resolve })
      let isVerified = false
      passwords.verify = async (hash, password, job) => {
        const isCorrect = await verify(hash, password, job)
        isVerified = true
        await released
        return isCorrect
      }
      const login = logIn(app, bob)
      await until(() => isVerified)
      t.equal((await use(app, await codeOf(app, user.id))).statusCode, 204)
      release()
      t.match((await login).json(), { statusCode: 401, code: 'PASSWORD_INCORRECT' })
      t.same(await servicesOf(app).tokens.list(user.id), [])
      t.equal(await servicesOf(app).loginFailures.lastLoginAt(user.id, '127.0.0.1'), null)
    })

    t.test('PUT /api/v1/password-reset · a disabled account stays disabled; one without a password gets one', async (t) => {
      const { app, outbox } = await setUp(t)
      const { user } = await createAccount(app, { isDisabled: true, isVerified: false })
      t.equal((await use(app, await codeOf(app, user.id))).statusCode, 204)
      t.match((await logIn(app, { ...bob, password: next })).json(), { statusCode: 403, code: 'ACCOUNT_DISABLED' })
      const created = await servicesOf(app).users.create({ username: 'new', email: null, passwordHash: createNoPassword() })
      t.equal((await use(app, await codeOf(app, Number(created?.id)))).statusCode, 204)
      t.equal((await logIn(app, { username: 'new', password: next })).statusCode, 200)
      t.same(outbox, [], 'nobody is told at an address that is not verified')
    })

    t.test('GET, HEAD /api/v1/password-reset → 405; the code is still valid', async (t) => {
      const { app } = await setUp(t)
      const { user } = await createAccount(app)
      const code = await codeOf(app, user.id)
      for (const method of ['GET', 'HEAD'] as const) {
        for (const url of ['/api/v1/password-reset', `/api/v1/password-reset?code=${code}`]) t.equal((await app.inject({ method, url })).statusCode, 405)
      }
      t.equal((await use(app, code)).statusCode, 204)
    })

    t.test('another password by its owner or by the operator → codes of before are not valid, and the owner is told', async (t) => {
      const { app, outbox } = await setUp(t)
      const { user, token } = await createAccount(app)
      const own = await codeOf(app, user.id)
      // Of somebody who knows the old password, and would then ask for a new one.
      const pending = async () => String((await servicesOf(app).codes.issue({ kind: 'email_verification', userId: user.id, data: { email: 'mallory@example.com' }, lifetimeSeconds: 3_600 }))?.code)
      const verify = async (code: string) => (await app.inject({ method: 'PUT', url: '/api/v1/email-verification', payload: { code } })).json()
      const ownPending = await pending()
      t.equal((await as(app, token)('PUT', '/me/password', { current_password: 'wrong', new_password: next })).statusCode, 401)
      t.not(await servicesOf(app).codes.find('password_reset', own), undefined, 'an attempt changes nothing')
      t.equal((await as(app, token)('PUT', '/me/password', { current_password: bob.password, new_password: next })).statusCode, 204)
      t.same((await use(app, own)).json(), codeInvalid)
      t.same(await verify(ownPending), codeInvalid)
      const { passwords, users } = servicesOf(app)
      const operator = await codeOf(app, user.id)
      const operatorPending = await pending()
      const account = await users.findById(user.id)
      if (account === undefined) throw new Error('no such user')
      await resetPassword(servicesOf(app), account, await passwords.hash(bob.password))
      t.same((await use(app, operator)).json(), codeInvalid)
      t.same(await verify(operatorPending), codeInvalid)
      await app.latchkey.users.setPassword(user.id, next)
      await until(() => outbox.length === 3)
      for (const mail of outbox) t.match(mail, { kind: 'password_changed', to: email })
    })
  })
}

t.test('latchkey user set-password → a code of before is not valid', async (t) => {
  const { settings, latchkey } = commandLine(t)
  const app = await buildOn(databases[0])(t, settings)
  const { user } = await createAccount(app)
  const code = await codeOf(app, user.id)
  t.match(await latchkey(['user', 'set-password', 'bob', '--password-stdin'], `${bob.password}\n`), { code: 0, err: '' })
  t.same((await use(app, code)).json(), codeInvalid)
})

t.test('POST /api/v1/password-reset · another process locks the database for a moment → the mail goes all the same', async (t) => {
  const path = join(temporaryFolder(t), 'latchkey.sqlite')
  const outbox: Mail[] = []
  const app = await buildOn(databases[0])(t, { DATABASE_URL: `sqlite:///${path}` }, { sendMail: async (mail: Mail) => { outbox.push(mail) } })
  await createAccount(app)
  const other = new Database(path)
  t.teardown(() => { other.close() })
  other.exec('begin immediate')
  t.match(await ask(app), accepted)
  await new Promise((resolve) => setTimeout(resolve, 500))
  t.same(outbox, [])
  other.exec('rollback')
  await until(() => outbox.length === 1)
})
