import { once } from 'node:events'
import { type AddressInfo, connect } from 'node:net'
import { setImmediate, setTimeout as delay } from 'node:timers/promises'
import { hash } from '@node-rs/argon2'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { ClientDisconnected } from '../src/errors.js'
import { keyedMutex, keyedSemaphore } from '../src/lib/keyed-mutex.js'
import errors from '../src/plugins/errors/index.js'
import { slidingWindowLog } from '../src/plugins/login-throttle/sliding-window.js'
import { clientNetwork, printableAddress } from '../src/lib/client-network.js'
import { servicesOf } from '../src/services.js'
import { commandLine } from './command-line.js'
import { databases } from './databases.js'
import { bob, build, buildOn, logIn, needLogin, signUp, tokenOf } from './helper.js'

const wrong = { ...bob, password: 'a wrong password' }
const tooMany = { statusCode: 429, code: 'TOO_MANY_ATTEMPTS', error: 'Too Many Requests', message: 'too many attempts: try again later' }

/** A clock that stands until it is moved. */
function clock () {
  let time = Date.UTC(2026, 10, 24, 20, 44)
  return { now: () => time, move: (seconds: number) => { time += seconds * 1_000 } }
}

/** The limits that a server has by default. */
const defaults = { LOGIN_FAILURES_PER_ADDRESS_MINUTE: '30', LOGIN_FAILURES_PER_ADDRESS_HOUR: '300', LOGIN_FAILURES_PER_ACCOUNT: '10', LOGINS_PER_ADDRESS_MINUTE: '300', LOGINS_PER_ACCOUNT_MINUTE: '60', SIGNUPS_PER_ADDRESS_HOUR: '100' }
/** Behind a proxy of ours, so that a test can come from anywhere. */
const proxied = { TRUST_PROXY: '127.0.0.1' }

/** Asks from an address. */
const from = (app: FastifyInstance, address: string) => (url: 'signup' | 'login', payload: object) =>
  app.inject({ method: 'POST', url: `/api/v1/${url}`, payload, headers: { 'x-forwarded-for': address } })

/** How often something is answered, by status. */
async function tally (responses: Array<Promise<{ statusCode: number }>>): Promise<Record<number, number>> {
  const statuses: Record<number, number> = {}
  for (const { statusCode } of await Promise.all(responses)) statuses[statusCode] = (statuses[statusCode] ?? 0) + 1
  return statuses
}

const times = (length: number) => Array.from({ length }, (_, i) => i)

