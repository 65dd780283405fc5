import { eq } from 'drizzle-orm'
import t, { type Test } from 'tap'
import { isPlausible, nextState } from '../src/plugins/cleanup/clock.js'
import { servicesOf } from '../src/services.js'
import { databases, type TestDatabase } from './databases.js'
import { as, bob, build, logIn, needLogin, signUp, tokenOf, until } from './helper.js'

const [hourMs, dayMs] = [3_600_000, 86_400_000]
const start = Date.UTC(2026, 10, 26)

/** The hourly timers of the apps that are built from now on. */
function hourlyTimers (t: Test): Array<() => Promise<void>> {
  const timers: Array<() => Promise<void>> = []
  const { setInterval } = globalThis
  t.teardown(() => { globalThis.setInterval = setInterval })
  globalThis.setInterval = Object.assign((callback: () => Promise<void>, ms: number) => {
    if (ms === hourMs) timers.push(callback)
    return setInterval(() => {}, ms)
  }, setInterval)
  return timers
}

/** A database, and servers on it one after the other, each with its clock. */
async function installation (t: Test, database: TestDatabase) {
  const url = await database.create(t, { isShared: true })
  const timers = hourlyTimers(t)

  async function serve (days: number) {
    let time = start + days * dayMs
    const first = timers.length
    const lines: string[] = []
    const app = await build(t, { DATABASE_URL: url, LOG_LEVEL: 'info', LOGIN_FAILURES_PER_ACCOUNT: '10' }, { now: () => time, logStream: { write: (line) => { lines.push(line) } } })
    await app.ready()
    const own = timers.slice(first)
    const { store } = servicesOf(app)
    const { events, knownNetworks, loginFailures, tokens } = store.tables
    return {
      app,
      /** Sets the clock, in days from the beginning, and runs the tasks of an hour. */
      async cleanUpAt (day: number) {
        time = start + day * dayMs
        for (const task of own) await task()
      },
      rows: async () => {
        await servicesOf(app).audit.list({}, 1)
        return { tokens: await store.db.$count(tokens), failures: await store.db.$count(loginFailures), networks: await store.db.$count(knownNetworks), events: await store.db.$count(events) }
      },
      said: (message: RegExp) => lines.map((line) => JSON.parse(line)).filter(({ msg }) => message.test(msg)).map(({ level, msg }) => [level, msg])
    }
  }

  /** What a user leaves behind on a day: two logins, a personal access token, a failure. */
  async function use (app: Awaited<ReturnType<typeof serve>>['app']) {
    const token = await tokenOf(app)
    await logIn(app)
    await as(app, token)('POST', '/tokens', { description: 'a script', expires_in: 100 * 86_400 })
    await signUp(app, { ...bob, username: 'alice' })
    await logIn(app, { ...bob, password: 'wrong' })
    return token
  }

  return { url, serve, use }
}

const waits = /^Cleanup waits: /

