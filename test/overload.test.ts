import { once } from 'node:events'
import { connect } from 'node:net'
import { setImmediate, setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { hashLimiter, type HashJob } from '../src/plugins/passwords/hash-limiter.js'
import { servicesOf } from '../src/services.js'
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
    const gate = hashLimiter(options)
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
    t.match(gate.counts, { passed: 5, rejected: { queue_full: 0, timed_out: 0, aborted: 0 } })
    t.ok(gate.counts.waitedMs > 0)
  })

  t.test('rejects at once when the queue is full; signups when half of it is theirs', async (t) => {
    const gate = hashLimiter(options)
    const jobs = Array.from({ length: 6 }, job)
    const results = jobs.map(({ work }, i) => {
      // Two run; of those that wait, two are signups.
      const result = gate.run(work, { lane: i === 2 || i === 3 ? 'signup' : 'login' })
      if (i === 3) {
        gate.rejectWhenFull('login')
        t.throws(() => gate.rejectWhenFull('signup'), { code: 'OVERLOADED' })
      }
      return result
    })
    t.throws(() => gate.rejectWhenFull('login'), { code: 'OVERLOADED' })
    for (const share of ['login', 'signup'] as const) await t.rejects(gate.run(job().work, { lane: share }), { code: 'OVERLOADED', headers: { 'retry-after': '1' } })
    t.same(gate.load(), { running: 2, queued: 4 })
    const first = job()
    const continued = gate.run(first.work, { hasPriority: true })
    jobs[0]?.end()
    await results[0]
    await delay(0)
    t.ok(first.hasStarted(), 'who has begun goes before all others, also when it is full')
    t.notOk(jobs[2]?.hasStarted())
    t.match(gate.counts, { rejected: { queue_full: 4 } })
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
    const gate = hashLimiter({ ...options, concurrency: 1, queueLength: 2 })
    const jobs = [job(), job(), job()]
    const results = [gate.run(jobs[0]?.work ?? job().work), gate.run(jobs[1]?.work ?? job().work, { lane: 'signup' })]
    await t.rejects(gate.run(job().work, { lane: 'signup' }), { code: 'OVERLOADED' })
    results.push(gate.run(jobs[2]?.work ?? job().work))
    for (const [i, each] of jobs.entries()) {
      await delay(0)
      each.end()
      t.equal(await results[i], 'done')
    }
  })

  t.test('nobody waits longer than the deadline, or for a client that is gone', async (t) => {
    const gate = hashLimiter({ concurrency: 1, queueLength: 4, deadlineMs: 100 })
    const running = job()
    const result = gate.run(running.work)
    const gone = new AbortController()
    const [late, abandoned] = [gate.run(job().work), gate.run(job().work, { signal: gone.signal })]
    gone.abort()
    await t.rejects(abandoned, { code: 'OVERLOADED' })
    t.same(gate.load(), { running: 1, queued: 1 })
    await t.rejects(late, { code: 'OVERLOADED' })
    await t.rejects(gate.run(job().work, { signal: gone.signal }), { code: 'OVERLOADED' })
    t.match(gate.counts, { passed: 1, rejected: { timed_out: 1, aborted: 2 } })
    running.end()
    await result
    t.same(gate.load(), { running: 0, queued: 0 })
  })
})

