import { eq } from 'drizzle-orm'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { issuePasswordReset } from '../src/plugins/codes/password-reset.js'
import type { Mail } from '../src/plugins/mail/mail.js'
import { createSealing } from '../src/plugins/second-factor/sealing.js'
import { stepOf } from '../src/plugins/second-factor/totp.js'
import { servicesOf } from '../src/services.js'
import { asUser, createTestClock, type TestUser } from '../src/testing.js'
import { enable, type Enrolled, enrolled, totp } from './authenticator.js'
import { commandLine, refused } from './command-line.js'
import { databases } from './databases.js'
import { bob, buildOn, logIn, makeAdmin, needLogin, pairOn, secretKey, until } from './helper.js'

const { password } = bob
const next = 'incorrect donkey charger clip'
const [newKey, otherKey] = ['q8Kx2Lr0Zt5Wm9Yc3Nv7Bh1Jd4Gf6Sp0Xe', 'u3Hy6Vb9Qk2Mz5Tn8Rc1Wf4Lj7Dx0Gs3Pa']
const codeRequired = { statusCode: 401, code: 'CODE_REQUIRED', error: 'Unauthorized', message: 'a code of the second factor is needed' }
const codeIncorrect = { statusCode: 401, code: 'CODE_INCORRECT', error: 'Unauthorized', message: 'code incorrect' }
const start = new Date('2026-11-23T20:44:00.000Z')
const step = 30_000

const send = (user: Pick<TestUser, 'inject'>, method: 'GET' | 'POST' | 'PUT' | 'DELETE', url: string, payload?: object) => user.inject({ method, url: `/api/v1${url}`, ...payload && { payload } })
const codeOf = (response: { json: () => { code?: string } }) => response.json().code

t.test('the test vectors of RFC 6238, in six digits', async (t) => {
  const secret = Buffer.from('12345678901234567890')
  for (const [seconds, code] of [[59, '287082'], [1_111_111_109, '081804'], [1_111_111_111, '050471'], [1_234_567_890, '005924'], [2_000_000_000, '279037'], [20_000_000_000, '353130']] as const) {
    t.equal(totp(secret, seconds * 1_000), code)
    t.equal(await stepOf(secret, code, seconds * 1_000), Math.floor(seconds / 30))
  }
})

