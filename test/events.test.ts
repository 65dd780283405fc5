import { once } from 'node:events'
import { createServer } from 'node:net'
import { PassThrough } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import Database from 'better-sqlite3'
import { and, eq, isNull } from 'drizzle-orm'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { run } from '../src/commands/index.js'
import latchkey from '../src/index.js'
import { type EventKind, eventMessages } from '../src/plugins/audit/event.js'
import { batchWriter } from '../src/lib/batch-writer.js'
import type { AuditEvent } from '../src/plugins/audit/event.js'
import { servicesOf } from '../src/services.js'
import { asUser, testOptions } from '../src/testing.js'
import { commandLine, notServed } from './command-line.js'
import { databases } from './databases.js'
import { bob, build as buildServer, buildOn, fillDisks, logIn, needLogin, signUp, startServer, temporaryFolder, tokenOf } from './helper.js'

const next = 'incorrect donkey charger clip'
const eventKinds = Object.keys(eventMessages) as EventKind[]

/** Sends requests with a token. */
function as (app: FastifyInstance, token: string) {
  return (method: 'GET' | 'POST' | 'PUT' | 'DELETE', url: string, payload?: object) =>
    app.inject({ method, url: `/api/v1${url}`, headers: { authorization: `Bearer ${token}`, 'user-agent': 'a test\t1.0' }, payload })
}

/** Sends requests as an admin. */
async function asAdmin (app: FastifyInstance) {
  const token = await tokenOf(app, { ...bob, username: 'admin' })
  await asUser(app, 'admin', { roles: ['admin'] })
  return as(app, token)
}

/** Resolves when no event waits to be written. */
async function areWritten (app: FastifyInstance): Promise<void> {
  while (servicesOf(app).audit.counts().waiting > 0) await delay(20)
}

/** Events in a few words, oldest first. */
const summary = (events: AuditEvent[]) => events.toReversed().map(({ kind, outcome, username, detail }) => [kind, outcome, username, detail].filter((word) => word !== null).join(' '))

