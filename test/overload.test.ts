import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { hashGate } from '../src/lib/hash-gate.js'
import { bob, build, logIn, needLogin, signUp, tokenOf } from './helper.js'

/** A hash that takes long enough to be seen. */
const slowHash = { memoryCost: 65_536, timeCost: 3, parallelism: 1 }

const overloaded = { statusCode: 503, code: 'OVERLOADED', error: 'Service Unavailable', message: 'Service Unavailable' }

t.test('the gate', async (t) => {
  /** Work that lasts until it is told to end. */
  function job () {
    let end = (error?: Error) => { t.fail(String(error)) }
    let hasStarted = false
    const work = () => new Promise<string>((resolve, reject) => {
      hasStarted = true
      end = (error) => error === undefined ? resolve('done') : reject(error)
    })
    return { work, end: (error?: Error) => end(error), hasStarted: () => hasStarted }
  }
  const options = { concurrency: 2, queueLength: 4, deadlineMs: 60_000 }

  t.test('lets a few through at once, the others in their order', async (t) => {
    const gate = hashGate(options)
    const jobs = Array.from({ length: 5 }, job)
    const results = jobs.map(({ work }) => gate.run(work))
    t.same(jobs.map((each) => each.hasStarted()), [true, true, false, false, false])
    t.same(gate.load(), { running: 2, queued: 3 })
    jobs[1]?.end()
    t.equal(await results[1], 'done')
    await delay(0)
    t.same(jobs.map((each) => each.hasStarted()), [true, true, true, false, false])
    jobs[0]?.end(new Error('a fault'))
    await t.rejects(async () => results[0], { message: 'a fault' })
    await delay(0)
    t.ok(jobs[3]?.hasStarted(), 'a fault gives its place back')
    for (const i of [2, 3]) jobs[i]?.end()
    await Promise.all(results.slice(2, 4))
    await delay(0)
    jobs[4]?.end()
    await results[4]
    t.same(gate.load(), { running: 0, queued: 0 })
    t.match(gate.counts, { passed: 5, full: 0, late: 0, abandoned: 0 })
    t.ok(gate.counts.waitedMs > 0)
  })

  t.test('refuses at once when the queue is full; signups when half of it is theirs', async (t) => {
    const gate = hashGate(options)
    const jobs = Array.from({ length: 6 }, job)
    const results = jobs.map(({ work }, i) => {
      // Two run; of those that wait, two are signups.
      const result = gate.run(work, { share: i === 2 || i === 3 ? 'signup' : 'login' })
      if (i === 3) {
        gate.refuseWhenFull('login')
        t.throws(() => gate.refuseWhenFull('signup'), { code: 'OVERLOADED' })
      }
      return result
    })
    t.throws(() => gate.refuseWhenFull('login'), { code: 'OVERLOADED' })
    for (const share of ['login', 'signup'] as const) await t.rejects(gate.run(job().work, { share }), { code: 'OVERLOADED', headers: { 'retry-after': '1' } })
    t.same(gate.load(), { running: 2, queued: 4 })
    const first = job()
    const continued = gate.run(first.work, { isContinued: true })
    jobs[0]?.end()
    await results[0]
    await delay(0)
    t.ok(first.hasStarted(), 'who has begun goes before all others, also when it is full')
    t.notOk(jobs[2]?.hasStarted())
    t.match(gate.counts, { full: 4 })
    first.end()
    await continued
    for (const [i, each] of jobs.entries()) {
      if (i === 0) continue
      await delay(0)
      each.end()
      await results[i]
    }
    t.same(gate.load(), { running: 0, queued: 0 })
  })

  t.test('a share of the queue that is full lets others in', async (t) => {
    const gate = hashGate({ ...options, concurrency: 1, queueLength: 2 })
    const jobs = [job(), job(), job()]
    const results = [gate.run(jobs[0]?.work ?? job().work), gate.run(jobs[1]?.work ?? job().work, { share: 'signup' })]
    await t.rejects(gate.run(job().work, { share: 'signup' }), { code: 'OVERLOADED' })
    results.push(gate.run(jobs[2]?.work ?? job().work))
    for (const [i, each] of jobs.entries()) {
      await delay(0)
      each.end()
      t.equal(await results[i], 'done')
    }
  })

  t.test('nobody waits longer than the deadline, or for a client that is gone', async (t) => {
    const gate = hashGate({ concurrency: 1, queueLength: 4, deadlineMs: 100 })
    const running = job()
    const result = gate.run(running.work)
    const gone = new AbortController()
    const [late, abandoned] = [gate.run(job().work), gate.run(job().work, { signal: gone.signal })]
    gone.abort()
    await t.rejects(abandoned, { code: 'OVERLOADED' })
    t.same(gate.load(), { running: 1, queued: 1 })
    await t.rejects(late, { code: 'OVERLOADED' })
    await t.rejects(gate.run(job().work, { signal: gone.signal }), { code: 'OVERLOADED' })
    t.match(gate.counts, { passed: 1, late: 1, abandoned: 2 })
    running.end()
    await result
    t.same(gate.load(), { running: 0, queued: 0 })
  })
})

