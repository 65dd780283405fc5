import Fastify from 'fastify'
import t, { type Test } from 'tap'
import latchkey, { CodeInvalid, EmailTaken, RoleNotFound, TooManyInvites } from '../src/index.js'
import type { Mail } from '../src/plugins/mail/mail.js'
import { servicesOf } from '../src/services.js'
import { asUser, testOptions } from '../src/testing.js'
import { databases } from './databases.js'
import { as, bob, buildOn, fillDisks, internals, logIn, pairOn, signUp, until } from './helper.js'

const dayMs = 86_400_000

for (const database of databases) {
  t.test(database.name, async (t) => {
    const build = buildOn(database)
    const pair = pairOn(database)

    /** A server, an admin, and the roles editor and author. */
    const setUp = async (t: Test, env: Record<string, string> = {}, options = {}) => {
      const app = await build(t, env, options)
      const admin = await asUser(app, 'admin', { roles: ['admin'] })
      for (const name of ['editor', 'author']) await servicesOf(app).roles.create({ name, description: 'x' })
      const send = as(app, admin.token)
      const invite = async (body: object = {}) => (await send('POST', '/invites', body)).json()
      return { app, admin, send, invite, services: servicesOf(app) }
    }

    t.test('/api/v1/invites · not an admin → 403 ROLE_REQUIRED; no token → 400 AUTHORIZATION_MISSING', async (t) => {
      const { app } = await setUp(t)
      const { token } = await asUser(app, 'bob', { roles: ['editor'] })
      for (const [method, url] of [['GET', '/invites'], ['POST', '/invites'], ['DELETE', '/invites/x']] as const) {
        const payload = method === 'POST' ? {} : undefined
        t.match((await as(app, token)(method, url, payload)).json(), { statusCode: 403, code: 'ROLE_REQUIRED' }, `${method} ${url}`)
        t.match((await app.inject({ method, url: `/api/v1${url}`, payload })).json(), { statusCode: 400, code: 'AUTHORIZATION_MISSING' }, `${method} ${url}`)
      }
    })

    t.test('POST, GET, DELETE /api/v1/invites · 201 with the code, which is nowhere else; newest first; 204; 404 INVITE_NOT_FOUND', async (t) => {
      const lines: string[] = []
      let time = Date.UTC(2026, 10, 24)
      const { app, send, services, admin } = await setUp(t, { LOG_LEVEL: 'trace' }, { now: () => time, logStream: { write: (line: string) => lines.push(line) } })
      t.same((await send('GET', '/invites')).json(), { invites: [] })
      const first = await send('POST', '/invites', {})
      t.equal(first.statusCode, 201)
      t.same(Object.keys(first.json()), ['id', 'code', 'url', 'expires_at'])
      t.match(first.json(), { id: /^[\w-]{43}$/, code: /^[0-9A-HJKMNP-TV-Z]{24}$/, url: null, expires_at: '2026-12-01T00:00:00.000Z' })
      time += 1_000
      const second = await send('POST', '/invites', { email: 'Carol@example.com', roles: ['editor', 'author', 'editor'], expires_in: 60, id: 'x', code: 'mine', user_id: 1 })
      t.equal(second.json().expires_at, '2026-11-24T00:01:01.000Z')
      const list = await send('GET', '/invites')
      t.same(list.json().invites, [
        { id: second.json().id, email: 'Carol@example.com', roles: ['author', 'editor'], created_at: '2026-11-24T00:00:01.000Z', expires_at: '2026-11-24T00:01:01.000Z' },
        { id: first.json().id, email: null, roles: [], created_at: '2026-11-24T00:00:00.000Z', expires_at: '2026-12-01T00:00:00.000Z' }
      ])

      t.equal((await send('DELETE', `/invites/${first.json().id}`)).statusCode, 204)
      time += 60_000
      t.same((await send('GET', '/invites')).json(), { invites: [] }, 'one is deleted, the other has expired')
      for (const id of [first.json().id, second.json().id, 'x', '%00', 'x'.repeat(43), '🔑'.repeat(5)]) t.match((await send('DELETE', `/invites/${encodeURIComponent(id)}`)).json(), { statusCode: 404, code: 'INVITE_NOT_FOUND' }, id)
      for (const { json } of [first, second]) t.match((await signUp(app, { ...bob, invite: json().code })).json(), { statusCode: 403, code: 'CODE_INVALID' })

      const events = (await send('GET', '/events?kind=invitation')).body
      t.match(JSON.parse(events).events, [{ detail: `deleted ${first.json().id}` }, { detail: `created ${second.json().id}` }, { detail: `created ${first.json().id}`, outcome: 'success', source: 'http', user_id: null, actor_id: admin.user.id }])
      const stored = JSON.stringify(await services.store.db.select().from(services.store.tables.codes))
      t.match(stored, second.json().id)
      for (const { json } of [first, second]) for (const text of [list.body, events, stored, ...lines]) t.notOk(text.includes(json().code))
    })

    t.test('POST /api/v1/invites · 404 ROLE_NOT_FOUND; 409 EMAIL_TAKEN in any case; 422', async (t) => {
      const { app, send } = await setUp(t)
      await asUser(app, 'bob', { email: 'bob@example.com' })
      t.match((await send('POST', '/invites', { roles: ['editor', 'nothing'], email: 'bob@example.com' })).json(), { statusCode: 404, code: 'ROLE_NOT_FOUND' })
      t.match((await send('POST', '/invites', { roles: ['editor'], email: 'BOB@example.com' })).json(), { statusCode: 409, code: 'EMAIL_TAKEN' })
      for (const [body, message] of [
        [{ email: '' }, 'email is empty'],
        [{ email: 'nowhere' }, 'email must be one address like user@example.com'],
        [{ email: 'a@example.com,b@example.com' }, 'email must be one address like user@example.com'],
        [{ email: 'a@example.com\r\nBcc: b@example.com' }, 'email must be one address like user@example.com'],
        [{ email: 5 }, 'email must be a string or null'],
        [{ roles: 'editor' }, 'roles must be a list'],
        [{ roles: ['Editor'] }, 'roles.0 may only contain a-z, 0-9 and _ . -, a letter first'],
        [{ roles: Array.from({ length: 101 }, () => 'editor') }, 'roles must NOT have more than 100 items'],
        [{ expires_in: 59 }, 'expires_in must be >= 60'],
        [{ expires_in: 2_592_001 }, 'expires_in must be <= 2592000'],
        [{ expires_in: 60.5 }, 'expires_in must be an integer']
      ] as const) {
        t.match((await send('POST', '/invites', body)).json(), { statusCode: 422, code: 'VALIDATION_FAILED', message }, message)
      }
      t.same((await send('GET', '/invites')).json(), { invites: [] })
    })

    t.test('POST /api/v1/invites · 1,000 are open → 409 TOO_MANY_INVITES, also on two servers in parallel', async (t) => {
      const [here, there] = await pair(t)
      const { token } = await asUser(here, 'admin', { roles: ['admin'] })
      const { codes, store } = servicesOf(here)
      const rows = Array.from({ length: 998 }, () => codes.prepare({ kind: 'invite', data: { email: null, roles: [] }, lifetimeSeconds: 60 }).row)
      const expired = codes.prepare({ kind: 'invite', data: { email: null, roles: [] }, lifetimeSeconds: -1 }).row
      await store.db.insert(store.tables.codes).values([...rows, expired])
      const responses = await Promise.all([here, there, here, there, here, there].map((app) => as(app, token)('POST', '/invites', {})))
      t.same(responses.map(({ statusCode }) => statusCode).sort(), [201, 201, 409, 409, 409, 409])
      t.match(responses.find(({ statusCode }) => statusCode === 409)?.json(), { code: 'TOO_MANY_INVITES' })
      t.equal((await as(here, token)('GET', '/invites')).json().invites.length, 1_000)
      await t.rejects(here.latchkey.invites.create(), TooManyInvites)
    })

    t.test('POST, DELETE /api/v1/invites · the admin is demoted or logged out concurrently → 403, 401, and nothing changes', async (t) => {
      const { app, services, invite } = await setUp(t)
      const { id } = await invite()
      for (const [revoke, code] of [
        [(userId: number) => services.roles.revoke(userId, 'admin'), 'ROLE_REQUIRED'],
        [(userId: number) => services.tokens.revokeAll(userId), 'TOKEN_REVOKED']
      ] as const) {
        const second = await asUser(app, 'second', { roles: ['admin'] })
        const { batch } = services.store
        const revoked = () => Object.assign(services.store, {
          async batch (...args: Parameters<typeof batch>) {
            Object.assign(services.store, { batch })
            await revoke(second.user.id)
            return await batch(...args)
          }
        })
        revoked()
        t.match((await as(app, second.token)('POST', '/invites', {})).json(), { code })
        const third = await asUser(app, 'second', { roles: ['admin'] })
        revoked()
        t.match((await as(app, third.token)('DELETE', `/invites/${id}`)).json(), { code })
      }
      t.same((await services.invites.list()).map((open) => open.id), [id])
    })

    t.test('POST /api/v1/signup · SIGNUP=invite → 403 INVITE_REQUIRED, CODE_INVALID; 200 once, with a code in any form, and its roles', async (t) => {
      const { app, send, invite, services } = await setUp(t, { SIGNUP: 'invite' })
      for (const account of [bob, { ...bob, invite: null }]) t.match((await signUp(app, account)).json(), { statusCode: 403, code: 'INVITE_REQUIRED' })
      const other = services.codes.prepare({ kind: 'password_reset', userId: 1, lifetimeSeconds: 60 })
      await services.store.batch([services.codes.insertQuery(other.row)])
      for (const code of ['x', '0'.repeat(24), 'U'.repeat(24), '\0'.repeat(24), '🔑'.repeat(64), other.code]) t.match((await signUp(app, { ...bob, invite: code })).json(), { statusCode: 403, code: 'CODE_INVALID' }, code)
      for (const [code, message] of [['', 'invite is empty'], ['0'.repeat(65), 'invite must NOT have more than 64 characters'], [5, 'invite must be a string or null']]) t.match((await signUp(app, { ...bob, invite: code })).json(), { statusCode: 422, message })
      t.match(services.passwords.load(), { passed: 1 }, 'no hash but the admin\'s was made')

      const { code } = await invite({ roles: ['editor', 'author'] })
      await services.roles.delete('author')
      const typed = code.toLowerCase().replaceAll('0', 'o').replaceAll('1', 'l').replace(/(.{6})/g, '$1-')
      const response = await signUp(app, { ...bob, email: 'bob@example.com', invite: typed, roles: ['admin'] })
      t.match(response.json(), { user: { username: 'bob', email: 'bob@example.com', email_verified: false } })
      t.equal(response.statusCode, 200)
      const id = response.json().user.id
      const { token } = (await logIn(app)).json()
      t.same((await as(app, token)('GET', '/me')).json().roles, ['editor'], 'those that still exist')
      t.match((await signUp(app, { ...bob, username: 'carol', invite: code })).json(), { statusCode: 403, code: 'CODE_INVALID' }, 'it works once')
      t.same((await send('GET', '/invites')).json(), { invites: [] })
      const events = (await send('GET', `/events?user_id=${id}`)).json().events
      t.match(events.filter(({ kind }: { kind: string }) => kind !== 'login'), [{ kind: 'role_change', detail: 'granted editor', actor_id: null, user_id: id }, { kind: 'signup', detail: 'invited', user_id: id }])
    })

    t.test('POST /api/v1/signup · SIGNUP=open → an invitation is accepted; SIGNUP=closed → 403 SIGNUP_CLOSED', async (t) => {
      const url = await database.create(t, { isShared: true })
      const { app, invite, send } = await setUp(t, { DATABASE_URL: url })
      const { code } = await invite({ roles: ['admin'] })
      t.match((await signUp(await build(t, { DATABASE_URL: url, SIGNUP: 'closed' }), { ...bob, invite: code })).json(), { statusCode: 403, code: 'SIGNUP_CLOSED' })
      t.equal((await signUp(app)).statusCode, 200, 'none is needed')
      t.match((await send('GET', '/events?kind=signup')).json().events[0], { detail: null })
      t.equal((await signUp(app, { ...bob, username: 'carol', invite: code })).statusCode, 200)
      t.equal((await app.inject({ url: '/admin', headers: { authorization: (await logIn(app, { ...bob, username: 'carol' })).json().token } })).statusCode, 200)
      t.equal((await send('GET', '/invites')).json().invites.length, 0)
    })

    t.test('POST /api/v1/signup · invitation with an email → the account has it, as it is written there, verified; another one → 422', async (t) => {
      const { app, send, invite } = await setUp(t, { SIGNUP: 'invite' })
      const { code } = await invite({ email: 'Kim@example.com' })
      t.match((await signUp(app, { ...bob, invite: code, email: 'bob@example.com' })).json(), { statusCode: 422, code: 'VALIDATION_FAILED', errors: [{ field: 'email', message: 'email must be that of the invitation' }] })
      t.match((await signUp(app, { username: 'kim', password: 'KIM@example.com', invite: code })).json(), { statusCode: 422, message: 'password must not be the email' })
      t.equal((await send('GET', '/invites')).json().invites.length, 1, 'a 422 leaves it usable')
      t.match((await signUp(app, { ...bob, invite: code, email: '\u212Aim@EXAMPLE.com' })).json(), { user: { email: 'Kim@example.com', email_verified: true } }, 'not as it was typed')
      t.match((await signUp(app, { ...bob, username: 'carol', invite: (await invite({ email: 'carol@example.com' })).code, email: null })).json(), { user: { email: 'carol@example.com', email_verified: true } })
      t.match((await signUp(app, { ...bob, username: 'dave', invite: (await invite()).code })).json(), { user: { email: null, email_verified: false } })
    })

    t.test('POST /api/v1/signup · 409, 500, 503 → the invitation stays usable', async (t) => {
      const { app, services, send, invite } = await setUp(t, { DATABASE_URL: await database.create(t, { isShared: true }) })
      const { code } = await invite({ email: 'carol@example.com', roles: ['editor'] })
      await asUser(app, 'dave')
      t.match((await signUp(app, { ...bob, username: 'DAVE', invite: code })).json(), { statusCode: 409, code: 'USERNAME_TAKEN' })
      await asUser(app, 'erin', { email: 'CAROL@example.com' })
      t.match((await signUp(app, { ...bob, username: 'carol', invite: code })).json(), { statusCode: 409, code: 'EMAIL_TAKEN' })
      await services.users.delete(Number((await services.users.find('erin'))?.id))

      // Taken between the look and the write.
      const { hash } = services.passwords
      const taken = (username: string, email?: string) => Object.assign(services.passwords, {
        async hash (...args: Parameters<typeof hash>) {
          Object.assign(services.passwords, { hash })
          await asUser(app, username, { email })
          return await hash(...args)
        }
      })
      taken('frank')
      t.match((await signUp(app, { ...bob, username: 'frank', invite: code })).json(), { statusCode: 409, code: 'USERNAME_TAKEN' })
      taken('gina', 'carol@example.com')
      t.match((await signUp(app, { ...bob, username: 'carol', invite: code })).json(), { statusCode: 409, code: 'EMAIL_TAKEN' })
      await services.users.delete(Number((await services.users.find('gina'))?.id))

      for (const table of ['users', 'user_roles']) {
        await database.addTrigger(services.store, `before insert on ${table}`, database.fault('a fault'))
        const failed = await signUp(app, { ...bob, username: 'carol', invite: code })
        t.equal(failed.statusCode, 500)
        t.notMatch(failed.body, internals)
        await database.removeTriggers(services.store, table)
      }
      t.equal(await services.users.find('carol'), undefined, 'all or nothing')
      t.equal((await send('GET', '/invites')).json().invites.length, 1)
      t.equal((await signUp(app, { ...bob, username: 'carol', invite: code })).statusCode, 200)
      t.same((await send('GET', '/invites')).json().invites, [])
      await t.rejects(services.invites.signUp({ id: 'x', email: null, roles: [], createdAt: new Date(), expiresAt: new Date() }, { username: 'c c', email: null, passwordHash: 'x' }), TypeError)
      await t.rejects(services.invites.signUp({ id: 'x', email: null, roles: [], createdAt: new Date(), expiresAt: new Date() }, { username: '..', email: null, passwordHash: 'x' }), TypeError)
    })

    t.test('POST /api/v1/signup · the roles cannot be read for the audit log → 200: the account is there, and the invitation used', async (t) => {
      const { app, services, invite } = await setUp(t)
      const { code } = await invite()
      Object.assign(services.roles, { ofUser: async () => { throw new Error('away') } })
      t.match(await app.inject({ method: 'POST', url: '/api/v1/signup', payload: { ...bob, invite: code } }), { statusCode: 200 })
    })

    t.test('POST /api/v1/signup · 40 in parallel on two servers with one invitation → one account with its roles', async (t) => {
      const [here, there] = await pair(t)
      await asUser(here, 'admin', { roles: ['admin', 'editor'] })
      const { code } = await here.latchkey.invites.create({ roles: ['editor'] })
      const names = Array.from({ length: 40 }, (_, i) => `user${i}`)
      const responses = await Promise.all(names.map((username, i) => signUp(i % 2 === 0 ? here : there, { ...bob, username, invite: code })))
      const winners = responses.filter(({ statusCode }) => statusCode === 200)
      t.equal(winners.length, 1)
      for (const response of responses) if (response !== winners[0]) t.match(response.json(), { statusCode: 403, code: 'CODE_INVALID' })
      t.same((await here.latchkey.users.list()).map(({ username }) => username), ['admin', winners[0]?.json().user.username])
      t.same(await here.latchkey.roles.ofUser(winners[0]?.json().user.id), ['editor'])
      t.same(await here.latchkey.invites.list(), [])
    })

    t.test('POST /api/v1/signup · in parallel with the deletion of the invitation, or of its role, on another server → one or the other', async (t) => {
      const [here, there] = await pair(t)
      const admin = await asUser(here, 'admin', { roles: ['admin'] })
      for (let i = 0; i < 10; i++) {
        const username = `user${i}`
        await here.latchkey.roles.create({ name: `role${i}`, description: 'x' })
        const { id, code } = await here.latchkey.invites.create({ roles: [`role${i}`, 'admin'] })
        const isDeletion = i % 2 === 0
        const [signup, deletion] = await Promise.all([
          signUp(here, { ...bob, username, invite: code }),
          as(there, admin.token)('DELETE', isDeletion ? `/invites/${id}` : `/roles/role${i}`)
        ])
        const user = await here.latchkey.users.find(username)
        if (isDeletion) t.match([[200, 404], [403, 204]].find(([status]) => status === signup.statusCode), [signup.statusCode, deletion.statusCode], 'either it was used or it was deleted')
        else t.same([signup.statusCode, deletion.statusCode], [200, 204])
        t.equal(user !== undefined, signup.statusCode === 200)
        if (!isDeletion) t.same(await here.latchkey.roles.ofUser(Number(user?.id)), ['admin'], 'the role is gone')
      }
    })

    t.test('POST /api/v1/signup · wrong codes count as rejected signups of the address → 429', async (t) => {
      const { app, invite } = await setUp(t, { LOGIN_FAILURES_PER_ADDRESS_HOUR: '3' })
      for (let i = 0; i < 3; i++) t.equal((await signUp(app, { ...bob, invite: `${i}`.repeat(24) })).statusCode, 403)
      t.match((await signUp(app, { ...bob, invite: (await invite()).code })).json(), { statusCode: 429, code: 'TOO_MANY_ATTEMPTS' })
    })

    t.test('mail · an invitation goes to its email, a signup verifies its own; Host and Origin change no link; without a mailer there is none', async (t) => {
      const mails: Mail[] = []
      const { app, send, invite, services } = await setUp(t, { PUBLIC_URL: 'https://login.example.com/' }, { sendMail: async (mail: Mail) => { mails.push(mail) } })
      await invite()
      const forged = { host: 'evil.example', 'x-forwarded-host': 'evil.example', origin: 'https://evil.example' }
      const { token } = await asUser(app, 'admin')
      const { code, url } = (await app.inject({ method: 'POST', url: '/api/v1/invites', headers: { ...forged, authorization: token }, payload: { email: 'Carol@example.com', expires_in: 129_600 } })).json()
      t.equal(url, `https://login.example.com/ui/signup#${code}`)
      t.match(mails, [{ kind: 'invitation', to: 'Carol@example.com', code, url, text: /valid for 36 hours and works once/ }])
      t.ok(mails[0]?.text.includes(url))

      t.match((await signUp(app, { ...bob, username: 'carol', invite: code })).json(), { user: { email_verified: true } })
      await signUp(app, { ...bob, username: 'dave' })
      t.equal(mails.length, 1, 'it is verified already, and without an email there is nothing to verify')
      const { user } = (await signUp(app, { ...bob, email: 'bob@example.com' })).json()
      t.match(mails[1], { kind: 'email_verification', to: 'bob@example.com', text: /bob/ })
      t.same(await services.codes.consume('email_verification', String(mails[1]?.code), user.id).then((row) => row?.data), JSON.stringify({ email: 'bob@example.com' }))
      await signUp(app, { ...bob, username: 'erin', email: 'erin@example.com', invite: (await invite()).code })
      t.match(mails[2], { kind: 'email_verification', to: 'erin@example.com' }, 'an invitation without an email verifies none')

      await database.addTrigger(services.store, 'before insert on codes', database.fault('a fault'), "new.kind = 'email_verification'")
      t.equal((await signUp(app, { ...bob, username: 'frank', email: 'frank@example.com' })).statusCode, 200, 'the account is there, whatever happens to the mail')
      t.equal(mails.length, 3)
      t.equal((await send('POST', '/invites', { email: 'gina@example.com' })).statusCode, 201)
      await until(() => mails.length === 4)

      const silent = await setUp(t)
      t.match(await silent.invite({ email: 'carol@example.com' }), { url: null })
      t.equal((await signUp(silent.app, { ...bob, email: 'bob@example.com' })).statusCode, 200)
    })

    t.test('app.latchkey.invites · create, list, delete, with the errors of the routes', async (t) => {
      const app = Fastify()
      t.teardown(() => app.close())
      const mails: Mail[] = []
      await app.register(latchkey, testOptions({ databaseUrl: await database.create(t), signup: 'invite', publicUrl: 'https://example.com', sendMail: async (mail) => { mails.push(mail) } }))
      await asUser(app, 'bob', { email: 'bob@example.com' })
      const { invites } = app.latchkey
      const open = await invites.create()
      t.equal(open.expiresAt.getTime() - open.createdAt.getTime(), 7 * dayMs)
      const { code, url, ...bound } = await invites.create({ email: 'carol@example.com', roles: ['admin'], expiresInSeconds: 60 })
      t.match(bound, { id: String, email: 'carol@example.com', roles: ['admin'] })
      t.match(mails, [{ kind: 'invitation', to: 'carol@example.com', code, url: `https://example.com/ui/signup#${code}`, text: /valid for 60 seconds/ }])
      t.same((await invites.list()).map(({ id }) => id).sort(), [open.id, bound.id].sort())
      t.notOk(JSON.stringify(await invites.list()).includes(code))
      t.equal(await invites.delete(open.id), true)
      t.equal(await invites.delete(open.id), false)
      t.equal((await signUp(app, { ...bob, username: 'carol', invite: code })).statusCode, 200)
      t.match((await signUp(app, { ...bob, username: 'dave', invite: code })).json(), { code: new CodeInvalid().code })
      t.match((await app.latchkey.audit.list({ kind: 'invitation' }, 9)).map(({ detail, source }) => [detail, source]), [[`deleted ${open.id}`, 'app'], [`created ${bound.id}`, 'app'], [`created ${open.id}`, 'app']])
      await t.rejects(invites.create({ roles: ['nothing'] }), RoleNotFound)
      await t.rejects(invites.create({ email: 'BOB@example.com' }), EmailTaken)
      await t.rejects(invites.create({ email: 'nowhere', roles: ['admin', 'A'], expiresInSeconds: 59 }), { code: 'VALIDATION_FAILED', errors: [{ field: 'email' }, { field: 'roles', message: /^roles may only contain/ }, { field: 'expiresInSeconds', message: 'expiresInSeconds must be an integer from 60 to 2592000' }] })
      for (const expiresInSeconds of [2_592_001, 60.5, NaN]) await t.rejects(invites.create({ expiresInSeconds }), { code: 'VALIDATION_FAILED' })
      await t.rejects(invites.create({ roles: Array.from({ length: 101 }, () => 'admin') }), { message: 'roles must not be more than 100' })
    })
  })
}

t.test('POST /api/v1/signup · the disk is nearly full → 503, and the invitation stays usable', async (t) => {
  const [sqlite] = databases
  const app = await buildOn(sqlite)(t, { DATABASE_URL: await sqlite.create(t, { isShared: true }) })
  const { code } = await app.latchkey.invites.create()
  await t.test('while it is full', async (t) => {
    fillDisks(t)
    t.equal((await signUp(app, { ...bob, invite: code })).statusCode, 503)
  })
  t.equal((await app.latchkey.invites.list()).length, 1)
})