for (const database of databases) {
  t.test(database.name, async (t) => {
    const build = buildOn(database)

    t.test('every kind of event is recorded, with user, outcome and origin', async (t) => {
      const app = await build(t, { LOGIN_FAILURES_PER_ACCOUNT: '2' }, { now: () => Date.UTC(2026, 10, 24, 20, 44) })
      const admin = await asAdmin(app)
      const token = await tokenOf(app)
      const ask = as(app, token)
      await logIn(app, { ...bob, username: 'nobody' })
      await logIn(app, { ...bob, password: 'wrong' })
      const personal = (await ask('POST', '/tokens', { description: 'x' })).json()
      await ask('DELETE', `/tokens/${personal.id}`)
      await tokenOf(app)
      await ask('DELETE', '/tokens?scope=others')
      await logIn(app, { ...bob, password: 'wrong' })
      await admin('POST', '/roles', { name: 'editor', description: 'x' })
      await admin('PUT', '/users/bob/roles/editor')
      await admin('DELETE', '/users/bob/roles/editor')
      await admin('DELETE', '/roles/editor')
      await ask('PUT', '/me/password', { current_password: 'wrong', new_password: next })
      await servicesOf(app).loginFailures.reset('bob')
      await ask('PUT', '/me/password', { current_password: bob.password, new_password: next })
      await ask('DELETE', '/me', { password: 'wrong' })
      await ask('POST', '/logout')
      const again = as(app, (await logIn(app, { ...bob, password: next })).json().token)
      await again('DELETE', '/me', { password: next })

      const events = await servicesOf(app).audit.list({}, 100)
      t.same(summary(events), [
        'signup success admin', 'login success admin', 'signup success', 'login success',
        'login_failure username_unknown', 'login_failure password_incorrect',
        `token_creation success ${personal.id}`, `revocation success ${personal.id}`, 'login success', 'revocation success others', 'login_failure password_incorrect',
        'role_change success created editor', 'role_change success granted editor', 'role_change success revoked editor', 'role_change success deleted editor',
        'backoff success', 'password_change password_incorrect', 'password_change success',
        'deletion password_incorrect', 'logout success', 'login success', 'deletion success'
      ])
      t.same(events.map(({ id }) => id), events.map((_, i) => events.length - i))
      for (const event of events) {
        t.match(event, { time: new Date(Date.UTC(2026, 10, 24, 20, 44)), source: 'http', address: '127.0.0.1', requestId: /^[\w-]{12}-[1-9a-z][0-9a-z]*$/ })
        t.notMatch(JSON.stringify(event), /nobody|wrong|correct horse|argon2/)
      }
      const find = (kind: string) => events.find((event) => event.kind === kind)
      t.match(find('token_creation'), { userAgent: 'a test1.0', userId: 2, actorId: null })
      t.match(find('login_failure'), { userId: 2 })
      t.match(events.filter(({ kind }) => kind === 'role_change').map(({ userId, actorId }) => [userId, actorId]), [[null, 1], [2, 1], [2, 1], [null, 1]])
    })

    t.test('a login that fails because of a concurrent change has an outcome of its own', async (t) => {
      const hash = await servicesOf(await build(t)).passwords.hash(next)
      for (const [meanwhile, outcome] of [[`update users set password_hash = '${hash}'`, 'password_changed_concurrently'], ['delete from users', 'user_deleted_concurrently']] as const) {
        const app = await build(t, { LOGIN_FAILURES_PER_ACCOUNT: '10' })
        await signUp(app)
        // A correct password deletes the failures before it, and only then a token is issued.
        await logIn(app, { ...bob, password: 'wrong' })
        await database.addTrigger(servicesOf(app).store, 'before delete on login_failures', meanwhile)
        await logIn(app)
        t.same((await servicesOf(app).audit.list({}, 9)).map((event) => event.outcome), [outcome, 'password_incorrect', 'success'])
      }
    })

    t.test('GET /api/v1/events', async (t) => {
      const app = await build(t)
      const admin = await asAdmin(app)
      await tokenOf(app)
      for (let i = 0; i < 5; i++) await logIn(app, { ...bob, password: 'wrong' })
      const list = async (query = '') => (await admin('GET', `/events${query}`)).json()

      t.test('newest first, as documented, never cached', async (t) => {
        const response = await admin('GET', '/events?limit=1')
        t.equal(response.statusCode, 200)
        t.equal(response.headers['cache-control'], 'no-store')
        const { events: [event], next_cursor: cursor } = response.json()
        t.same(event, { id: 9, time: event.time, kind: 'login_failure', outcome: 'password_incorrect', source: 'http', user_id: 2, username: 'bob', actor_id: null, detail: null, address: '127.0.0.1', user_agent: 'lightMyRequest', request_id: event.request_id })
        t.match(event.time, /^20\d\d-.*Z$/)
        t.equal(cursor, '9')
      })

      t.test('pages contain each event once, also while events are added', async (t) => {
        const ids: number[] = []
        let cursor: string | null = null
        do {
          const page = await list(`?limit=4${cursor === null ? '' : `&cursor=${cursor}`}`)
          ids.push(...page.events.map(({ id }: { id: number }) => id))
          cursor = page.next_cursor
          if (ids.length === 4) await logIn(app)
        } while (cursor !== null)
        t.same(ids, [9, 8, 7, 6, 5, 4, 3, 2, 1])
        t.equal((await list('?limit=100')).next_cursor, null)
      })

      t.test('filters: user, kind', async (t) => {
        const kinds = async (query: string) => (await list(query)).events.map(({ kind }: { kind: string }) => kind)
        t.same(await kinds('?user=ADMIN'), ['login', 'signup'])
        t.same(await kinds('?user=bob&kind=signup'), ['signup'])
        t.same(await kinds('?user_id=2&kind=signup'), ['signup'])
        t.same(await kinds('?user=bob&user_id=2&kind=signup'), ['signup'])
        t.same(await kinds('?user=bob&user_id=1'), [])
        t.same(await kinds('?user=nobody'), [])
        t.same(await kinds('?user_id=99'), [])
        t.equal((await kinds('?kind=login_failure')).length, 5)
      })

      t.test('invalid query → 422 VALIDATION_FAILED', async (t) => {
        for (const query of ['limit=0', 'limit=101', 'limit=x', 'limit=1.5', 'cursor=0', 'cursor=-1', 'cursor=x', 'cursor=9999999999999999', 'cursor=', 'kind=nonsense', 'kind=toString', 'user_id=0', 'user_id=9007199254740993', 'user_id=x']) {
          t.match((await admin('GET', `/events?${query}`)).json(), { statusCode: 422, code: 'VALIDATION_FAILED' }, query)
        }
      })

      t.test('only for admins', async (t) => {
        t.match((await as(app, (await logIn(app)).json().token)('GET', '/events')).json(), { statusCode: 403, code: 'ROLE_REQUIRED' })
        t.equal((await app.inject('/api/v1/events')).statusCode, 400)
      })
    })

    t.test('GET /api/v1/me/events · only my own events', async (t) => {
      const app = await build(t)
      const admin = await asAdmin(app)
      const token = await tokenOf(app)
      await logIn(app, { ...bob, password: 'wrong' })
      await logIn(app, { ...bob, username: 'nobody' })
      const ask = as(app, token)
      t.same((await ask('GET', '/me/events')).json().events.map(({ kind, user_id: id }: { kind: string, user_id: number }) => [kind, id]), [['login_failure', 2], ['login', 2], ['signup', 2]])
      const page = (await ask('GET', '/me/events?limit=1&kind=login')).json()
      t.match(page, { events: [{ kind: 'login' }], next_cursor: null })
      t.match((await ask('GET', '/me/events?limit=1')).json(), { events: [{ kind: 'login_failure' }], next_cursor: String })
      t.equal((await ask('GET', '/me/events?user_id=1')).json().events.length, 3, 'other filters are ignored')
      await admin('PUT', '/users/bob/roles/admin')
      t.match((await ask('GET', '/me/events?limit=1')).json().events, [{ kind: 'role_change', actor_id: 1, address: null, user_agent: null, request_id: null }], 'the address of an admin is not shown')
      t.equal((await app.inject('/api/v1/me/events')).statusCode, 400)
    })

    t.test('AUDIT_RETENTION_DAYS · older events are deleted at the start; with 0 none is written', async (t) => {
      const url = await database.create(t, { isShared: true })
      let now = Date.now()
      const app = await build(t, { DATABASE_URL: url }, { now: () => now })
      await signUp(app)
      await servicesOf(app).audit.list({}, 1)
      now += 29 * 86_400_000
      await logIn(app)
      await servicesOf(app).audit.list({}, 1)
      now += 1 * 86_400_000
      const count = async (env: object) => {
        const other = await build(t, { DATABASE_URL: url, ...env }, { now: () => now })
        await other.ready()
        await logIn(other)
        const events = await servicesOf(other).audit.list({}, 9)
        await other.close()
        return events.map(({ kind, time }) => [kind, time.getTime() === now])
      }
      t.same(await count({}), [['login', true], ['login', false]])
      t.same(await count({ AUDIT_RETENTION_DAYS: '0' }), [])
    })

    t.test('AUDIT_RETENTION_DAYS · a backlog is deleted in batches', async (t) => {
      const url = await database.create(t, { isShared: true })
      const app = await build(t, { DATABASE_URL: url })
      // A server that was in use: its clock is known to be right.
      await app.ready()
      const old = { time: new Date(Date.now() - 31 * 86_400_000), kind: 'logout', outcome: 'success', source: 'http' as const }
      for (let i = 0; i < 5; i++) await servicesOf(app).store.db.insert(servicesOf(app).store.tables.events).values(Array.from({ length: 500 }, () => old))
      const sweeping = await build(t, { DATABASE_URL: url })
      const before = performance.now()
      await sweeping.ready()
      let turns = 0
      while (await servicesOf(app).store.db.$count(servicesOf(app).store.tables.events) > 0 && performance.now() - before < 10_000) {
        turns++
        await delay(1)
      }
      t.equal(await servicesOf(app).store.db.$count(servicesOf(app).store.tables.events), 0)
      t.comment(`in ${turns} looks`)
    })

    t.test('of each user and kind the newest 1,000 events are kept: a user who causes many evicts only their own, of that kind', async (t) => {
      const app = await build(t)
      await signUp(app)
      for (const kind of ['login_failure', 'token_creation'] as const) servicesOf(app).audit.record({ kind, userId: 2 })
      for (let i = 0; i < 3; i++) servicesOf(app).audit.record({ kind: 'login_failure', outcome: 'username_unknown' })
      for (const kind of eventKinds) {
        for (let i = 0; i < 1_250; i++) servicesOf(app).audit.record({ kind, userId: 1 })
        await areWritten(app)
      }
      const { events } = servicesOf(app).store.tables
      const countOf = (userId: number, kind: string) => servicesOf(app).store.db.$count(events, and(eq(events.userId, userId), eq(events.kind, kind)))
      for (const kind of eventKinds) {
        const count = await countOf(1, kind)
        t.ok(count >= 1_000 && count < 1_100, `${kind}: ${count}`)
      }
      for (const kind of ['login_failure', 'token_creation']) t.equal(await countOf(2, kind), 1, 'events of others are kept')
      t.equal(await servicesOf(app).store.db.$count(events, isNull(events.userId)), 3)
      t.equal((await servicesOf(app).audit.list({ userId: 1, kind: 'signup' }, 2_000)).at(0)?.kind, 'signup')
    })

    t.test('events are written also when surplus ones cannot be deleted', async (t) => {
      const lines: string[] = []
      const app = await build(t, { LOG_LEVEL: 'error' }, { logStream: { write: (line) => { lines.push(line) } } })
      await database.addTrigger(servicesOf(app).store, 'before delete on events', database.fault('not today'))
      await servicesOf(app).store.db.insert(servicesOf(app).store.tables.events).values(Array.from({ length: 1_000 }, () => ({ time: new Date(), kind: 'logout', outcome: 'success', source: 'http' as const, userId: 1 })))
      for (let i = 0; i < 150; i++) servicesOf(app).audit.record({ kind: 'logout', userId: 1 })
      await servicesOf(app).audit.list({}, 1)
      t.equal(await servicesOf(app).store.db.$count(servicesOf(app).store.tables.events), 1_150)
      t.match(lines.map((line) => JSON.parse(line).msg), ['Surplus audit events could not be removed.'])
    })

    t.test('every filter has an index', async (t) => {
      const app = await build(t)
      const { events } = servicesOf(app).store.tables
      const kinds = eventKinds.slice(0, 8)
      for (let i = 0; i < 40; i++) {
        await servicesOf(app).store.db.insert(events).values(Array.from({ length: 500 }, (_, j) => ({ time: new Date(), kind: String(kinds[j % 8]), outcome: 'success', source: 'http' as const, userId: j % 3 })))
      }
      await database.execute(servicesOf(app).store, 'analyze')
      const cases: Array<Record<string, number | string>> = [{}, { userId: 2 }, { kind: 'login' }, { userId: 2, kind: 'login' }]
      for (const filter of cases.flatMap((filter) => [filter, { ...filter, before: 10_000 }])) {
        const plans = await database.explain(servicesOf(app).store, () => servicesOf(app).audit.list(filter, 51))
        t.ok(plans.length > 0)
        for (const plan of plans) t.notMatch(plan, database.scans, `${JSON.stringify(filter)}: ${plan}`)
        // Without a filter the newest are read, by the primary key.
        if ('userId' in filter || 'kind' in filter) t.notMatch(plans.join(), /SCAN events/)
      }
    })

    t.test('latchkey · commands are recorded as well', async (t) => {
      const url = await database.create(t, { isShared: true })
      const { latchkey } = commandLine(t, { DATABASE_URL: url })
      await latchkey(['user', 'create', 'alice', '--admin', '--password-stdin'], bob.password)
      await latchkey(['user', 'create', 'bob', '--password-stdin'], bob.password)
      await latchkey(['user', 'set-password', 'bob', '--password-stdin'], next)
      await latchkey(['user', 'logout', 'bob'])
      await latchkey(['role', 'create', 'editor', '--description', 'x'])
      await latchkey(['role', 'grant', 'bob', 'editor'])
      await latchkey(['role', 'revoke', 'bob', 'editor'])
      await latchkey(['role', 'delete', 'editor'])
      const token = JSON.parse((await latchkey(['token', 'create', 'bob', '--description', 'x', '--json'])).out)
      const exported = await latchkey(['export'])
      t.notMatch(exported.out, /event|lock|address/)
      await latchkey(['import'], `{"type":"user","username":"carol","password_hash":"$2b$12$${'a'.repeat(53)}"}\n`)
      const app = await build(t, { DATABASE_URL: url, LOGIN_FAILURES_PER_ACCOUNT: '1' })
      await logIn(app)
      await latchkey(['user', 'unlock', 'bob'])
      await latchkey(['user', 'delete', 'bob', '--yes'])
      await latchkey(['reset-db', '--yes'])
      const events = (await servicesOf(app).audit.list({}, 100)).filter(({ source }) => source === 'cli')
      t.same(summary(events), [
        'signup success', 'role_change success granted admin', 'signup success', 'password_change success', 'revocation success all',
        'role_change success created editor', 'role_change success granted editor', 'role_change success revoked editor', 'role_change success deleted editor',
        `token_creation success ${token.id}`, 'export success', 'import success 1 user', 'unlock success', 'deletion success', 'reset success'
      ])
      for (const event of events) t.match(event, { address: null, userAgent: null, requestId: null })
      t.match(events.map(({ userId }) => userId).reverse(), [1, 1, 2, 2, 2, null, 2, 2, null, 2, null, null, 2, 2, null])
    })

    t.test('latchkey events', async (t) => {
      const url = await database.create(t, { isShared: true })
      const { latchkey, settings, folder } = commandLine(t, { DATABASE_URL: url })
      const app = await build(t, { DATABASE_URL: url })
      t.same(await latchkey(['events']), { code: 0, out: '', err: '' })
      const admin = await asAdmin(app)
      await tokenOf(app)
      await logIn(app, { ...bob, username: 'nobody' })
      await admin('PUT', '/users/bob/roles/admin')
      await servicesOf(app).audit.list({}, 1)
      t.match((await latchkey(['events'])).out.split('\n'), [
        /^time {22}kind {13}outcome {13}user {6}source {5}detail$/,
        /^20\d\d-\S+Z {2}signup {11}success {13}admin {5}127\.0\.0\.1$/,
        /^\S+ {2}login {12}success/,
        /signup .* bob /, /login .* bob /,
        /^\S+ {2}login_failure {4}username_unknown {4}- {9}127\.0\.0\.1$/,
        /^\S+ {2}role_change {6}success {13}bob {7}127\.0\.0\.1 {2}granted admin {2}by #1$/,
        ''
      ])
      t.match((await latchkey(['events', '--user', 'bob', '--kind', 'signup', '--json'])).out, /^\{"id":3,"time":".*","kind":"signup","outcome":"success","source":"http","user_id":2,"username":"bob",.*\}\n$/)
      t.equal((await latchkey(['events', '--limit', '2'])).out.split('\n').length, 4)
      await latchkey(['user', 'delete', 'bob', '--yes'])
      t.match((await latchkey(['events', '--limit', '1'])).out, / {2}#2 {8}cli\n$/)
      for (const args of [['--limit', '0'], ['--limit', 'x'], ['--kind', 'nonsense']]) t.match(await latchkey(['events', ...args]), { code: 2, out: '' })

      t.test('--follow · prints new events until its output is closed', async (t) => {
        const [stdin, stdout, stderr] = [Object.assign(new PassThrough(), { isTTY: false }), new PassThrough(), new PassThrough()]
        let printed = ''
        stdout.setEncoding('utf8').on('data', (text) => { printed += text })
        const ended = run(['events', '--follow', '--limit', '1', '--json'], { env: settings, dotEnvPath: `${folder}/.env`, serve: notServed, stdin, stdout, stderr })
        while (!printed.includes('deletion')) await delay(10)
        await signUp(app, { ...bob, username: 'carol' })
        while (!printed.includes('carol')) await delay(10)
        await logIn(app, { ...bob, username: 'carol' })
        while (!printed.includes('"login"')) await delay(10)
        stdout.destroy()
        t.equal(await ended, 0)
        t.same(printed.trim().split('\n').map((line) => JSON.parse(line).kind), ['deletion', 'signup', 'login'], 'each once')
      })
    })
  })
}

t.test('events are written after the responses, in batches', async (t) => {
  const app = await buildServer(t)
  const { events } = servicesOf(app).store.tables
  const written = () => servicesOf(app).store.db.$count(events)
  await Promise.all(Array.from({ length: 20 }, (_, i) => signUp(app, { ...bob, username: `bob${i}` })))
  t.same(servicesOf(app).audit.counts(), { waiting: 20, dropped: 0 })
  t.equal(await written(), 0)
  await areWritten(app)
  t.same(servicesOf(app).audit.counts(), { waiting: 0, dropped: 0 })
  t.equal(await written(), 20)
})

t.test('database rejects events · they wait, up to a limit; the log says so once', async (t: Test) => {
  const lines: string[] = []
  const app = await buildServer(t, { LOG_LEVEL: 'error' }, { logStream: { write: (line) => { lines.push(line) } } })
  await signUp(app)
  await servicesOf(app).audit.list({}, 1)
  await servicesOf(app).store.db.run("create trigger faults before insert on events begin select raise(abort, 'not today'); end")
  t.equal((await logIn(app)).statusCode, 200)
  while (lines.length === 0) await delay(20)
  await delay(1_500)
  t.equal(lines.length, 1, 'retries are not logged')
  t.match(JSON.parse(lines[0] ?? ''), { level: 50, err: { message: 'not today' }, msg: 'Audit events cannot be written now; they are retried.' })
  for (let i = 0; i < 11_000; i++) servicesOf(app).audit.record({ kind: 'logout', userId: 1 })
  t.same(servicesOf(app).audit.counts(), { waiting: 10_000, dropped: 1_001 })
  t.match(lines.slice(1).map((line) => JSON.parse(line)), [{ level: 50, msg: 'Audit events dropped: the queue is full.' }])
  t.equal((await logIn(app)).statusCode, 200)
  await servicesOf(app).store.db.run('drop trigger faults')
  await areWritten(app)
  t.same(servicesOf(app).audit.counts(), { waiting: 0, dropped: 1_002 })
  await servicesOf(app).store.db.run("create trigger faults before insert on events begin select raise(abort, 'never'); end")
  await logIn(app)
  await app.close()
  t.match(JSON.parse(lines.at(-1) ?? ''), { count: 1, msg: 'Audit events lost: they could not be written before the shutdown.' })
})

t.test('reading does not depend on writing', async (t) => {
  const app = await buildServer(t)
  const token = await tokenOf(app)
  await servicesOf(app).audit.list({}, 1)
  await servicesOf(app).store.db.run("create trigger faults before insert on events begin select raise(abort, 'not today'); end")
  await logIn(app)
  t.match((await as(app, token)('GET', '/me/events')).json(), { events: [{ kind: 'login' }, { kind: 'signup' }], next_cursor: null })
})

t.test('a listener that throws changes nothing', async (t) => {
  const lines: string[] = []
  const app = await buildServer(t, { LOG_LEVEL: 'error' }, { logStream: { write: (line) => { lines.push(line) } } })
  servicesOf(app).audit.subscribe(() => { throw new Error('not today') })
  await tokenOf(app)
  t.same((await servicesOf(app).audit.list({}, 9)).map(({ kind }) => kind), ['login', 'signup'])
  t.match(lines.map((line) => JSON.parse(line)), [{ msg: 'A listener to audit events failed.', err: { message: 'not today' } }, {}])
})

t.test('a revocation of no token is not recorded', async (t) => {
  const app = await buildServer(t)
  const ask = as(app, await tokenOf(app))
  for (let i = 0; i < 5; i++) await ask('DELETE', '/tokens?scope=others')
  t.same((await servicesOf(app).audit.list({}, 9)).map(({ kind }) => kind), ['login', 'signup'])
})

t.test('nearly full disk · only essential events are written', async (t) => {
  let now = Date.now()
  const app = await buildServer(t, { DATABASE_URL: `sqlite:///${temporaryFolder(t)}/latchkey.sqlite` }, { now: () => now })
  await signUp(app)
  await servicesOf(app).audit.list({}, 1)
  fillDisks(t)
  now += 1_000
  await logIn(app, { ...bob, password: 'wrong' })
  await servicesOf(app).audit.list({}, 1)
  await logIn(app, { ...bob, password: 'wrong' })
  const token = (await logIn(app)).json().token
  await as(app, token)('DELETE', '/me', { password: 'wrong' })
  await as(app, token)('PUT', '/me/password', { current_password: bob.password, new_password: next })
  await as(app, token)('POST', '/tokens', { description: 'x' })
  servicesOf(app).audit.record({ kind: 'role_change', userId: 1 })
  t.same((await servicesOf(app).audit.list({}, 9)).map(({ kind }) => kind), ['role_change', 'signup'], 'not those that a user can cause at will')
})

t.test('of each kind the newest 100,000 events without a user are kept', async (t) => {
  const app = await buildServer(t)
  const { events } = servicesOf(app).store.tables
  await servicesOf(app).store.db.run("insert into events (time, kind, outcome, source) with recursive n(i) as (select 1 union all select i + 1 from n where i < 101500) select 0, 'login_failure', 'username_unknown', 'http' from n")
  for (let i = 0; i < 2; i++) {
    for (let j = 0; j < 5_000; j++) servicesOf(app).audit.record({ kind: 'login_failure', outcome: 'username_unknown' })
    await servicesOf(app).audit.list({}, 1)
    await areWritten(app)
  }
  while (await servicesOf(app).store.db.$count(events) > 100_000) await delay(10)
  t.equal(await servicesOf(app).store.db.$count(events), 100_000)
})

t.test('batch writer · batches have a maximum size, between which requests are served; a row that is dropped is reported', async (t) => {
  const written: number[][] = []
  const reasons: string[] = []
  let turns = 0
  const countTurn = () => { if (written.length < 3) setImmediate(() => { turns++; countTurn() }) }
  const writer = batchWriter<number>({ write: async (rows) => { written.push(rows) }, delayMs: 10, rowsPerBatch: 2, maxWaiting: 5, onFailure: () => {}, onDrop: (reason) => { reasons.push(reason) } })
  t.same([1, 2, 3, 4, 5, 6, 7].map((row) => writer.add(row)), [true, true, true, true, true, false, false])
  t.same(writer.counts(), { waiting: 5, dropped: 2 })
  t.same(reasons, ['full'], 'once')
  countTurn()
  await writer.flush()
  t.same(written, [[1, 2], [3, 4], [5]])
  t.ok(turns >= 2)
  t.ok(writer.add(8))
  while (written.length < 4) await delay(5)
  await writer.close()
  t.notOk(writer.add(9))
  t.same(reasons, ['full', 'closed'])
  t.same(written.at(-1), [8])
})

t.test('batch writer · after close it does nothing more, and close ends in bounded time', async (t) => {
  let tries = 0
  const failing = batchWriter<number>({ write: async () => { tries++; throw new Error('never') }, onFailure: () => {}, onDrop: () => {} })
  failing.add(1)
  await delay(300)
  await t.rejects(failing.close(), { message: 'never' })
  const before = tries
  failing.add(2)
  await delay(1_300)
  t.equal(tries, before)
  let fail = () => {}
  const slow = batchWriter<number>({ write: () => new Promise((resolve, reject) => { tries++; fail = () => reject(new Error('too late')) }), onFailure: () => {}, onDrop: () => {} })
  slow.add(1)
  while (await delay(10, tries === before)) { /* waiting */ }
  const closed = slow.close()
  fail()
  while (await delay(10, tries === before + 1)) { /* waiting */ }
  fail()
  await t.rejects(closed, { message: 'too late' })
  await delay(1_300)
  t.equal(tries, before + 2, 'a write that fails after the end is not tried again')
  const hanging = batchWriter<number>({ write: () => new Promise(() => {}), onFailure: () => {}, onDrop: () => {} })
  hanging.add(1)
  // The deadline keeps no process alive by itself.
  const alive = setInterval(() => {}, 1_000)
  await t.rejects(hanging.close(), { message: 'the last write took too long' })
  clearInterval(alive)
})

t.test('METRICS_PORT', async (t) => {
  const scrape = async (app: FastifyInstance) => (await app.metrics.listener.inject('/metrics')).body
  const value = (text: string, series: string) => Number(text.split('\n').find((line) => line.startsWith(`${series} `))?.split(' ')[1])

  t.test('counts requests, logins, rejected attempts, hash limiter, database errors; measures the event loop', async (t) => {
    const path = `${temporaryFolder(t)}/latchkey.sqlite`
    const app = await buildServer(t, { DATABASE_URL: `sqlite:///${path}`, METRICS_PORT: '0', LOGIN_FAILURES_PER_ACCOUNT: '2', HASH_CONCURRENCY: '1', HASH_QUEUE: '1' })
    const token = await tokenOf(app)
    await needLogin(app, token)
    await needLogin(app, 'x.y.z')
    await app.inject('/nothing')
    for (let i = 0; i < 3; i++) await logIn(app, { ...bob, password: 'wrong' })
    await logIn(app, { ...bob, username: 'nobody' })
    await Promise.all(Array.from({ length: 6 }, (_, i) => signUp(app, { ...bob, username: `bob${i}` })))
    await servicesOf(app).store.db.run("create trigger faults before insert on users begin select raise(abort, 'not today'); end")
    await signUp(app, { ...bob, username: 'carol' })
    const file = new Database(path)
    file.exec('begin immediate')
    t.equal((await logIn(app, { ...bob, username: 'nobody' })).statusCode, 503)
    file.close()
    const text = await scrape(app)
    const expected: Record<string, number> = {
      'http_request_duration_seconds_count{method="GET",route="/need_login",status="200"}': 1,
      'http_request_duration_seconds_count{method="GET",route="/need_login",status="401"}': 1,
      'http_request_duration_seconds_count{method="GET",route="none",status="404"}': 1,
      'http_request_duration_seconds_count{method="POST",route="/api/v1/login",status="429"}': 1,
      'latchkey_logins_total{outcome="success"}': 1,
      'latchkey_logins_total{outcome="password_incorrect"}': 2,
      'latchkey_logins_total{outcome="username_unknown"}': 1,
      'latchkey_attempts_rejected_total{limit="account"}': 1,
      'latchkey_attempts_rejected_total{limit="address"}': 0,
      'latchkey_attempts_rejected_total{limit="account_logins"}': 0,
      'latchkey_attempts_rejected_total{limit="address_logins"}': 0,
      'latchkey_attempts_rejected_total{limit="reset"}': 0,
      'latchkey_mails_total{outcome="sent"}': 0,
      latchkey_mails_queued: 0,
      latchkey_hash_running: 0,
      latchkey_hash_queued: 0,
      'latchkey_hash_rejected_total{reason="queue_full"}': 4,
      'latchkey_hash_rejected_total{reason="timed_out"}': 0,
      latchkey_hash_wait_seconds_count: 7,
      'latchkey_database_errors_total{kind="failed"}': 1,
      'latchkey_database_errors_total{kind="unavailable"}': 1,
      latchkey_audit_events_dropped_total: 0
    }
    for (const [series, count] of Object.entries(expected)) t.equal(value(text, series), count, series)
    t.equal(value(text, 'latchkey_audit_events_pending'), servicesOf(app).audit.counts().waiting)
    t.ok(value(text, 'nodejs_eventloop_lag_p99_seconds') >= 0)
    t.ok(value(text, 'process_resident_memory_bytes') > 1e6)
    t.notMatch(text, /bob|nobody|carol/)
    t.match(await scrape(app), 'latchkey_hash_rejected_total{reason="queue_full"} 4', 'a second scrape counts nothing twice')
  })

  t.test('is served on a listener of its own only', async (t) => {
    const server = startServer(t, temporaryFolder(t), { METRICS_PORT: '0' })
    const url = await server.listening
    const metrics = /metrics at (http:\/\/127\.0\.0\.1:\d+)\/metrics/.exec(server.output())?.[1] ?? ''
    const response = await fetch(`${metrics}/metrics`)
    t.equal(response.status, 200)
    t.match(response.headers.get('content-type'), /^text\/plain; version=0\.0\.4/)
    t.match(await response.text(), /^# HELP http_request_duration_seconds /m)
    t.equal((await fetch(`${metrics}/need_login`)).status, 404)
    t.equal((await fetch(`${url}/metrics`)).status, 404)
    server.child.kill('SIGTERM')
    t.equal(await server.exited, 0)
  })

  t.test('off by default; a port in use stops the start with one clear line', async (t) => {
    const app = await buildServer(t)
    t.notOk(app.hasDecorator('metrics'))
    const other = createServer().listen(0, '127.0.0.1')
    await once(other, 'listening')
    const { port } = Object(other.address())
    const server = startServer(t, temporaryFolder(t), { METRICS_PORT: String(port), LOG_LEVEL: 'silent' })
    t.equal(await server.exited, 1)
    t.equal(server.output(), `latchkey: cannot listen: port ${port} on 127.0.0.1 is in use\n`)
    other.close()
  })

  t.test('two servers in one process have separate metrics', async (t) => {
    const [here, there] = [await buildServer(t, { METRICS_PORT: '0' }), await buildServer(t, { METRICS_PORT: '0' })]
    await here.inject('/health/live')
    for (const app of [here, there]) await app.ready()
    t.match(await scrape(here), 'route="/health/live"')
    t.notMatch(await scrape(there), 'route="/health/live"')
  })
})

t.test('an embedding app can subscribe to events, which contain its own request ids', async (t) => {
  const app = Fastify({ genReqId: () => 'the-id-of-the-host' })
  t.teardown(() => app.close())
  await app.register(latchkey, testOptions())
  const heard: string[] = []
  servicesOf(app).audit.subscribe(({ kind, userId }) => { heard.push(`${kind} ${userId}`) })
  await tokenOf(app)
  t.same(heard, ['signup 1', 'login 1'])
  t.match(await servicesOf(app).audit.list({}, 9), [{ requestId: 'the-id-of-the-host' }, {}])
})

for (const database of databases) {
  t.test(`${database.name} · request id, User-Agent and address are short and printable in the audit log, whatever the host app accepts`, async (t) => {
    const ids: unknown[] = []
    const app = Fastify({ trustProxy: true, requestIdHeader: 'x-request-id', genReqId: () => ids.shift() as string })
    t.teardown(() => app.close())
    await app.register(latchkey, testOptions({ databaseUrl: await database.create(t) }))
    await signUp(app)
    const failedLogin = async (headers: Record<string, string>) => {
      await app.inject({ method: 'POST', url: '/api/v1/login', payload: { ...bob, password: 'wrong' }, headers })
      const [event] = await servicesOf(app).audit.list({}, 1)
      return { requestId: event?.requestId, userAgent: event?.userAgent, address: event?.address }
    }
    const long = 'x'.repeat(8_000)
    t.same(await failedLogin({ 'x-request-id': long, 'user-agent': long, 'x-forwarded-for': `fe80::1%${long}` }), { requestId: 'x'.repeat(128), userAgent: 'x'.repeat(200), address: 'fe80::1' })
    t.same(await failedLogin({ 'x-request-id': 'a\u0085\u00adb', 'user-agent': 'c\u0085\u00add', 'x-forwarded-for': 'fe80::1%eth0' }), { requestId: 'ab', userAgent: 'cd', address: 'fe80::1%eth0' })
    for (const [id, written] of [
      ['a\0\n\u202e\ud800b', 'ab'], ['𝒫'.repeat(200), '𝒫'.repeat(128)], [`\0${'𝒫'.repeat(128)}`, '𝒫'.repeat(127)], ['\0'.repeat(8_000), null],
      [7, '7'], [7n, '7'], [Infinity, 'Infinity'], [null, null], [undefined, null], [{ toString: () => long }, null], [[long], null], [Symbol('x'), null], ['', null]
    ] as const) {
      ids.push(id)
      t.same(await failedLogin({}), { requestId: written, userAgent: 'lightMyRequest', address: '127.0.0.1' }, String(written))
    }
  })
}