/** An app whose gate is shut by hashes that last until they are let go. */
async function shut (t: Test, env: Record<string, string> = {}) {
  const app = await build(t, { HASH_CONCURRENCY: '1', HASH_QUEUE: '2', ...env }, { hashParameters: slowHash })
  const token = await tokenOf(app)
  return { app, token }
}

t.test('more than can be hashed · 503 OVERLOADED with Retry-After, and token checks go on', async (t) => {
  const { app, token } = await shut(t)
  const answers = Promise.all(Array.from({ length: 20 }, () => logIn(app)))
  await delay(20)
  t.equal((await needLogin(app, token)).statusCode, 200)
  const responses = await answers
  const refused = responses.filter(({ statusCode }) => statusCode === 503)
  t.equal(responses.filter(({ statusCode }) => statusCode === 200).length + refused.length, 20)
  t.ok(refused.length >= 10, `${refused.length} of 20 refused`)
  for (const response of refused) {
    t.same(response.json(), overloaded)
    t.equal(response.headers['retry-after'], '1')
  }
  t.match(app.passwords.load(), { running: 0, queued: 0, full: refused.length })
  t.equal((await logIn(app)).statusCode, 200)
})

t.test('a full gate decides before the body is parsed', async (t) => {
  const { app, token } = await shut(t)
  const busy = Array.from({ length: 3 }, () => logIn(app))
  while (app.passwords.load().queued < 2) await delay(1)
  const malformed = { headers: { 'content-type': 'application/json', authorization: token }, payload: '{' }
  for (const [method, url] of [['POST', '/signup'], ['POST', '/login'], ['PUT', '/me/password'], ['DELETE', '/me']] as const) {
    t.same((await app.inject({ method, url: `/api/v1${url}`, ...malformed })).json(), overloaded, url)
  }
  t.equal((await app.inject({ method: 'DELETE', url: '/api/v1/me' })).statusCode, 400, 'whoever has no token is told so')
  for (const { statusCode } of await Promise.all(busy)) t.equal(statusCode, 200)
  t.equal((await app.inject({ method: 'POST', url: '/api/v1/login', ...malformed })).statusCode, 400)
})

t.test('signups hold at most half of the queue', async (t) => {
  const { app } = await shut(t, { HASH_QUEUE: '6' })
  const signups = Array.from({ length: 12 }, (_, i) => signUp(app, { ...bob, username: `bob${i}` }))
  while (app.passwords.load().queued < 3) await delay(1)
  const login = await logIn(app)
  t.equal(login.statusCode, 200, 'a login finds a place')
  const statuses = (await Promise.all(signups)).map(({ statusCode }) => statusCode)
  t.equal(statuses.filter((status) => status === 200).length, 4)
  t.equal(statuses.filter((status) => status === 503).length, 8)
})

t.test('a login that waits too long is 503', async (t) => {
  const { app } = await shut(t, { HASH_QUEUE: '20', HASH_DEADLINE_MS: '100' })
  const statuses = (await Promise.all(Array.from({ length: 12 }, () => logIn(app)))).map(({ statusCode }) => statusCode)
  t.ok(statuses.includes(200) && statuses.includes(503))
  t.match(app.passwords.load(), { full: 0, late: statuses.filter((status) => status === 503).length })
})

t.test('clients that leave take no place', async (t) => {
  const { app } = await shut(t, { HASH_QUEUE: '20' })
  await app.listen({ host: '127.0.0.1', port: 0 })
  const body = JSON.stringify(bob)
  const sockets = await Promise.all(Array.from({ length: 10 }, async () => {
    const socket = connect(Object(app.addresses()[0]).port, '127.0.0.1')
    await once(socket, 'connect')
    socket.write(`POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`)
    return socket
  }))
  while (app.passwords.load().queued < 5) await delay(1)
  for (const socket of sockets) socket.destroy()
  while (app.passwords.load().queued > 0) await delay(1)
  t.ok(app.passwords.load().abandoned >= 4, `${app.passwords.load().abandoned} left`)
  t.equal((await logIn(app)).statusCode, 200)
})