for (const database of databases) {
  t.test(database.name, async (t) => {
    const build = buildOn(database)

    t.test('POST /api/v1/login · by account', async (t) => {
      t.test('10 failures are free; then the waits are 1, 2, 4 … 900 seconds; a success clears them', async (t) => {
        const { now, move } = clock()
        const app = await build(t, { LOGIN_FAILURES_PER_ACCOUNT: '10' }, { now })
        await signUp(app)
        for (const i of times(10)) t.equal((await logIn(app, wrong)).statusCode, 401, `failure ${i + 1}`)
        for (const wait of [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]) {
          for (const account of [wrong, bob]) {
            const refused = await logIn(app, account)
            t.same(refused.json(), tooMany, 'whatever the password')
            t.equal(refused.headers['retry-after'], String(wait))
          }
          move(wait - 0.3)
          t.equal((await logIn(app, bob)).headers['retry-after'], '1', 'rounded up')
          move(0.3)
          t.equal((await logIn(app, wrong)).statusCode, 401)
        }
        move(900)
        t.equal((await logIn(app)).statusCode, 200)
        for (const i of times(10)) t.equal((await logIn(app, wrong)).statusCode, 401, `failure ${i + 1} after the success`)
        t.equal((await logIn(app)).statusCode, 429)
      })

      t.test('known or not, in any case, each for itself', async (t) => {
        const app = await build(t, { LOGIN_FAILURES_PER_ACCOUNT: '3' })
        await signUp(app)
        await signUp(app, { ...bob, username: 'alice' })
        for (const [username, status] of [['bob', 401], ['nobody', 404]] as const) {
          for (const spelling of [username, username.toUpperCase(), username]) t.equal((await logIn(app, { ...wrong, username: spelling })).statusCode, status)
          for (const spelling of [username, username.toUpperCase()]) t.same((await logIn(app, { ...wrong, username: spelling })).json(), tooMany)
        }
        t.equal((await logIn(app, { ...bob, username: 'alice' })).statusCode, 200)
        for (let i = 0; i < 5; i++) t.equal((await logIn(app, { ...wrong, username: 'no username' })).statusCode, 404, 'what no username can be is nobody\'s account')
      })

      t.test('LOGIN_ERRORS=uniform · a refusal does not tell whether there is such a user', async (t) => {
        const app = await build(t, { LOGIN_FAILURES_PER_ACCOUNT: '2', LOGIN_ERRORS: 'uniform' })
        await signUp(app)
        const answers = async (username: string) => {
          const found: object[] = []
          for (let i = 0; i < 4; i++) {
            const { statusCode, body, headers } = await logIn(app, { ...wrong, username })
            found.push({ statusCode, body, headers: { ...headers, date: '' } })
          }
          return found
        }
        t.same(await answers('bob'), await answers('nobody'))
      })

      t.test('60 guesses at once with a limit of 10 get at most 12 answers, over two servers', async (t) => {
        const env = { DATABASE_URL: await database.create(t, { isShared: true }), LOGIN_FAILURES_PER_ACCOUNT: '10' }
        const [here, there] = [await build(t, env), await build(t, env)]
        await signUp(here)
        for (const username of ['bob', 'nobody']) {
          const statuses = await tally(times(60).map((i) => logIn(i % 2 === 0 ? here : there, { ...wrong, username })))
          const answered = (statuses[401] ?? 0) + (statuses[404] ?? 0)
          t.ok(answered >= 10 && answered <= 12, `${username}: ${JSON.stringify(statuses)}`)
          t.equal(answered + Number(statuses[429]), 60)
        }
        t.equal(servicesOf(here).throttle.counts.account + servicesOf(there).throttle.counts.account >= 96, true)
      })

      t.test('who knows the password is not held up by others who do, however many at once', async (t) => {
        const app = await build(t, { ...defaults, LOGINS_PER_ACCOUNT_MINUTE: '0', HASH_QUEUE: '100' })
        await signUp(app)
        t.same(await tally(times(60).map(() => logIn(app))), { 200: 60 })
        t.ok(Object.values(servicesOf(app).throttle.counts).every((count) => count === 0))
        t.same(await servicesOf(app).store.db.select().from(servicesOf(app).store.tables.loginFailures), [])
        const statuses = await tally(times(60).map((i) => logIn(app, i % 4 === 0 ? bob : wrong)))
        t.ok(Number(statuses[401]) <= 40, JSON.stringify(statuses))
      })

      t.test('nor for ever: whoever waits too long for others is told to come back', async (t) => {
        const app = await build(t, { LOGIN_FAILURES_PER_ACCOUNT: '1', HASH_CONCURRENCY: '1', HASH_DEADLINE_MS: '100' }, { hashParameters: { memoryCost: 65_536, timeCost: 3, parallelism: 1 } })
        await signUp(app)
        const statuses = await tally(times(20).map(() => logIn(app)))
        t.ok(Number(statuses[200]) >= 1 && Number(statuses[503]) >= 1, JSON.stringify(statuses))
        t.equal(Number(statuses[200]) + Number(statuses[503]), 20)
      })

      t.test('a new account begins afresh, at home from the first day', async (t) => {
        const { now } = clock()
        const app = await build(t, { ...proxied, LOGIN_FAILURES_PER_ACCOUNT: '3' }, { now })
        const [home, stranger] = [from(app, '203.0.113.1'), from(app, '203.0.113.66')]
        for (let i = 0; i < 4; i++) await stranger('login', wrong)
        t.equal((await home('signup', bob)).statusCode, 200)
        t.equal((await home('login', bob)).statusCode, 200, 'what was tried before is forgotten')
        for (let i = 0; i < 4; i++) await stranger('login', wrong)
        t.equal((await home('login', bob)).statusCode, 200)
        t.equal((await stranger('login', bob)).statusCode, 429)
      })

      t.test('survives a restart', async (t) => {
        const env = { DATABASE_URL: await database.create(t, { isShared: true }), LOGIN_FAILURES_PER_ACCOUNT: '1' }
        const { now } = clock()
        const first = await build(t, env, { now })
        await signUp(first)
        t.equal((await logIn(first, wrong)).statusCode, 401)
        await first.close()
        t.equal((await logIn(await build(t, env, { now }))).headers['retry-after'], '1')
      })

      t.test('where a user has logged in from before there is a budget of its own: nobody can lock the owner out', async (t) => {
        const { now, move } = clock()
        const app = await build(t, { ...proxied, LOGIN_FAILURES_PER_ACCOUNT: '3' }, { now })
        await signUp(app)
        const [home, sameHome, stranger, hotel] = ['2001:db8:0:1::1', '2001:db8:0:1:ffff::7', '203.0.113.66', '198.51.100.1'].map((address) => from(app, address))
        t.equal((await home?.('login', bob))?.statusCode, 200)
        for (let i = 0; i < 3; i++) await stranger?.('login', wrong)
        t.equal((await stranger?.('login', bob))?.statusCode, 429)
        t.equal((await hotel?.('login', bob))?.statusCode, 429, 'wherever the owner was not before')
        t.equal((await sameHome?.('login', bob))?.statusCode, 200, 'but at home, by another address of the same /64')
        t.equal((await stranger?.('login', bob))?.statusCode, 429, 'and that frees no stranger')
        move(1)
        t.equal((await hotel?.('login', bob))?.statusCode, 200)
        for (let i = 0; i < 3; i++) await stranger?.('login', wrong)
        t.equal((await hotel?.('login', bob))?.statusCode, 200, 'from then on the hotel is known')
        for (let i = 0; i < 3; i++) t.equal((await home?.('login', wrong))?.statusCode, 401)
        t.equal((await home?.('login', bob))?.statusCode, 429, 'a known place has limits as well')
        t.equal((await hotel?.('login', bob))?.statusCode, 200, 'of its own')
      })

      t.test('of the places of a user the newest 20 are known; old ones are forgotten, and old failures', async (t) => {
        const { now, move } = clock()
        const env = { ...proxied, DATABASE_URL: await database.create(t, { isShared: true }), LOGIN_FAILURES_PER_ACCOUNT: '3' }
        const app = await build(t, env, { now })
        await signUp(app)
        for (const i of times(25)) {
          await from(app, `203.0.113.${i}`)('login', bob)
          move(1)
        }
        const { knownNetworks, loginFailures } = servicesOf(app).store.tables
        const known = async () => (await servicesOf(app).store.db.select().from(knownNetworks)).map(({ network }) => network).sort()
        t.same(await known(), times(20).map((i) => `203.0.113.${i + 5}`).sort())
        /** Servers that were in use all the time: their clock is known to be right. */
        const pass = async (days: number) => {
          for (let day = 0; day < days; day += 20) {
            move(20 * 86_400)
            const server = await build(t, env, { now })
            await server.ready()
            await server.close()
          }
        }
        await pass(60)
        await from(app, '203.0.113.7')('login', bob)
        await from(app, '203.0.113.7')('login', bob)
        await from(app, '203.0.113.99')('login', { ...wrong, username: 'nobody' })
        await pass(40)
        await from(app, '203.0.113.98')('login', wrong)
        await (await build(t, env, { now })).ready()
        t.same(await known(), ['203.0.113.7'])
        t.match(await servicesOf(app).store.db.select().from(loginFailures), [{ usernameKey: 'bob', network: '', failures: 1 }])
      })

      t.test('a check that failed for another reason is not counted: no place in the hash queue, a hash that cannot be verified', async (t) => {
        const app = await build(t, { LOGIN_FAILURES_PER_ADDRESS_MINUTE: '2', LOGIN_FAILURES_PER_ACCOUNT: '2', HASH_CONCURRENCY: '1', HASH_QUEUE: '1' })
        await signUp(app)
        const { passwords, store } = servicesOf(app)
        const { loginFailures, users } = store.tables
        const failures = async () => await store.db.select().from(loginFailures)
        const { verify } = passwords
        passwords.verify = async (...check) => {
          const hashes = Promise.all(times(2).map(() => passwords.hash('another password', { network: '127.0.0.1' })))
          return await verify(...check).finally(() => hashes)
        }
        for (let i = 0; i < 3; i++) t.equal((await logIn(app, wrong)).statusCode, 503)
        t.same(await failures(), [])
        passwords.verify = verify
        t.equal((await logIn(app, wrong)).statusCode, 401)
        t.match(await failures(), [{ failures: 1, blockedUntilMs: 0 }])
        await store.db.update(users).set({ passwordHash: 'poison' })
        for (let i = 0; i < 10; i++) t.equal((await logIn(app)).statusCode, 500)
        t.match(await failures(), [{ failures: 1, blockedUntilMs: 0 }])
      })

      t.test('a failure that the database cannot count reveals nothing, and counts for the address', async (t) => {
        const app = await build(t, { LOGIN_FAILURES_PER_ADDRESS_MINUTE: '3', LOGIN_FAILURES_PER_ACCOUNT: '5' })
        await signUp(app)
        await database.addTrigger(servicesOf(app).store, 'before insert on login_failures', database.fault('not today'))
        for (const status of [500, 500, 500, 429]) t.equal((await logIn(app, wrong)).statusCode, status)
      })

      t.test('a user who is deleted while logging in is recorded nowhere', async (t) => {
        const app = await build(t, { LOGIN_FAILURES_PER_ACCOUNT: '5' })
        await signUp(app)
        const { store, passwords, loginFailures } = servicesOf(app)
        await loginFailures.deleteNetworks(1)
        const { verify } = passwords
        passwords.verify = async (...check) => {
          await store.db.delete(store.tables.users)
          return await verify(...check)
        }
        t.match((await logIn(app)).json(), { statusCode: 404, code: 'USERNAME_UNKNOWN' })
        t.same(await store.db.select().from(store.tables.knownNetworks), [])
      })

      t.test('the checks of one account run one at a time, and wait outside of the hash queue', async (t) => {
        const app = await build(t, { LOGIN_FAILURES_PER_ACCOUNT: '5', HASH_CONCURRENCY: '2' })
        await signUp(app)
        const { passwords } = servicesOf(app)
        let [inFlight, most] = [0, 0]
        const { verify } = passwords
        passwords.verify = async (...check) => {
          most = Math.max(most, ++inFlight, passwords.load().running + passwords.load().queued)
          return await verify(...check).finally(() => { inFlight-- })
        }
        t.same(await tally(times(20).map(() => logIn(app))), { 200: 20 })
        t.equal(most, 1)
      })

      t.test('guesses from elsewhere do not delay the user on a known network', async (t) => {
        const app = await build(t, { ...proxied, LOGIN_FAILURES_PER_ACCOUNT: '5' })
        const [home, stranger] = [from(app, '203.0.113.1'), from(app, '203.0.113.66')]
        await home('signup', bob)
        const { passwords } = servicesOf(app)
        const { verify } = passwords
        let release = () => {}
        const released = new Promise<void>((resolve) => { release = resolve })
        passwords.verify = async (hash, password, job) => {
          if (password === wrong.password) await released
          return await verify(hash, password, job)
        }
        const guesses = tally(times(20).map(() => stranger('login', wrong)))
        t.equal((await home('login', bob)).statusCode, 200)
        release()
        t.same(await guesses, { 401: 5, 429: 15 })
      })

      t.test('a successful login costs no write for failures that are not there', async (t) => {
        const queries = database.countQueries(t)
        const app = await build(t, { ...defaults, AUDIT_RETENTION_DAYS: '0' })
        await signUp(app)
        const cost = async () => {
          const before = queries()
          t.equal((await logIn(app)).statusCode, 200)
          return queries() - before
        }
        const usual = await cost()
        t.comment(`${usual} statements`)
        t.equal(await cost(), usual)
        await logIn(app, wrong)
        t.equal(await cost(), usual + 1, 'one statement deletes the failures')
      })

      t.test('a correct password is accepted also when its success cannot be recorded', async (t) => {
        const lines: string[] = []
        const app = await build(t, { LOGIN_FAILURES_PER_ACCOUNT: '5', LOG_LEVEL: 'error' }, { logStream: { write: (line) => { lines.push(line) } } })
        await database.addTrigger(servicesOf(app).store, 'before insert on known_networks', database.fault('not today'))
        t.equal((await signUp(app)).statusCode, 200)
        t.equal((await logIn(app)).statusCode, 200)
        t.match(lines.map((line) => JSON.parse(line).msg), ['the network of a new user could not be recorded', 'the success of a password check could not be recorded'])
      })
    })

    t.test('latchkey user unlock · ends the wait at once', async (t) => {
      const env = { DATABASE_URL: await database.create(t, { isShared: true }), LOGIN_FAILURES_PER_ACCOUNT: '2' }
      const { now } = clock()
      const app = await build(t, env, { now })
      const { latchkey } = commandLine(t, env)
      await signUp(app)
      t.match(await latchkey(['user', 'unlock', 'bob']), { code: 0, out: 'user bob has no failed logins\n' })
      for (let i = 0; i < 2; i++) await logIn(app, wrong)
      t.equal((await logIn(app)).statusCode, 429)
      t.match(await latchkey(['user', 'unlock', 'BOB']), { code: 0, out: 'the failed logins of user bob are forgotten\n' })
      t.equal((await logIn(app)).statusCode, 200)
    })

    t.test('PUT /api/v1/me/password, DELETE /api/v1/me, POST /api/v1/me/deletion · whoever has a token cannot guess the password either', async (t) => {
      const { now, move } = clock()
      const app = await build(t, { ...proxied, LOGIN_FAILURES_PER_ACCOUNT: '3' }, { now })
      await signUp(app)
      const home = from(app, '203.0.113.1')
      const token = (await home('login', bob)).json().token
      await from(app, '203.0.113.3')('login', bob)
      const paths = { PUT: '/me/password', DELETE: '/me', POST: '/me/deletion' }
      const as = (address: string) => (method: keyof typeof paths, payload: object) =>
        app.inject({ method, url: `/api/v1${paths[method]}`, payload, headers: { authorization: token, 'x-forwarded-for': address } })
      const [thief, owner] = [as('203.0.113.2'), as('203.0.113.1')]
      const next = 'incorrect donkey charger clip'
      t.equal((await thief('PUT', { current_password: 'wrong', new_password: next })).statusCode, 401)
      for (const method of ['DELETE', 'POST'] as const) t.equal((await thief(method, { password: 'wrong' })).statusCode, 401)
      for (const refused of [await thief('DELETE', { password: bob.password }), await thief('POST', { password: bob.password }), await thief('PUT', { current_password: bob.password, new_password: next })]) {
        t.same(refused.json(), tooMany)
        t.equal(refused.headers['retry-after'], '1')
      }
      t.equal((await needLogin(app, token)).statusCode, 200, 'a token check never meets a limit')
      t.equal((await owner('PUT', { current_password: bob.password, new_password: next })).statusCode, 204)
      t.same((await servicesOf(app).store.db.select().from(servicesOf(app).store.tables.knownNetworks)).map(({ network }) => network), ['203.0.113.1'], 'who knew the old password is known no more')
      move(1)
      t.equal((await thief('DELETE', { password: next })).statusCode, 204)
    })

    t.test('POST /api/v1/login · logins that succeed', async (t) => {
      const hashes = (app: FastifyInstance) => servicesOf(app).passwords.load().passed

      t.test('of an account · so many in any minute, whoever asks from wherever; decided before the hash', async (t) => {
        const { now, move } = clock()
        const app = await build(t, { ...proxied, ...defaults, LOGINS_PER_ACCOUNT_MINUTE: '5' }, { now })
        for (const username of ['bob', 'alice']) await signUp(app, { ...bob, username })
        for (let i = 0; i < 5; i++) t.equal((await from(app, `203.0.113.${i}`)('login', bob)).statusCode, 200)
        const before = hashes(app)
        move(20)
        const refused = await from(app, '203.0.113.9')('login', { ...bob, username: 'BOB' })
        t.same(refused.json(), tooMany)
        t.equal(refused.headers['retry-after'], '40')
        t.equal(hashes(app), before)
        t.equal((await from(app, '203.0.113.1')('login', { ...bob, username: 'alice' })).statusCode, 200, 'others are not held up')
        t.match(servicesOf(app).throttle.counts, { account: 0, account_logins: 1, address_logins: 0 })
        move(40)
        t.equal((await logIn(app)).statusCode, 200)
      })

      t.test('of an address · so many in any minute, of whomever; decided before the body is read', async (t) => {
        const { now, move } = clock()
        const app = await build(t, { ...proxied, ...defaults, LOGINS_PER_ADDRESS_MINUTE: '5' }, { now })
        for (const i of times(6)) await signUp(app, { ...bob, username: `bob${i}` })
        const [here, there] = [from(app, '2001:db8::1'), from(app, '203.0.113.2')]
        for (let i = 0; i < 3; i++) t.equal((await here('login', { ...wrong, username: 'bob0' })).statusCode, 401, 'a failure is none')
        for (let i = 0; i < 5; i++) t.equal((await here('login', { ...bob, username: `bob${i}` })).statusCode, 200)
        const token = (await there('login', { ...bob, username: 'bob5' })).json().token
        const before = hashes(app)
        for (const payload of [{ ...bob, username: 'bob5' }, wrong]) t.equal((await from(app, '2001:db8::2')('login', payload)).headers['retry-after'], '60', 'one customer, one /64')
        const unread = await app.inject({ method: 'POST', url: '/api/v1/login', payload: '{', headers: { 'content-type': 'application/json', 'x-forwarded-for': '2001:db8::1' } })
        t.same(unread.json(), tooMany)
        t.equal(hashes(app), before)
        t.match(servicesOf(app).throttle.counts, { address: 0, address_logins: 3, account_logins: 0 })
        const change = await app.inject({ method: 'PUT', url: '/api/v1/me/password', payload: { current_password: bob.password, new_password: 'another password' }, headers: { authorization: token, 'x-forwarded-for': '2001:db8::1' } })
        t.equal(change.statusCode, 204, 'a password change is no login')
        t.equal((await here('signup', { ...bob, username: 'alice' })).statusCode, 200)
        move(60)
        t.equal((await here('login', { ...bob, username: 'alice' })).statusCode, 200)
      })

      t.test('many at once get no further; what fails later is none; 0 is no limit', async (t) => {
        const app = await build(t, { LOGINS_PER_ACCOUNT_MINUTE: '5' })
        await signUp(app)
        t.same(await tally(times(30).map(() => logIn(app))), { 200: 5, 429: 25 })
        t.equal((await servicesOf(app).store.db.select().from(servicesOf(app).store.tables.tokens)).length, 5)
        await signUp(app, { ...bob, username: 'alice' })
        const { issue } = servicesOf(app).accessTokens
        servicesOf(app).accessTokens.issue = async () => { throw new Error('a fault') }
        for (let i = 0; i < 6; i++) t.equal((await logIn(app, { ...bob, username: 'alice' })).statusCode, 500)
        servicesOf(app).accessTokens.issue = issue
        t.equal((await logIn(app, { ...bob, username: 'alice' })).statusCode, 200)
        const without = await build(t, { ...defaults, LOGIN_FAILURES_PER_ACCOUNT: '0', LOGINS_PER_ADDRESS_MINUTE: '0', LOGINS_PER_ACCOUNT_MINUTE: '0' })
        await signUp(without)
        t.same(await tally(times(310).map(() => logIn(without))), { 200: 310 })
      })
    })

    t.test('POST /api/v1/login · by address', async (t) => {
      t.test('30 failures a minute and 300 an hour, whosever password is guessed; a success is none', async (t) => {
        const { now, move } = clock()
        const app = await build(t, { ...proxied, ...defaults, LOGIN_FAILURES_PER_ACCOUNT: '0' }, { now })
        await signUp(app)
        await signUp(app, { ...bob, username: 'guesser' })
        const [guesser, other] = [from(app, '203.0.113.1'), from(app, '203.0.113.2')]
        const guess = (i: number) => guesser('login', { ...wrong, username: i % 2 === 0 ? `user${i}` : 'bob' })
        for (let i = 0; i < 40; i++) t.equal((await guesser('login', { ...bob, username: 'guesser' })).statusCode, 200)
        const statuses = await tally(times(60).map(guess))
        t.match(statuses, { 429: 30 }, JSON.stringify(statuses))
        const refused = await guesser('login', bob)
        t.same(refused.json(), tooMany, 'also with the right password')
        t.equal(refused.headers['retry-after'], '60')
        t.equal((await other('login', bob)).statusCode, 200, 'others are not held up')
        const unread = await app.inject({ method: 'POST', url: '/api/v1/login', payload: '{', headers: { 'content-type': 'application/json', 'x-forwarded-for': '203.0.113.1' } })
        t.equal(unread.statusCode, 429, 'before the body is parsed')
        for (let i = 0; i < 9; i++) {
          move(60)
          t.match(await tally(times(31).map(guess)), { 429: 1 })
        }
        move(60)
        t.equal((await guess(1)).headers['retry-after'], String(3_600 - 10 * 60), 'the hour counts from the first one')
        move(3_000)
        t.match(await tally(times(31).map(guess)), { 429: 1 })
        t.match(servicesOf(app).throttle.counts, { account: 0, signup: 0 })
      })

      t.test('60 wrong guesses in parallel get no more answers than the limit; 100 correct logins of different users are not held up', async (t) => {
        const app = await build(t, { ...defaults, HASH_QUEUE: '32' })
        await signUp(app)
        const { passwords, users } = servicesOf(app)
        const passwordHash = await passwords.hash(bob.password)
        for (const i of times(100)) await users.create({ username: `user${i}`, email: null, passwordHash })
        t.same(await tally(times(100).map((i) => logIn(app, { ...bob, username: `user${i}` }))), { 200: 100 })
        await servicesOf(app).store.db.delete(servicesOf(app).store.tables.knownNetworks)
        t.same(await tally(times(60).map((i) => logIn(app, { ...wrong, username: `user${i}` }))), { 401: 30, 429: 30 })
        t.same(Object.entries(servicesOf(app).throttle.counts).filter(([, count]) => count > 0), [['address', 30]])
      })

      t.test('whoever knocks while an account has to wait has failed as well', async (t) => {
        const app = await build(t, { LOGIN_FAILURES_PER_ADDRESS_MINUTE: '5', LOGIN_FAILURES_PER_ACCOUNT: '1' })
        for (const status of [404, 429, 429, 429, 429, 429]) t.equal((await logIn(app, wrong)).statusCode, status)
        t.match(servicesOf(app).throttle.counts, { account: 4, address: 1 })
      })

      t.test('an attempt that cannot be read or is not valid counts like one that fails', async (t) => {
        const { now, move } = clock()
        const app = await build(t, { ...proxied, LOGIN_FAILURES_PER_ADDRESS_MINUTE: '4', LOGIN_FAILURES_PER_ADDRESS_HOUR: '12' }, { now })
        const token = await tokenOf(app)
        const malformed = [
          [400, 'application/json', '{'],
          [413, 'application/json', JSON.stringify('x'.repeat(16_384))],
          [400, 'application/json', ''],
          [422, 'application/json', '{"username":"bob","password":"","current_password":5}']
        ] as const
        const operations = [['POST', 'login'], ['PUT', 'me/password'], ['DELETE', 'me'], ['POST', 'signup']] as const
        for (const [i, [method, url]] of operations.entries()) {
          const send = (address: string, type: string, payload: string) => app.inject({ method, url: `/api/v1/${url}`, payload, headers: { 'content-type': type, authorization: token, 'x-forwarded-for': address } })
          const address = `203.0.113.${i}`
          const rounds = url === 'signup' ? 3 : 1
          for (let round = 0; round < rounds; round++) {
            for (const [status, type, payload] of malformed) t.equal((await send(address, type, payload)).statusCode, status, `${method} ${url}`)
          }
          for (const [, type, payload] of malformed) t.same((await send(address, type, payload)).json(), tooMany, `${method} ${url}`)
          const refused = await send(address, 'application/json', JSON.stringify(bob))
          t.equal(refused.headers['retry-after'], url === 'signup' ? '3600' : '60', 'whatever it is')
          for (const [status, type, payload] of malformed) t.equal((await send('203.0.113.99', type, payload)).statusCode, status, 'others are not held up')
          move(3_600)
          // What a page of another origin can send from here, without asking first, is no attempt.
          for (let i = 0; i < 20; i++) t.equal((await send(address, 'text/plain', JSON.stringify(bob))).statusCode, 415)
        }
        t.equal((await needLogin(app, token)).statusCode, 200)
      })

      t.test('many that are malformed, whose bodies come at once, get no further than one after the other', async (t) => {
        const app = await build(t, { LOGIN_FAILURES_PER_ADDRESS_MINUTE: '5' })
        t.same(await tally(times(40).map(() => logIn(app, { username: 'bob' }))), { 422: 5, 429: 35 })
      })

      t.test('a new password that is refused counts as well, after the right one', async (t) => {
        const app = await build(t, { LOGIN_FAILURES_PER_ADDRESS_MINUTE: '3' })
        const authorization = await tokenOf(app)
        const statuses = []
        for (let i = 0; i < 5; i++) statuses.push((await app.inject({ method: 'PUT', url: '/api/v1/me/password', headers: { authorization }, payload: { current_password: bob.password, new_password: i === 0 ? 'next password' : 'password' } })).statusCode)
        t.same(statuses, [204, 422, 422, 422, 429])
      })

      t.test('headers that anybody can send change nothing, unless a proxy of ours does', async (t) => {
        const guesses = async (env: Record<string, string>) => {
          const app = await build(t, { LOGIN_FAILURES_PER_ADDRESS_MINUTE: '5', ...env })
          return await tally(times(30).map((i) => app.inject({ method: 'POST', url: '/api/v1/login', payload: wrong, headers: { 'x-forwarded-for': `203.0.113.${i}`, 'x-real-ip': `203.0.113.${i}`, forwarded: `for=203.0.113.${i}` } })))
        }
        t.same(await guesses({}), { 404: 5, 429: 25 })
        t.same(await guesses({ TRUST_PROXY: '10.0.0.0/8' }), { 404: 5, 429: 25 })
        t.same(await guesses(proxied), { 404: 30 })
        const app = await build(t, { ...proxied, LOGIN_FAILURES_PER_ADDRESS_MINUTE: '5' })
        t.same(await tally(times(30).map((i) => from(app, `10.0.0.${i}, 203.0.113.1`)('login', wrong))), { 404: 5, 429: 25 }, 'what the client itself claims stands further left')
        t.same(await tally(times(30).map((i) => from(app, `2001:db8::${i}`)('login', wrong))), { 404: 5, 429: 25 }, 'one customer, one /64')
        t.same(await tally(times(30).map((i) => from(app, `::ffff:203.0.113.${i < 15 ? 7 : 8}`)('login', wrong))), { 404: 10, 429: 20 }, 'IPv4 in disguise')
      })
    })

    t.test('POST /api/v1/signup · 100 accounts an hour from an address; what was not made does not count', async (t) => {
      const { now, move } = clock()
      const app = await build(t, { ...proxied, ...defaults, SIGNUPS_PER_ADDRESS_HOUR: '5' }, { now })
      const [here, there] = [from(app, '203.0.113.1'), from(app, '203.0.113.2')]
      const account = (i: number) => ({ ...bob, username: `bob${i}` })
      for (const i of times(4)) t.equal((await here('signup', account(i))).statusCode, 200)
      for (let i = 0; i < 10; i++) t.equal((await here('signup', account(0))).statusCode, 409)
      for (let i = 0; i < 10; i++) t.equal((await here('signup', { ...bob, username: '' })).statusCode, 422)
      t.same(await tally(times(8).map((i) => here('signup', account(10 + i)))), { 200: 1, 429: 7 })
      const refused = await here('signup', account(20))
      t.same(refused.json(), tooMany)
      t.equal(refused.headers['retry-after'], '3600')
      t.equal((await there('signup', account(30))).statusCode, 200)
      t.equal((await here('login', account(0))).statusCode, 200, 'logging in is another matter')
      move(3_600)
      t.equal((await here('signup', account(20))).statusCode, 200)
    })

    t.test('POST /api/v1/signup · whoever only asks which names and emails are taken has a limit as well', async (t) => {
      const app = await build(t, { LOGIN_FAILURES_PER_ADDRESS_HOUR: '20' })
      await signUp(app, { ...bob, email: 'bob@example.com' })
      const statuses = await tally(times(30).map((i) => signUp(app, i % 2 === 0 ? bob : { ...bob, username: `user${i}`, email: 'bob@example.com' })))
      t.same(statuses, { 409: 20, 429: 10 })
      t.same((await signUp(app, { ...bob, username: 'alice' })).json(), tooMany)
      t.equal((await logIn(app)).statusCode, 200)
    })

    t.test('by default nobody who is somebody meets a limit', async (t) => {
      const app = await build(t, defaults)
      for (const i of times(50)) t.equal((await signUp(app, { ...bob, username: `bob${i}` })).statusCode, 200)
      for (const i of times(9)) t.equal((await logIn(app, { ...wrong, username: 'bob1' })).statusCode, 401, `bad memory ${i}`)
      t.equal((await logIn(app, { ...bob, username: 'bob1' })).statusCode, 200)
      for (const i of times(50)) t.equal((await logIn(app, { ...bob, username: `bob${i}` })).statusCode, 200)
      const token = await tokenOf(app)
      for (let i = 0; i < 400; i++) t.equal((await needLogin(app, token)).statusCode, 200)
    })
  })
}