for (const database of databases) {
  t.test(database.name, async (t) => {
    const build = buildOn(database)
    const pair = pairOn(database)

    /** A server with a clock that stands at the beginning of a time step, a log and an outbox. */
    async function setUp (t: Test, env: Record<string, string> = {}) {
      const clock = createTestClock(start)
      const lines: string[] = []
      const outbox: Mail[] = []
      const app = await build(t, { LOG_LEVEL: 'trace', PUBLIC_URL: 'https://login.example.com', ...env }, {
        now: clock.now,
        logStream: { write: (line) => { lines.push(line) } },
        sendMail: async (mail) => { outbox.push(mail) }
      })
      return { app, clock, lines, outbox }
    }

    /** The code of the next time step, whose turn has come then. */
    function nextCode ({ codeAt }: Pick<Enrolled, 'codeAt'>, clock: ReturnType<typeof createTestClock>): string {
      clock.advance(30)
      return codeAt(clock.now())
    }

    const eventsOf = async (app: FastifyInstance, userId: number) => (await servicesOf(app).audit.list({ userId }, 100)).filter(({ kind }) => kind === 'second_factor_change').reverse()

    t.test('POST, PUT /api/v1/me/second-factor → a secret, then recovery codes; other tokens are revoked, a login needs a code', async (t) => {
      const { app, clock, lines, outbox } = await setUp(t)
      const user = await asUser(app, 'bob', { password, email: 'bob@example.com', emailVerified: true })
      t.same((await send(user, 'GET', '/me/second-factor')).json(), { enabled_at: null, recovery_codes_left: 0 })
      t.match((await send(user, 'GET', '/me')).json(), { second_factor: false, roles: [] })
      const other = (await logIn(app)).json().token
      const personal = (await send(user, 'POST', '/tokens', { description: 'x' })).json().token

      const asked = await send(user, 'POST', '/me/second-factor', { password })
      t.equal(asked.statusCode, 200)
      const { secret, uri, enrolment, ...rest } = asked.json()
      t.same(rest, { expires_in: 600 })
      t.match(secret, /^[A-Z2-7]{32}$/)
      t.match(enrolment, /^[0-9A-Z]{24}$/)
      t.equal(uri, `otpauth://totp/login.example.com:bob?issuer=login.example.com&secret=${secret}&algorithm=SHA1&digits=6&period=30`)
      t.equal((await logIn(app)).statusCode, 200, 'nothing has changed yet')

      const bobs = await enable(app, user, clock.now())
      t.equal(new Set(bobs.recoveryCodes).size, 10)
      for (const code of bobs.recoveryCodes) t.match(code, /^[0-9A-HJKMNP-TV-Z]{24}$/)
      for (const token of [other, personal]) t.equal((await needLogin(app, token)).json().code, 'TOKEN_REVOKED')
      t.same((await send(bobs, 'GET', '/me/second-factor')).json(), { enabled_at: start.toISOString(), recovery_codes_left: 10 })
      t.match((await send(bobs, 'GET', '/me')).json(), { second_factor: true })

      const required = await bobs.logIn()
      t.same(required.json(), codeRequired)
      t.same((await bobs.logIn(bobs.firstCode)).json(), codeIncorrect, 'the code that switched it on is no login code')
      t.equal(codeOf(await bobs.logIn(undefined, 'wrong')), 'PASSWORD_INCORRECT')
      t.equal(codeOf(await bobs.logIn('000000', 'wrong')), 'PASSWORD_INCORRECT', 'a wrong password tells nothing about codes')
      const code = nextCode(bobs, clock)
      t.equal((await bobs.logIn(code)).statusCode, 200)
      t.same((await bobs.logIn(code)).json(), codeIncorrect, 'once')
      const recovery = String(bobs.recoveryCodes[0])
      t.equal((await bobs.logIn(`${recovery.slice(0, 12)}-${recovery.slice(12).toLowerCase()}`)).statusCode, 200)
      t.same((await bobs.logIn(recovery)).json(), codeIncorrect, 'once')
      t.match((await send(bobs, 'GET', '/me/second-factor')).json(), { recovery_codes_left: 9 })

      t.match(await eventsOf(app, 1), [{ outcome: 'success', detail: 'enabled', actorId: null, source: 'http' }])
      t.same((await servicesOf(app).audit.list({ userId: 1, kind: 'login_failure' }, 100)).map(({ outcome }) => outcome).sort(), ['code_incorrect', 'code_incorrect', 'code_incorrect', 'password_incorrect', 'password_incorrect'])
      await until(() => outbox.length > 0)
      t.match(outbox, [{ kind: 'second_factor_changed', to: 'bob@example.com', text: /^The second factor of your account bob was switched on/ }])

      const { db, tables } = servicesOf(app).store
      const stored = JSON.stringify([await db.select().from(tables.codes), await db.select().from(tables.secondFactors), await db.select().from(tables.events)])
      const secrets = new RegExp([secret, bobs.secret, enrolment, bobs.firstCode, code, ...bobs.recoveryCodes, 'otpauth'].join('|'), 'i')
      t.notMatch(lines.filter((line) => !/"(?:time|reqId|requestId)":/.test(line)).join(''), secrets)
      t.notMatch(lines.join('').replaceAll(/"(?:time|responseTime|pid)":[\d.]+/g, ''), secrets)
      t.notMatch(stored.replaceAll(/\d{7,}/g, ''), secrets)
      t.notMatch(JSON.stringify(outbox), secrets)
    })

    t.test('POST /api/v1/login · clocks differ by up to 29 s; by 61 s, or a step before the last one → 401 CODE_INCORRECT', async (t) => {
      const { app, clock } = await setUp(t)
      const bobs = await enrolled(app, 'bob', clock.now())
      clock.advance(600)
      for (const seconds of [61, -61, 90, -90]) t.same((await bobs.logIn(bobs.codeAt(clock.now() + seconds * 1_000))).json(), codeIncorrect, `${seconds} s`)
      clock.advance(15)
      for (const seconds of [61, -61]) t.same((await bobs.logIn(bobs.codeAt(clock.now() + seconds * 1_000))).json(), codeIncorrect, `${seconds} s`)
      t.equal((await bobs.logIn(bobs.codeAt(clock.now() - 29_000))).statusCode, 200)
      t.equal((await bobs.logIn(bobs.codeAt(clock.now() + 29_000))).statusCode, 200)
      t.same((await bobs.logIn(bobs.codeAt(clock.now()))).json(), codeIncorrect, 'of an earlier step than the last one')
      t.equal((await bobs.logIn(nextCode(bobs, { ...clock, advance: () => clock.advance(60) }))).statusCode, 200)
    })

    t.test('POST /api/v1/login · the same code 50 times at once, on two servers → one login', async (t) => {
      const [here, there] = await pair(t)
      const bobs = await enrolled(here, 'bob', Date.now())
      const count = async (code: string) => {
        const answers = await Promise.all(Array.from({ length: 50 }, (_, i) => logIn(i % 2 === 0 ? here : there, { ...bob, code })))
        for (const answer of answers.filter(({ statusCode }) => statusCode !== 200)) t.same(answer.json(), codeIncorrect)
        return answers.filter(({ statusCode }) => statusCode === 200).length
      }
      t.equal(await count(bobs.codeAt(Date.now() + step)), 1)
      t.equal(await count(String(bobs.recoveryCodes[3])), 1)
    })

    t.test('POST /api/v1/login · wrong codes, mixed with requests without one → waits begin after the limit of the account', async (t) => {
      const { app, clock } = await setUp(t, { LOGIN_FAILURES_PER_ACCOUNT: '5', LOGIN_FAILURES_PER_ADDRESS_HOUR: '20' })
      const { loginFailures } = servicesOf(app)
      const bobs = await enrolled(app, 'bob', clock.now())
      await loginFailures.deleteNetworks(1)
      const answers: unknown[] = []
      for (let i = 0; i < 8; i++) {
        answers.push(codeOf(await bobs.logIn()), codeOf(await bobs.logIn('000000')))
      }
      const limited = 'TOO_MANY_ATTEMPTS'
      t.same(answers.slice(0, 10), Array.from({ length: 5 }, () => ['CODE_REQUIRED', 'CODE_INCORRECT']).flat())
      t.same(answers.slice(10), Array.from({ length: 6 }, () => limited))
      t.equal(await loginFailures.lastLoginAt(1, '127.0.0.1'), null, 'without a code the network does not become known')
      t.equal(codeOf(await bobs.logIn(bobs.codeAt(clock.now() + step))), limited, 'a right one has to wait as well')
      clock.advance(3_600)
      t.equal((await bobs.logIn(bobs.codeAt(clock.now()))).statusCode, 200)
      t.not(await loginFailures.lastLoginAt(1, '127.0.0.1'), null)
      t.equal(codeOf(await bobs.logIn('000000')), 'CODE_INCORRECT', 'the failures are forgotten')
    })

    t.test('codes of other forms → 401 or 422', async (t) => {
      const { app, clock } = await setUp(t)
      const bobs = await enrolled(app, 'bob', clock.now())
      const code = bobs.codeAt(clock.now() + step)
      const fullWidth = code.replace(/\d/g, (digit) => String.fromCharCode(0xff10 + Number(digit)))
      const recovery = String(bobs.recoveryCodes[0])
      for (const wrong of [fullWidth, ` ${code}`, `${code} `, `${code.slice(0, 3)} ${code.slice(3)}`, code.slice(1), `${code}0`, `${code}\n`, `${code}\0`, 'abcdef', '-1e100', ' ', `${recovery}0`, recovery.slice(1), '\ud800', "' or 1=1 --"]) {
        t.same((await bobs.logIn(wrong)).json(), codeIncorrect, JSON.stringify(wrong))
        t.equal(codeOf(await send(bobs, 'POST', '/me/second-factor', { password, code: wrong })), 'CODE_INCORRECT')
      }
      for (const invalid of ['', '0'.repeat(65), Number(code), null, true, [code], { code }]) t.equal((await bobs.logIn(invalid)).statusCode, 422, JSON.stringify(invalid))
      t.equal((await bobs.logIn(code)).statusCode, 200)
      await asUser(app, 'carol', { password })
      t.equal((await logIn(app, { ...bob, username: 'carol', code })).statusCode, 200, 'without a second factor it is ignored')
      t.same((await logIn(app, { ...bob, username: 'nobody', code })).json().code, 'USERNAME_UNKNOWN')
      const daves = await enrolled(app, 'dave', clock.now())
      t.same((await bobs.logIn(daves.recoveryCodes[0])).json(), codeIncorrect, 'that of another user')
      t.equal((await daves.logIn(daves.recoveryCodes[0])).statusCode, 200)
    })

    t.test('LOGIN_ERRORS=uniform · a right password without, and with a wrong code → CODE_REQUIRED, CODE_INCORRECT', async (t) => {
      const { app, clock } = await setUp(t, { LOGIN_ERRORS: 'uniform' })
      const bobs = await enrolled(app, 'bob', clock.now())
      t.same((await bobs.logIn()).json(), codeRequired)
      t.same((await bobs.logIn('000000')).json(), codeIncorrect)
      t.equal(codeOf(await bobs.logIn(nextCode(bobs, clock), 'wrong')), 'CREDENTIALS_INCORRECT')
      t.equal((await bobs.logIn(bobs.codeAt(clock.now()))).statusCode, 200, 'the code was not used up')
    })

    t.test('a disabled account → 403 ACCOUNT_DISABLED, and no code is used up', async (t) => {
      const { app, clock } = await setUp(t)
      const bobs = await enrolled(app, 'bob', clock.now())
      const code = bobs.codeAt(clock.now() + step)
      await app.latchkey.users.disable(1)
      for (const each of [undefined, '000000', code, bobs.recoveryCodes[0]]) t.equal(codeOf(await bobs.logIn(each)), 'ACCOUNT_DISABLED')
      t.equal(codeOf(await bobs.logIn(code, 'wrong')), 'PASSWORD_INCORRECT')
      await app.latchkey.users.enable(1)
      t.equal((await bobs.logIn(code)).statusCode, 200)
      t.equal((await bobs.logIn(bobs.recoveryCodes[0])).statusCode, 200)
    })

    t.test('every other way in asks for a code: a reset, no token but by a login', async (t) => {
      const { app, clock } = await setUp(t)
      const bobs = await enrolled(app, 'bob', clock.now())
      const reset = await issuePasswordReset(servicesOf(app), 1)
      t.equal((await app.inject({ method: 'PUT', url: '/api/v1/password-reset', payload: { code: reset?.code, new_password: next } })).statusCode, 204)
      t.same((await bobs.logIn(undefined, next)).json(), codeRequired)
      t.equal((await bobs.logIn(bobs.codeAt(clock.now() + step), next)).statusCode, 200)
      const passwordHash = String(await servicesOf(app).users.findHash(1))
      t.equal(await servicesOf(app).accessTokens.issue({ userId: 1, kind: 'login', passwordHash, description: 'x' }), undefined)
    })

    t.test('what asks for the own password asks for a code as well', async (t) => {
      const { app, clock } = await setUp(t, { LOGIN_FAILURES_PER_ACCOUNT: '100' })
      const { db, tables: { loginFailures } } = servicesOf(app).store
      const bobs = await enrolled(app, 'bob', clock.now(), { email: 'bob@example.com', emailVerified: true })
      await asUser(app, 'boss', { roles: ['admin'] })
      const failures = async () => (await db.select().from(loginFailures)).reduce((sum, row) => sum + row.failures, 0)
      const doors: Array<['POST' | 'PUT' | 'DELETE', string, object, number, string]> = [
        ['PUT', '/me/password', { current_password: password, new_password: next }, 204, 'password_change'],
        ['PUT', '/me/password', { current_password: next, new_password: password }, 204, 'password_change'],
        ['PUT', '/me/username', { username: 'bobby', password }, 204, 'username_change'],
        ['PUT', '/me/email', { email: 'bobby@example.com', password }, 202, 'email_change'],
        ['POST', '/tokens', { description: 'x', password }, 201, 'token_creation'],
        ['POST', '/me/recovery-codes', { password }, 201, 'second_factor_change'],
        ['POST', '/me/second-factor', { password }, 200, 'second_factor_change'],
        ['POST', '/me/deletion', { password }, 204, 'deletion']
      ]
      for (const [method, url, payload, status, kind] of doors) {
        const before = await failures()
        t.same((await send(bobs, method, url, payload)).json(), codeRequired, `${method} ${url}`)
        t.equal(await failures(), before, 'it does not count')
        t.same((await send(bobs, method, url, { ...payload, code: '000000' })).json(), codeIncorrect)
        t.equal(await failures(), before + 1)
        t.equal(codeOf(await send(bobs, method, url, { ...payload, code: 5 })), 'VALIDATION_FAILED')
        t.match((await servicesOf(app).audit.list({ userId: 1 }, 2)).find((event) => event.kind === kind), { outcome: 'code_incorrect' })
        const code = nextCode(bobs, clock)
        const wrong = { ...payload, ...'current_password' in payload ? { current_password: 'wrong' } : { password: 'wrong' } }
        t.equal(codeOf(await send(bobs, method, url, { ...wrong, code })), 'PASSWORD_INCORRECT')
        t.equal((await send(bobs, method, url, { ...payload, code })).statusCode, status)
        t.equal(await failures(), 0)
        if ('password' in payload && kind !== 'deletion') t.equal(codeOf(await send(bobs, method, url, { ...payload, code })), 'CODE_INCORRECT', 'once')
        await db.delete(loginFailures)
      }
      for (const [method, url] of [['DELETE', '/me'], ['DELETE', '/me/second-factor'], ['POST', '/me/second-factor/deletion']] as const) {
        const user = await enrolled(app, `u${url.length}${method}`, clock.now())
        const other = String((await servicesOf(app).accessTokens.issue({ userId: user.user.id, kind: 'personal', description: 'x' }))?.token)
        t.same((await send(user, method, url, { password })).json(), codeRequired)
        t.same((await send(user, method, url, { password, code: user.firstCode })).json(), codeIncorrect)
        t.equal((await send(user, method, url, { password, code: user.recoveryCodes[0] })).statusCode, 204)
        t.equal((await needLogin(app, other)).statusCode, url === '/me' ? 400 : 401, 'every other token is revoked')
        t.equal((await user.logIn()).statusCode, url === '/me' ? 404 : 200)
      }
    })

    t.test('POST /api/v1/me/second-factor · an abandoned, old, foreign or used enrolment changes nothing', async (t) => {
      const { app, clock } = await setUp(t, { LOGIN_FAILURES_PER_ADDRESS_HOUR: '12' })
      const bobs = await enrolled(app, 'bob', clock.now())
      const enrol = async (code?: string) => await send(bobs, 'POST', '/me/second-factor', { password, code })
      const prove = async (enrolment: unknown, code: unknown, user: Pick<TestUser, 'inject'> = bobs) => await send(user, 'PUT', '/me/second-factor', { enrolment, code: code as string })

      t.same((await enrol()).json(), codeRequired)
      t.same((await enrol(bobs.firstCode)).json(), codeIncorrect)
      const abandoned = (await enrol(nextCode(bobs, clock))).json()
      t.equal((await bobs.logIn(nextCode(bobs, clock))).statusCode, 200, 'the old one works')
      const { enrolment, secret } = (await enrol(nextCode(bobs, clock))).json()
      t.not(secret, abandoned.secret)
      const invalid = { statusCode: 403, code: 'CODE_INVALID', error: 'Forbidden', message: 'the code is not valid, or not any longer' }
      t.same((await prove(abandoned.enrolment, '123456')).json(), invalid, 'a newer one counts')
      const carol = await asUser(app, 'carol', { password })
      t.same((await prove(enrolment, '123456', carol)).json(), invalid, 'not that of another user')
      t.same((await prove('x', '123456')).json(), invalid)
      for (const wrong of [nextCode(bobs, clock), '12345', bobs.recoveryCodes[0]]) t.same((await prove(enrolment, wrong)).json(), codeIncorrect)
      for (const body of [{}, { enrolment }, { enrolment, code: null }, { enrolment, code: 5 }, { enrolment, code: '0'.repeat(65) }]) t.equal(codeOf(await send(bobs, 'PUT', '/me/second-factor', body)), 'VALIDATION_FAILED')
      t.equal(codeOf(await prove(enrolment, '000000')), 'CODE_INCORRECT')
      t.match(await eventsOf(app, 1), [{ detail: 'enabled' }, { outcome: 'code_incorrect' }, { outcome: 'code_incorrect' }, { outcome: 'code_incorrect' }, { outcome: 'code_incorrect' }, { outcome: 'code_incorrect' }])
      let limited = 0
      for (let i = 0; i < 12; i++) if (codeOf(await prove(enrolment, '000000')) === 'TOO_MANY_ATTEMPTS') limited++
      t.ok(limited > 0, 'guesses are limited')
      clock.advance(601)
      t.same((await servicesOf(app).codes.find('second_factor', enrolment)), undefined, 'it expires')

      clock.advance(3_600)
      const old = bobs.codeAt(clock.now() + step)
      const again = await enable(app, bobs, clock.now(), bobs.codeAt(clock.now()))
      t.same((await again.logIn(old)).json(), codeIncorrect, 'the old secret is gone')
      t.same((await again.logIn(bobs.recoveryCodes[1])).json(), codeIncorrect, 'and its recovery codes')
      t.equal((await again.logIn(nextCode(again, clock))).statusCode, 200)
    })

    t.test('POST /api/v1/me/recovery-codes → new ones, the old ones are gone; without a second factor → 409 SECOND_FACTOR_OFF', async (t) => {
      const { app, clock, outbox } = await setUp(t)
      const user = await asUser(app, 'bob', { password, email: 'bob@example.com', emailVerified: true })
      const off = { statusCode: 409, code: 'SECOND_FACTOR_OFF', error: 'Conflict', message: 'the account has no second factor' }
      for (const [method, url] of [['POST', '/me/recovery-codes'], ['DELETE', '/me/second-factor'], ['POST', '/me/second-factor/deletion']] as const) t.same((await send(user, method, url, { password })).json(), off)
      const bobs = await enable(app, user, clock.now())
      const created = await send(bobs, 'POST', '/me/recovery-codes', { password, code: bobs.recoveryCodes[0] })
      t.equal(created.statusCode, 201)
      const { recovery_codes: codes } = created.json()
      t.equal(new Set([...codes, ...bobs.recoveryCodes]).size, 20)
      t.same((await bobs.logIn(bobs.recoveryCodes[1])).json(), codeIncorrect)
      t.equal((await bobs.logIn(codes[1])).statusCode, 200)
      t.match((await send(bobs, 'GET', '/me/second-factor')).json(), { recovery_codes_left: 9 })
      clock.advance(50 * 365 * 86_400)
      t.equal((await bobs.logIn(codes[2])).statusCode, 200, 'they do not expire')
      clock.advance(-50 * 365 * 86_400)
      t.equal((await send(bobs, 'DELETE', '/me/second-factor', { password, code: codes[3] })).statusCode, 204)
      t.same((await send(bobs, 'GET', '/me/second-factor')).json(), { enabled_at: null, recovery_codes_left: 0 })
      t.equal((await bobs.logIn()).statusCode, 200)
      t.match((await eventsOf(app, 1)).map(({ detail }) => detail), ['enabled', 'recovery codes', 'disabled'])
      await until(() => outbox.length === 3)
      t.match(outbox.map(({ text }) => text.split('\n')[0]).sort(), ['The second factor of your account bob was switched off.', 'The second factor of your account bob was switched on.', 'Your account bob has new recovery codes: the old ones are not valid any longer.'])
    })

    t.test('DELETE /api/v1/users/{username}/second-factor → 204, also when it is off; the tokens stay', async (t) => {
      const { app, clock, outbox } = await setUp(t)
      const admin = await asUser(app, 'admin', { roles: ['admin'] })
      const bobs = await enrolled(app, 'bob', clock.now(), { email: 'bob@example.com', emailVerified: true })
      t.equal(codeOf(await send(bobs, 'DELETE', '/users/bob/second-factor')), 'ROLE_REQUIRED')
      t.match((await send(admin, 'GET', '/users')).json().users, [{ second_factor: false }, { username: 'bob', second_factor: true }])
      t.match((await send(admin, 'GET', '/users/bob')).json(), { second_factor: true })
      for (let i = 0; i < 2; i++) t.match(await send(admin, 'DELETE', '/users/BOB/second-factor'), { statusCode: 204, body: '' })
      t.equal(codeOf(await send(admin, 'DELETE', '/users/nobody/second-factor')), 'USER_UNKNOWN')
      t.equal((await needLogin(app, bobs.token)).statusCode, 200)
      t.equal((await bobs.logIn()).statusCode, 200)
      const { db, tables } = servicesOf(app).store
      t.same([await db.select().from(tables.codes), await db.select().from(tables.secondFactors)], [[], []])
      t.match(await eventsOf(app, 2), [{ detail: 'enabled' }, { detail: 'disabled', actorId: 1 }])
      t.equal((await eventsOf(app, 2)).length, 2)
      await until(() => outbox.length === 2)

      const again = await enrolled(app, 'carol', clock.now())
      const { secondFactor, roles } = servicesOf(app)
      await asUser(app, 'boss', { roles: ['admin'] })
      const { switchOff } = secondFactor
      secondFactor.switchOff = async (...args) => {
        await roles.revoke(1, 'admin')
        return await switchOff(...args)
      }
      t.equal(codeOf(await send(admin, 'DELETE', '/users/carol/second-factor')), 'ROLE_REQUIRED', 'an admin no longer')
      t.same((await again.logIn()).json(), codeRequired)
      secondFactor.switchOff = switchOff
      t.equal(await app.latchkey.users.disableSecondFactor(again.user.id), true)
      t.equal(await app.latchkey.users.disableSecondFactor(again.user.id), false)
      t.equal(await app.latchkey.users.disableSecondFactor(999), false)
      t.match(await eventsOf(app, again.user.id), [{ detail: 'enabled' }, { detail: 'disabled', source: 'app' }])
    })

    t.test('what changes concurrently counts: a second factor switched on, off or replaced during a login', async (t) => {
      const { app, clock } = await setUp(t)
      const { passwords, secondFactor, throttle, codes, tokens, accessTokens, store } = servicesOf(app)
      const user = await asUser(app, 'bob', { password })
      /** Does something once, before a method of a service runs. */
      const before = <Name extends string>(service: Record<Name, (...args: never[]) => unknown>, name: Name, work: () => Promise<unknown>) => {
        const method = service[name]
        service[name] = async (...args) => {
          service[name] = method
          await work()
          return await method(...args)
        }
      }
      let bobs: Enrolled | undefined
      before(throttle, 'logIn', async () => { bobs = await enable(app, user, clock.now()) })
      t.same((await logIn(app)).json(), codeRequired, 'switched on')
      t.equal((await tokens.list(1)).length, 1, 'no token escapes')
      if (bobs === undefined) return t.fail('it is on')
      const first = bobs
      before(throttle, 'logIn', async () => {
        clock.advance(60)
        bobs = await enable(app, first, clock.now(), first.codeAt(clock.now()))
      })
      t.same((await first.logIn(first.recoveryCodes[0])).json(), codeRequired, 'replaced')
      const second = bobs
      before(passwords, 'verify', async () => { await secondFactor.switchOff(1) })
      t.equal((await second.logIn('123456')).statusCode, 200, 'switched off')

      const enrol = async () => (await send(user, 'POST', '/me/second-factor', { password })).json()
      const { secret, enrolment } = await enrol()
      const { prove } = secondFactor
      const proven = { sealedSecret: createSealing(secretKey).seal(Buffer.alloc(20)), step: 1 }
      secondFactor.prove = async (row) => {
        await store.batch([codes.deleteQuery(row.hash)])
        return proven
      }
      t.equal(codeOf(await send(user, 'PUT', '/me/second-factor', { enrolment, code: secret.slice(0, 6) })), 'CODE_INVALID', 'the enrolment was used')
      const { enrolment: another } = await enrol()
      secondFactor.prove = async () => {
        await tokens.revokeAll(1)
        return proven
      }
      t.equal(codeOf(await send(user, 'PUT', '/me/second-factor', { enrolment: another, code: '123456' })), 'TOKEN_REVOKED')
      secondFactor.prove = prove
      t.equal(await secondFactor.findEnabledAt(1), null)

      const token = String((await accessTokens.issue({ userId: 1, kind: 'personal', description: 'x' }))?.token)
      const inject = { inject: async (request: object) => await app.inject({ ...request, headers: { authorization: token } }) } as Pick<TestUser, 'inject'>
      before(secondFactor, 'enrol', async () => { await tokens.revokeAll(1) })
      t.equal(codeOf(await send(inject, 'POST', '/me/second-factor', { password })), 'TOKEN_REVOKED')
    })

    t.test('SECRET_KEY is rotated → second factors go on; without the old key → a logged 500, and recovery codes', async (t) => {
      const url = await database.create(t, { isShared: true })
      const clock = createTestClock(start)
      const serve = async (env: Record<string, string>) => {
        const lines: string[] = []
        const app = await build(t, { DATABASE_URL: url, LOG_LEVEL: 'info', ...env }, { now: clock.now, logStream: { write: (line) => { lines.push(line) } } })
        return { app, lines }
      }
      const first = await serve({})
      const [bobs, carols] = [await enrolled(first.app, 'bob', clock.now()), await enrolled(first.app, 'carol', clock.now())]
      const factors = async () => {
        const { db, tables: { secondFactors } } = servicesOf(first.app).store
        return await db.select().from(secondFactors).orderBy(secondFactors.userId)
      }
      const before = await factors()
      const atFirst = async ({ app }: { app: FastifyInstance }, user: Enrolled, code: unknown) => await logIn(app, { ...bob, username: user.user.username, code })

      const wrong = await serve({ SECRET_KEY: otherKey })
      t.equal((await atFirst(wrong, bobs, nextCode(bobs, clock))).statusCode, 500)
      t.match(wrong.lines.join(''), 'the secret of a second factor cannot be opened: another SECRET_KEY has sealed it')
      t.equal((await atFirst(wrong, bobs, undefined)).statusCode, 401, 'never without a code')
      t.equal((await atFirst(wrong, bobs, bobs.recoveryCodes[0])).statusCode, 200)

      const rotated = await serve({ SECRET_KEY: newKey, SECRET_KEY_PREVIOUS: secretKey })
      t.equal((await atFirst(rotated, bobs, bobs.codeAt(clock.now()))).statusCode, 200)
      const [bobsFactor, carolsFactor] = await factors()
      t.not(bobsFactor?.sealedSecret, before[0]?.sealedSecret, 'it was sealed again')
      t.same(carolsFactor, before[1])
      await servicesOf(first.app).store.db.insert(servicesOf(first.app).store.tables.secondFactors).values({ userId: (await asUser(first.app, 'dave')).user.id, sealedSecret: createSealing(otherKey).seal(Buffer.alloc(20)), lastStep: 0 })
      await rotated.app.listen({ port: 0, host: '127.0.0.1' })
      await until(async () => (await factors())[1]?.sealedSecret !== before[1]?.sealedSecret)
      await until(() => rotated.lines.some((line) => line.includes('sealed with the new SECRET_KEY')))
      const latest = await serve({ SECRET_KEY: newKey })
      for (const user of [bobs, carols]) t.equal((await atFirst(latest, user, user.codeAt(clock.now() + step))).statusCode, 200)
      const early = await serve({ SECRET_KEY: newKey, SECRET_KEY_PREVIOUS: secretKey })
      await early.app.listen({ port: 0, host: '127.0.0.1' })
      await early.app.close()

      const { db, tables: { secondFactors } } = servicesOf(first.app).store
      await db.delete(secondFactors).where(eq(secondFactors.userId, 1))
      t.equal((await atFirst(latest, bobs, nextCode(bobs, clock))).statusCode, 500, 'a missing secret is not "off"')
      t.match(latest.lines.join(''), 'the secret of the second factor of user 1 is missing')
    })

    t.test('a nearly full disk keeps the event of an admin who switches a second factor off', async (t) => {
      const { app, clock } = await setUp(t)
      const bobs = await enrolled(app, 'bob', clock.now())
      await makeAdmin(app, 'bob')
      const carols = await enrolled(app, 'carol', clock.now())
      servicesOf(app).store.isNearlyFull = () => true
      t.equal((await send(carols, 'POST', '/me/recovery-codes', { password, code: carols.recoveryCodes[0] })).statusCode, 201)
      t.equal((await send(bobs, 'DELETE', '/users/carol/second-factor')).statusCode, 204)
      t.match((await eventsOf(app, carols.user.id)).at(-1), { detail: 'disabled', actorId: 1 })
      t.notOk((await eventsOf(app, carols.user.id)).some(({ detail }) => detail === 'recovery codes'))
    })

    t.test('latchkey user second-factor off, show, export, import, reset-db', async (t) => {
      const clock = createTestClock(start)
      const source = commandLine(t, { DATABASE_URL: await database.create(t, { isShared: true }) })
      const app = await build(t, source.settings, { now: clock.now })
      const bobs = await enrolled(app, 'bob', clock.now())
      const carols = await enrolled(app, 'carol', clock.now())
      await bobs.logIn(bobs.recoveryCodes[0])
      await servicesOf(app).tokens.revokeAll(1)
      await servicesOf(app).tokens.revokeAll(2)
      t.match((await source.latchkey(['user', 'show', 'bob'])).out, /\nsecond_factor: true\n/)
      t.match(JSON.parse((await source.latchkey(['user', 'list', '--json'])).out), [{ second_factor: true }, { second_factor: true }])
      const { out } = await source.latchkey(['export'])
      const records = out.trimEnd().split('\n').map((line) => JSON.parse(line))
      const [bobsRecord, carolsRecord] = records.filter(({ type }) => type === 'user')
      t.match(bobsRecord, { second_factor: { sealed_secret: /^v1\./, last_step: clock.now() / step, enabled_at: start.toISOString(), recovery_hashes: Array.from({ length: 9 }, () => /^[\w-]{43}$/) } })
      for (const code of [...bobs.recoveryCodes, bobs.secret]) t.notMatch(out, code)

      const target = commandLine(t, { DATABASE_URL: await database.create(t, { isShared: true }) })
      const sealedWith = /latchkey: line 3: the second factor of "?bob"? was sealed with another SECRET_KEY: set SECRET_KEY, or SECRET_KEY_PREVIOUS, to the key of the exporting server, or set second_factor to null; nothing was imported\n$/
      target.settings.SECRET_KEY = otherKey
      refused(t, await target.latchkey(['import'], out), sealedWith)
      delete target.settings.SECRET_KEY
      refused(t, await target.latchkey(['import'], out), 'SECRET_KEY is not set')
      const edited = (change: object) => [records[0], { ...carolsRecord, second_factor: { ...carolsRecord.second_factor, ...change } }, { type: 'end', users: 1, roles: 0 }].map((record) => JSON.stringify(record)).join('\n')
      for (const [change, problem] of [
        [{ sealed_secret: 'x'.repeat(257) }, 'second_factor'],
        [{ last_step: -1 }, 'second_factor'],
        [{ recovery_hashes: ['x'] }, 'second_factor'],
        [{ enabled_at: '2026-02-30T00:00:00Z' }, 'a date or time does not exist'],
        [{ recovery_hashes: Array.from({ length: 2 }, () => 'x'.repeat(43)) }, 'the recovery code "x{40}…" is already on line 2']
      ] as const) refused(t, await target.latchkey(['import'], edited(change)), new RegExp(`line 2: ${problem}`))
      target.settings.SECRET_KEY = otherKey
      target.settings.SECRET_KEY_PREVIOUS = secretKey
      t.match(await target.latchkey(['import'], out), { code: 0, err: '' })
      t.equal((await target.latchkey(['export'])).out, out, 'the same')
      const imported = await build(t, target.settings, { now: clock.now })
      t.equal((await logIn(imported, { ...bob, code: bobs.recoveryCodes[0] })).statusCode, 401)
      t.equal((await logIn(imported, { ...bob, code: bobs.firstCode })).statusCode, 401)
      t.equal((await logIn(imported, { ...bob, code: bobs.recoveryCodes[1] })).statusCode, 200)
      t.equal((await logIn(imported, { ...bob, username: 'carol', code: nextCode(carols, clock) })).statusCode, 200)

      // Until then the event of the server may not be written.
      t.match(await eventsOf(app, 1), [{ detail: 'enabled' }])
      t.match(await source.latchkey(['user', 'second-factor', 'off', 'BOB']), { code: 0, out: 'the second factor of user bob is off\n', err: '' })
      t.match(await source.latchkey(['user', 'second-factor', 'off', '--', 'bob']), { code: 0, out: 'user bob has no second factor\n' })
      refused(t, await source.latchkey(['user', 'second-factor', 'off', 'nobody']), 'there is no user nobody')
      t.equal((await bobs.logIn()).statusCode, 200)
      t.match(await eventsOf(app, 1), [{ detail: 'enabled' }, { detail: 'disabled', source: 'cli', actorId: null }])
      const { db, tables: { codes, secondFactors } } = servicesOf(app).store
      await db.delete(secondFactors)
      t.match(await source.latchkey(['export']), { code: 1, err: /latchkey: the secret of the second factor of user carol is missing: switch it off first, latchkey user second-factor off carol\n$/ })
      t.match(await target.latchkey(['reset-db', '--yes']), { code: 0 })
      const { store } = servicesOf(imported)
      t.same([await store.db.select().from(codes), await store.db.select().from(secondFactors)], [[], []])
    })
  })
}