for (const database of databases) {
  t.test(`cleanup · ${database.name}`, async (t) => {
    t.test('one start with the clock 400 days ahead → nothing is deleted, the log says why, and all goes on when the clock is right', async (t) => {
      const { serve, use } = await installation(t, database)
      const before = await serve(0)
      const token = await use(before.app)
      const rows = await before.rows()
      t.match(rows, { tokens: 3, failures: 1, networks: 2 })
      t.ok(rows.events >= 6)
      await before.app.close()

      const wrong = await serve(400)
      t.same(await wrong.rows(), rows)
      t.same(wrong.said(waits), [[40, 'Cleanup waits: the clock shows 2027-12-31T00:00:00.000Z, 400 days after the database was last in use (2026-11-26T00:00:00.000Z). If the clock is wrong, set it right: nothing was deleted. If it is right, do nothing: cleanup goes on at 2028-01-07T00:00:00.000Z.']])
      t.equal((await needLogin(wrong.app, token)).json().code, 'TOKEN_EXPIRED')
      t.equal((await logIn(wrong.app)).statusCode, 200, 'a row from the future')
      await wrong.cleanUpAt(400.1)
      t.match(await wrong.rows(), { tokens: 4, networks: 2, events: rows.events + 1 })
      t.equal(wrong.said(waits).length, 1, 'once')
      await wrong.app.close()

      const again = await serve(400.2)
      t.match(await again.rows(), { tokens: 4, networks: 2, events: rows.events + 1 }, 'a second start is no proof')
      t.equal(again.said(waits).length, 1)
      await again.app.close()

      const right = await serve(0.5)
      t.match(await right.rows(), { tokens: 4, networks: 2, events: rows.events + 1 })
      t.equal((await needLogin(right.app, token)).statusCode, 200)
      t.same(right.said(/Cleanup waits|plausible/), [])
      await right.cleanUpAt(2.5)
      t.match(await right.rows(), { tokens: 2 }, 'the two logins have expired; the personal token and the login of the future are there')
      await right.app.close()

      const wrongOnceMore = await serve(400.3)
      t.match(await wrongOnceMore.rows(), { tokens: 2 }, 'the rows of the future are no proof either')
      await wrongOnceMore.cleanUpAt(407.2)
      t.match(await wrongOnceMore.rows(), { tokens: 2 }, 'the week begins again')
    })

    t.test('a server that was off for 400 days → cleanup goes on after a week, over restarts as well', async (t) => {
      const { serve, use } = await installation(t, database)
      const before = await serve(0)
      await use(before.app)
      await before.app.close()
      const after = await serve(400)
      await after.cleanUpAt(403)
      t.match(await after.rows(), { tokens: 3 })
      await after.app.close()
      const later = await serve(405)
      await later.cleanUpAt(406.9)
      t.match(await later.rows(), { tokens: 3, failures: 1, networks: 2 })
      await later.cleanUpAt(407)
      t.same(await later.rows(), { tokens: 0, failures: 0, networks: 0, events: 0 })
      t.same(later.said(/plausible/), [[30, 'the clock is plausible again: cleanup goes on']])
      await later.app.close()
      const next = await serve(430)
      t.same(next.said(waits), [])
    })

    t.test('a server that nobody uses for months → cleanup goes on, because the server has run', async (t) => {
      const { serve, use } = await installation(t, database)
      const { app, cleanUpAt, rows, said } = await serve(0)
      await use(app)
      await rows()
      for (let day = 10; day <= 100; day += 10) await cleanUpAt(day)
      t.same(await rows(), { tokens: 0, failures: 0, networks: 0, events: 0 })
      t.same(said(waits), [])
    })

    t.test('the clock jumps under a running server, and back → nothing is deleted', async (t) => {
      const { serve, use } = await installation(t, database)
      const { app, cleanUpAt, rows, said } = await serve(0)
      await use(app)
      const all = await rows()
      await cleanUpAt(31)
      await cleanUpAt(31.1)
      t.same(await rows(), all)
      t.equal(said(waits).length, 1)
      await cleanUpAt(0.1)
      t.equal(said(/plausible/).length, 1)
      t.same(await rows(), all)
    })

    t.test('two servers, one of them with a wrong clock → that one never deletes anything', async (t) => {
      const { serve, use } = await installation(t, database)
      const right = await serve(0)
      const token = await use(right.app)
      const wrong = await serve(400)
      for (let day = 0; day < 10; day++) {
        await right.cleanUpAt(day / 10)
        await wrong.cleanUpAt(400 + day)
      }
      t.match(await right.rows(), { tokens: 3, networks: 2 })
      t.equal((await needLogin(right.app, token)).statusCode, 200)
      t.equal(wrong.said(waits).length, 1)
    })

    t.test('a database of before, without anything known about its clock → its newest row counts', async (t) => {
      const { serve, use } = await installation(t, database)
      const before = await serve(0)
      await use(before.app)
      await before.rows()
      const { db, tables } = servicesOf(before.app).store
      for (const [days, tokens] of [[31, 3], [-5, 3], [30, 1]] as const) {
        await db.delete(tables.cleanupClock)
        const after = await serve(days)
        t.match(await after.rows(), { tokens }, `${days} days later`)
        t.equal(after.said(waits).length, days === 31 ? 1 : 0)
        await after.app.close()
      }
    })

    t.test('POST /api/v1/login · 200: deletes no token because it has expired, only those beyond the limit', async (t) => {
      const { serve } = await installation(t, database)
      const { app, cleanUpAt, rows } = await serve(0)
      const { store } = servicesOf(app)
      await tokenOf(app)
      const { tokens, users } = store.tables
      const [user] = await store.db.select({ id: users.id }).from(users)
      const row = (i: number, day: number) => ({ id: `${i} ${day}`, userId: Number(user?.id), description: '', createdAt: new Date(start + day * dayMs), expiresAt: new Date(start + (day + 2) * dayMs) })
      await store.db.insert(tokens).values(Array.from({ length: 60 }, (_, i) => row(i, -10)))
      await logIn(app)
      await until(async () => (await rows()).tokens === 62)
      await store.db.insert(tokens).values(Array.from({ length: 60 }, (_, i) => row(i, 0)))
      await logIn(app)
      await until(async () => (await rows()).tokens === 100)
      const active = await store.db.select({ id: tokens.id }).from(tokens).where(eq(tokens.createdAt, new Date(start)))
      t.equal(active.length, 63, 'the expired ones go first')
      await cleanUpAt(0.1)
      t.match(await rows(), { tokens: 63 })
    })
  })
}

t.test('isPlausible, nextState · 30 days ahead at most, or a week of the same doubt; the trusted time never goes back', async (t) => {
  const at = (day: number) => new Date(start + day * dayMs)
  const state = (trusted: number, doubted?: number) => ({ trustedAt: at(trusted), doubtedSince: doubted === undefined ? null : at(doubted) })
  for (const [name, known, day, isTrusted, next] of [
    ['an hour later', state(0), 1 / 24, true, state(0)],
    ['a day later', state(0), 1, true, state(1)],
    ['30 days later', state(0), 30, true, state(30)],
    ['more', state(0), 30.1, false, state(0, 30.1)],
    ['a clock that was set back', state(0), -20_000, true, state(0)],
    ['within a week of doubt', state(0, 400), 406.9, false, state(0, 400)],
    ['a week of doubt', state(0, 400), 407, true, state(407)],
    ['a doubt that is older than 30 days', state(0, 400), 431, false, state(0, 431)],
    ['another doubt', state(0, 400), 399, false, state(0, 399)],
    ['the end of a doubt', state(0, 400), 0.5, true, state(0)],
    ['the end of a doubt, days later', state(0, 400), 2, true, state(2)]
  ] as const) {
    t.equal(isPlausible(known, at(day)), isTrusted, name)
    t.same(nextState(known, at(day)), next, name)
  }
  const known = state(0)
  t.equal(nextState(known, at(0.9)), known, 'nothing to write')
})