t.test('the gate · is fair by network', async (t) => {
  /** A gate with one running job that never ends by itself; `wait` adds jobs that wait, by name and network, and `order` tells which ran. */
  function shutGate (queueLength: number, concurrency = 1) {
    const gate = hashLimiter({ concurrency, queueLength, deadlineMs: 60_000 })
    const order: string[] = []
    const ends: Array<() => void> = []
    const run = (name: string, turn: HashJob = {}) => {
      const ran = gate.run(() => new Promise<void>((resolve) => {
        order.push(name)
        ends.push(resolve)
      }), turn)
      return ran.then(() => 'done', ({ code }) => String(code))
    }
    /** Ends the running job, and all that run after it. */
    const drain = async () => {
      while (ends.length > 0) {
        ends.shift()?.()
        await setImmediate()
      }
    }
    return { gate, order, run, drain, ends }
  }

  t.test('networks take turns, in each the oldest goes first', async (t) => {
    const { order, run, drain } = shutGate(10)
    const results = [run('running')]
    for (const [name, network] of [['a1', 'a'], ['a2', 'a'], ['a3', 'a'], ['b1', 'b'], ['c1', 'c'], ['b2', 'b'], ['none', undefined]] as const) results.push(run(name, { network }))
    await drain()
    t.same(order, ['running', 'a1', 'b1', 'c1', 'none', 'a2', 'b2', 'a3'])
    t.same(new Set(await Promise.all(results)), new Set(['done']))
  })

  t.test('a full queue · the newest job of the network with the most places is evicted for a network that holds fewer', async (t) => {
    const { gate, order, run, drain } = shutGate(4)
    const results = [run('running', { network: 'a' }), run('a1', { network: 'a' }), run('a2', { network: 'a' }), run('a3', { network: 'a' }), run('b1', { network: 'b' })]
    gate.rejectWhenFull('login', 'c')
    t.equal(gate.load().queued, 4, 'who is only asked for displaces nobody')
    for (const [name, network, loser] of [['c1', 'c', 'a3'], ['none', undefined, 'a2']] as const) {
      t.throws(() => gate.rejectWhenFull('login', 'a'), { code: 'OVERLOADED' })
      results.push(run(name, { network }))
      t.equal(await results[loser === 'a3' ? 3 : 2], 'OVERLOADED', `${loser} gives way`)
      t.throws(() => gate.rejectWhenFull('login', 'b'), { code: 'OVERLOADED' }, 'with one more it would hold as many as the one that holds most')
    }
    t.match(gate.counts, { rejected: { queue_full: 6 } })
    for (const network of ['a', 'd', undefined]) {
      t.throws(() => gate.rejectWhenFull('login', network), { code: 'OVERLOADED' })
      t.equal(await run('refused', { network }), 'OVERLOADED', 'nobody holds more than one')
    }
    t.match(gate.counts, { rejected: { queue_full: 12, timed_out: 0, aborted: 0 } })
    await drain()
    t.same(order, ['running', 'a1', 'b1', 'c1', 'none'])
    t.same(gate.load(), { running: 0, queued: 0 })
  })

  t.test('in the half of the signups as well', async (t) => {
    const { gate, order, run, drain } = shutGate(8)
    const signup = (name: string, network: string) => run(name, { network, lane: 'signup' })
    const results = [run('running'), ...['a1', 'a2', 'a3', 'a4'].map((name) => signup(name, 'a')), run('login', { network: 'a' })]
    gate.rejectWhenFull('signup', 'b')
    results.push(signup('b1', 'b'))
    t.equal(await results[4], 'OVERLOADED', 'a signup gives way, not a login')
    t.throws(() => gate.rejectWhenFull('signup', 'a'), { code: 'OVERLOADED' })
    t.equal(await signup('a5', 'a'), 'OVERLOADED')
    t.equal(gate.load().queued, 5)
    await drain()
    t.same(order, ['running', 'a1', 'b1', 'a2', 'a3', 'login'])
  })

  t.test('a request that has passed before has priority and is never evicted, but at most two in a row', async (t) => {
    const { gate, order, run, drain } = shutGate(2)
    const results = [run('running'), ...['a1', 'a2'].map((name) => run(name, { network: 'a' }))]
    for (const name of ['c1', 'c2', 'c3', 'c4', 'c5', 'c6', 'c7']) results.push(run(name, { network: 'a', hasPriority: true }))
    results.push(run('b1', { network: 'b' }))
    t.same(gate.load(), { running: 1, queued: 9 }, 'they take no place of the others')
    t.match(gate.counts, { rejected: { queue_full: 1 } })
    await drain()
    t.same(order, ['running', 'c1', 'c2', 'a1', 'c3', 'c4', 'b1', 'c5', 'c6', 'c7'])
    t.equal(await results[2], 'OVERLOADED')
    t.match(gate.counts, { rejected: { queue_full: 1, timed_out: 0 } })

    const shut = shutGate(2)
    const gone = new AbortController()
    const [running, left, stayed] = [shut.run('running'), shut.run('left', { hasPriority: true, signal: gone.signal }), shut.run('stayed', { hasPriority: true })]
    gone.abort()
    t.equal(await left, 'OVERLOADED')
    await shut.drain()
    t.same([await running, await stayed], ['done', 'done'])
    t.same(shut.order, ['running', 'stayed'], 'it waits no longer than its client')
  })

  t.test('whatever others do, who asks for one at a time is let through in time', async (t) => {
    for (let seed = 1; seed <= 25; seed++) {
      // A linear congruential generator: the same numbers in every run.
      let state = seed
      const random = (below: number) => {
        state = (state * 1_103_515_245 + 12_345) % 2_147_483_648
        return Math.floor(state / 2_147_483_648 * below)
      }
      const [networks, queueLength, concurrency] = [1 + random(15), 32, 1 + random(3)]
      const { gate, order, run, drain, ends } = shutGate(queueLength, concurrency)
      const refusals: string[] = []
      let legitimate: Promise<unknown> | undefined
      let [asked, ended, endedWhenAsked, longest] = [0, 0, 0, 0]
      for (let step = 0; step < 250; step++) {
        for (let i = random(20); i > 0; i--) run('hostile', { network: `hostile ${random(networks)}`, lane: random(4) === 0 ? 'signup' : 'login', hasPriority: random(10) === 0 && ends.length > 0 }).catch(() => {})
        if (legitimate === undefined && step > 20) {
          asked++
          endedWhenAsked = ended
          gate.rejectWhenFull('login', 'home')
          legitimate = run(`legitimate ${asked}`, { network: 'home' }).then((outcome) => {
            if (outcome !== 'done') refusals.push(outcome)
          })
        }
        if (ends.length > 0) {
          ended++
          ends.splice(random(ends.length), 1)[0]?.()
        }
        await setImmediate()
        if (order.includes(`legitimate ${asked}`)) {
          if (legitimate !== undefined) longest = Math.max(longest, ended - endedWhenAsked)
          legitimate = undefined
        }
        if (gate.load().running > concurrency) t.fail('too many run')
      }
      await drain()
      t.same(gate.load(), { running: 0, queued: 0 })
      t.same(refusals, [], `seed ${seed}`)
      t.ok(asked > 5 && longest <= 3 * (networks + 2), `${networks} networks: ${asked} were let through, after ${longest} others at most`)
    }
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
  t.match(servicesOf(app).passwords.load(), { running: 0, queued: 0, rejected: { queue_full: refused.length } })
  t.equal((await logIn(app)).statusCode, 200)
})

t.test('a full gate decides before the body is parsed', async (t) => {
  const { app, token } = await shut(t)
  const busy = Array.from({ length: 3 }, () => logIn(app))
  while (servicesOf(app).passwords.load().queued < 2) await delay(1)
  const malformed = { headers: { 'content-type': 'application/json', authorization: token }, payload: '{' }
  for (const [method, url] of [['POST', '/signup'], ['POST', '/login'], ['PUT', '/me/password'], ['DELETE', '/me'], ['POST', '/me/deletion']] as const) {
    t.same((await app.inject({ method, url: `/api/v1${url}`, ...malformed })).json(), overloaded, url)
  }
  t.equal((await app.inject({ method: 'DELETE', url: '/api/v1/me' })).statusCode, 400, 'whoever has no token is told so')
  for (const { statusCode } of await Promise.all(busy)) t.equal(statusCode, 200)
  t.equal((await app.inject({ method: 'POST', url: '/api/v1/login', ...malformed })).statusCode, 400)
})

t.test('signups hold at most half of the queue', async (t) => {
  const { app } = await shut(t, { HASH_QUEUE: '6' })
  const signups = Array.from({ length: 12 }, (_, i) => signUp(app, { ...bob, username: `bob${i}` }))
  while (servicesOf(app).passwords.load().queued < 3) await delay(1)
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
  t.match(servicesOf(app).passwords.load(), { rejected: { queue_full: 0, timed_out: statuses.filter((status) => status === 503).length } })
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
  while (servicesOf(app).passwords.load().queued < 5) await delay(1)
  for (const socket of sockets) socket.destroy()
  while (servicesOf(app).passwords.load().queued > 0) await delay(1)
  t.ok(servicesOf(app).passwords.load().rejected.aborted >= 4, `${servicesOf(app).passwords.load().rejected.aborted} left`)
  t.equal((await logIn(app)).statusCode, 200)
})

for (const networks of [2, 8]) {
  t.test(`${networks} networks with 200 connections each, which know their passwords, leave the logins of others through`, async (t) => {
    const app = await build(t, { TRUST_PROXY: '127.0.0.1', HASH_CONCURRENCY: '1', HASH_QUEUE: '32' }, { hashParameters: { memoryCost: 8_192, timeCost: 1, parallelism: 1 } })
    const passwordHash = await servicesOf(app).passwords.hash(bob.password)
    for (const username of [...Array.from({ length: networks }, (_, i) => `hostile${i}`), 'legitimate']) await servicesOf(app).users.create({ username, email: null, passwordHash })
    const logInFrom = async (username: string, address: string) =>
      (await app.inject({ method: 'POST', url: '/api/v1/login', payload: { ...bob, username }, headers: { 'x-forwarded-for': address } })).statusCode

    // A connection whose login succeeds asks again at once; of those that were refused some
    // do whenever somebody else logs in, which keeps the queue full on any machine.
    let isOver = false
    const refused: number[] = []
    const asking = new Set<Promise<void>>()
    const ask = (connection: number) => {
      const network = connection % networks
      const asked = logInFrom(`hostile${network}`, `198.51.100.${network}`).then((status) => {
        asking.delete(asked)
        if (status === 503) refused.push(connection)
        else if (!isOver) ask(connection)
      })
      asking.add(asked)
    }
    const askAgain = () => refused.splice(0, networks * 10).forEach(ask)
    for (let connection = 0; connection < networks * 200; connection++) ask(connection)
    while (servicesOf(app).passwords.load().rejected.queue_full < networks * 100) await delay(1)

    const oneByOne: number[] = []
    while (oneByOne.length < 40) {
      askAgain()
      oneByOne.push(await logInFrom('legitimate', '203.0.113.1'))
    }
    t.ok(oneByOne.filter((status) => status === 200).length >= 35, `one after the other: ${oneByOne}`)

    // At a fixed rate, of one for each three hashes that the server does.
    const spread: Array<Promise<number>> = []
    for (let at = servicesOf(app).passwords.load().passed; spread.length < 40; at += 3) {
      askAgain()
      spread.push(logInFrom('legitimate', `203.0.113.${100 + spread.length}`))
      while (servicesOf(app).passwords.load().passed < at) await delay(1)
    }
    const statuses = await Promise.all(spread)
    t.ok(statuses.filter((status) => status === 200).length >= 35, `from 40 networks: ${statuses}`)
    isOver = true
    await Promise.all(asking)
  })
}