t.test('networkOf', async (t: Test) => {
  for (const [address, network] of [
    ['203.0.113.7', '203.0.113.7'], ['203.0.113.7:5678', '203.0.113.7'], ['::ffff:203.0.113.7', '203.0.113.7'], ['::ffff:cb00:7107', '203.0.113.7'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'], ['2001:DB8:1:2::', '2001:db8:1:2::/64'], ['[2001:db8:1:2::7]:5678', '2001:db8:1:2::/64'], ['[2001:db8:1:2::7]', '2001:db8:1:2::/64'],
    ['64:ff9b::203.0.113.7', '203.0.113.7'], ['64:ff9b::cb00:7108', '203.0.113.8'], ['::1', '::/64'], ['fe80::1%eth0', 'fe80::/64'], ['fe80::1%br-1234abcd', 'fe80::/64'], ['fe80::1%eth0.100', 'fe80::/64'], ['[fe80::1%eth0]:5678', 'fe80::/64'],
    ['', 'unknown'], ['unknown', 'unknown'], ['_hidden', 'unknown'], ['203.0.113.300', 'unknown'], ['0x7f.1', 'unknown'], ['1', 'unknown'], ['203.0.113.7:x', 'unknown'], ['[2001:db8', 'unknown']
  ] as const) t.equal(clientNetwork(address), network, address)
  t.equal(clientNetwork(undefined), 'unknown')
  t.equal(printableAddress('fe80::1%eth0'), 'fe80::1%eth0')
  t.equal(printableAddress('203.0.113.7:5678'), '203.0.113.7')
  t.equal(printableAddress('fe80::1%\u009b31m'), 'fe80::1')
  for (const address of ['\u009b31m', 'x'.repeat(200), '<script>', undefined]) t.equal(printableAddress(address), 'unknown')
})

t.test('slidingWindowLog · windows slide, memory is bounded', async (t) => {
  const log = slidingWindowLog([{ attempts: 2, windowMs: 100 }, { attempts: 3, windowMs: 1_000 }])
  t.equal(log.retryAfterMs('a', 0), 0)
  t.equal(log.remaining('a', 0), 2)
  log.add('a', 0)
  t.equal(log.remaining('a', 95), 1)
  log.add('a', 90)
  t.equal(log.retryAfterMs('a', 95), 5)
  t.equal(log.remaining('a', 95), 0)
  t.equal(log.retryAfterMs('b', 95), 0)
  t.equal(log.remaining('a', 100), 1, 'the first is out of the shorter window')
  t.equal(log.remaining('a', 195), 1, 'the longer window counts')
  log.add('a', 150)
  t.equal(log.retryAfterMs('a', 160), 840, 'the longer wait counts')
  log.add('a', 1_000)
  t.equal(log.retryAfterMs('a', 1_001), 89)

  for (let i = 0; i < 20_000; i++) log.add(`user${i}`, i)
  t.equal(log.size(), 10_000)
  const off = slidingWindowLog([{ attempts: 0, windowMs: 100 }])
  for (let i = 0; i < 100; i++) off.add('a', 0)
  t.equal(off.retryAfterMs('a', 0), 0)
  t.equal(off.remaining('a', 0), Infinity)
  t.equal(off.size(), 0)
})

t.test('keyedSemaphore and keyedMutex', async (t) => {
  /** A work that runs until it is ended. */
  const work = () => {
    let end = () => {}
    const ended = new Promise<void>((resolve) => { end = resolve })
    let hasStarted = false
    return { run: async () => { hasStarted = true; await ended }, end: () => end(), hasStarted: () => hasStarted }
  }

  t.test('works with one key run in their order, as many as there are permits; other keys do not wait', async (t) => {
    let permits = 2
    const withPermit = keyedSemaphore({ permits: () => permits, deadlineMs: 60_000 })
    const works = times(6).map(work)
    const results = works.map(({ run }) => withPermit('a', {}, run))
    const other = work()
    const otherResult = withPermit('b', {}, other.run)
    const started = async () => {
      await setImmediate()
      return works.map(({ hasStarted }) => hasStarted()).filter(Boolean).length
    }
    t.equal(await started(), 2)
    t.ok(other.hasStarted())
    works[1]?.end()
    t.equal(await started(), 3)
    permits = 0
    works[0]?.end()
    t.equal(await started(), 3, 'a permit was withdrawn')
    works[2]?.end()
    t.equal(await started(), 4, 'one always may run')
    permits = 9
    works[3]?.end()
    t.equal(await started(), 6)
    for (const { end } of [...works, other]) end()
    await Promise.all([...results, otherResult])
  })

  t.test('a failure gives its permit back; a wait ends at the deadline, and when its client disconnects', async (t) => {
    const withLock = keyedMutex({ deadlineMs: 1_000 })
    const isDisconnect = (result: Promise<unknown>) => result.then(() => false, (error) => error instanceof ClientDisconnected)
    await t.rejects(withLock('a', {}, async () => { throw new Error('a fault') }), { message: 'a fault' })
    const first = work()
    const result = withLock('a', {}, first.run)
    const client = new AbortController()
    const [aborted, late, last] = [
      withLock('a', { signal: client.signal }, async () => t.fail('its client is gone')),
      withLock('a', { waitingSinceMs: performance.now() - 990 }, async () => t.fail('it is too late')),
      withLock('a', { waitingSinceMs: performance.now() + 60_000 }, async () => 'done')
    ]
    client.abort()
    t.ok(await isDisconnect(aborted))
    await t.rejects(late, { code: 'OVERLOADED', headers: { 'retry-after': '1' } })
    t.ok(await isDisconnect(withLock('b', { signal: client.signal }, async () => t.fail('its client was gone before'))))
    first.end()
    await result
    t.equal(await last, 'done')
  })
})

t.test('POST /api/v1/login · clients that disconnect while they wait for others of the account end their wait', async (t) => {
  const app = await build(t, { LOGIN_FAILURES_PER_ACCOUNT: '5' })
  await signUp(app)
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { passwords } = servicesOf(app)
  const { verify } = passwords
  let release = () => {}
  const released = new Promise<void>((resolve) => { release = resolve })
  const verified = { count: 0 }
  passwords.verify = async (...check) => {
    verified.count++
    await released
    return await verify(...check)
  }
  const arrived = { count: 0 }
  const { findCredentials } = servicesOf(app).users
  servicesOf(app).users.findCredentials = async (...args) => {
    arrived.count++
    return await findCredentials(...args)
  }
  const body = JSON.stringify(bob)
  const sockets = await Promise.all(times(5).map(async () => {
    const socket = connect((app.addresses()[0] as AddressInfo).port, '127.0.0.1')
    await once(socket, 'connect')
    socket.write(`POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`)
    return socket
  }))
  while (arrived.count < 5 || verified.count < 1) await delay(1)
  const closed = Promise.all(sockets.map((socket) => once(socket, 'close')))
  for (const socket of sockets) socket.destroy()
  await closed
  await delay(50)
  release()
  t.equal((await logIn(app)).statusCode, 200)
  t.equal(verified.count, 2, 'none of those that waited was verified')
})

t.test('a login upgrades the hash of its user also when the hash queue is full by then', async (t) => {
  const app = await build(t, { HASH_CONCURRENCY: '1', HASH_QUEUE: '2' })
  await signUp(app)
  const { passwords, store } = servicesOf(app)
  const old = await hash(bob.password, { memoryCost: 64, timeCost: 1 })
  await store.db.update(store.tables.users).set({ passwordHash: old })
  const [network, others] = ['127.0.0.1', [] as Array<Promise<unknown>>]
  // When the login's check ends, one of these starts, and another takes its place in the queue.
  const another = () => { others.push(passwords.hash('another password', { network })) }
  const { verify } = passwords
  passwords.verify = async (storedHash, password, job) => await verify(storedHash, password, {
    ...job,
    onStart () {
      job?.onStart?.()
      others.push(passwords.hash('another password', { network, onStart: another }))
      another()
    }
  })
  t.equal((await logIn(app)).statusCode, 200)
  await Promise.all(others)
  t.not((await store.db.select().from(store.tables.users))[0]?.passwordHash, old)
})

t.test('passwords.onJobStart · several listeners, one of which throws', async (t) => {
  const lines: string[] = []
  const app = await build(t, { LOG_LEVEL: 'error' }, { logStream: { write: (line) => { lines.push(line) } } })
  const { passwords } = servicesOf(app)
  const heard: string[] = []
  passwords.onJobStart((waitedMs) => heard.push(`first ${typeof waitedMs}`))
  passwords.onJobStart(() => { throw new Error('not today') })
  passwords.onJobStart(() => heard.push('third'))
  t.equal((await signUp(app)).statusCode, 200)
  t.same(heard, ['first number', 'third'])
  t.match(lines.map((line) => JSON.parse(line)), [{ msg: 'a listener to hash jobs failed', err: { message: 'not today' } }])
})

t.test('errors of a host keep their status, their code and the headers of the reply', async (t) => {
  const lines: string[] = []
  const app = await build(t, { LOG_LEVEL: 'error' }, { logStream: { write: (line) => { lines.push(line) } } })
  const httpError = (statusCode: number, message: string) => Object.assign(new Error(message), { statusCode, expose: statusCode < 500 })
  const thrown: Record<string, unknown> = {
    'rate-limit': Object.assign(new Error('Rate limit exceeded, retry in 1 minute'), { statusCode: 429 }),
    'rate-limit-object': { statusCode: 429, error: 'Too Many Requests', message: 'wait', code: 'RATE_LIMITED', headers: { 'x-hint': 'ask' } },
    'under-pressure': Object.assign(new Error('event loop at 99 %'), { statusCode: 503, code: 'FST_UNDER_PRESSURE' }),
    forbidden: httpError(403, 'members only'),
    'not-implemented': httpError(501, 'a secret'),
    unknown: httpError(499, 'gone'),
    'unknown-fault': httpError(599, 'a secret'),
    basic: Object.assign(new Error('who are you?'), { statusCode: 401, code: 'NO_CREDENTIALS', headers: { 'x-hint': 'ask' } }),
    silent: { statusCode: 409 },
    redirect: { statusCode: 302, message: 'a secret' },
    framework: Object.assign(new Error('a secret'), { statusCode: 400, code: 'FST_ERR_SOMETHING_NEW' }),
    'framework-fault': Object.assign(new Error('a secret'), { statusCode: 500, code: 'FST_ERR_SOMETHING_ELSE' }),
    nothing: null
  }
  await app.register(async (scope) => {
    await scope.register(errors)
    scope.get('/host/:name', async (request, reply) => {
      const { name } = request.params as { name: string }
      reply.headers({ 'retry-after': '60', 'x-ratelimit-limit': '10', ...(name === 'basic' ? { 'www-authenticate': 'Basic' } : {}) })
      throw thrown[name]
    })
  })
  for (const [name, statusCode, code, message] of [
    ['rate-limit', 429, 'TOO_MANY_REQUESTS', 'Too Many Requests'],
    ['rate-limit-object', 429, 'RATE_LIMITED', 'wait'],
    ['under-pressure', 503, 'FST_UNDER_PRESSURE', 'Service Unavailable'],
    ['forbidden', 403, 'FORBIDDEN', 'members only'],
    ['not-implemented', 501, 'NOT_IMPLEMENTED', 'Not Implemented'],
    ['unknown', 499, 'BAD_REQUEST', 'gone'],
    ['unknown-fault', 599, 'INTERNAL_SERVER_ERROR', 'Internal Server Error'],
    ['basic', 401, 'NO_CREDENTIALS', 'who are you?'],
    ['silent', 409, 'CONFLICT', 'Conflict'],
    ['redirect', 500, 'INTERNAL_SERVER_ERROR', 'Internal Server Error'],
    ['framework', 400, 'REQUEST_MALFORMED', 'the request is malformed'],
    ['framework-fault', 500, 'INTERNAL_SERVER_ERROR', 'Internal Server Error'],
    ['nothing', 500, 'INTERNAL_SERVER_ERROR', 'Internal Server Error']
  ] as const) {
    const response = await app.inject(`/host/${name}`)
    t.match(response.json(), { statusCode, code, message }, name)
    t.equal(response.statusCode, statusCode)
    t.match(response.headers, { 'retry-after': '60', 'x-ratelimit-limit': '10' })
    t.notMatch(response.body, /secret/)
    if (name === 'basic') t.match(response.headers, { 'www-authenticate': 'Basic', 'x-hint': 'ask' })
    if (name === 'rate-limit-object') t.match(response.headers, { 'x-hint': 'ask' })
  }
  t.match(lines.map((line) => JSON.parse(line).err?.message), ['event loop at 99 %', 'a secret', 'a secret', 'a secret', 'a secret'])
})
