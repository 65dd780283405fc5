// Fault tests: load, kill, full disk, slow clients, and whatever else goes wrong, each on the built
// server. Run by `npm run test:faults`, which sets LATCHKEY_TESTS=long; without it they are
// smaller. Each prints its figures.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import Database from 'better-sqlite3'
import t, { type Test } from 'tap'
import { databases } from '../databases.js'
import { bob, isLongRun, loginHead, open, type ServerProcess, startServer, temporaryFolder } from '../helper.js'
import { openLoop } from '../open-loop.js'

/** Options of tests that mostly wait: they run in parallel. Each needs an object of its own, because tap writes the function of the test into it. */
const parallel = () => ({ buffered: true, timeout: 120_000 })

const sized = (small: number, long: number) => isLongRun ? long : small
const times = (length: number) => Array.from({ length }, (_, i) => i)
/** SQLite, and in a long run PostgreSQL as well. */
const testedDatabases = databases.slice(0, sized(1, 2))

/** Latchkey without the limits that a generator of load would meet. */
const unlimited = { LOGIN_FAILURES_PER_ADDRESS_MINUTE: '0', LOGIN_FAILURES_PER_ADDRESS_HOUR: '0', LOGIN_FAILURES_PER_ACCOUNT: '0', LOGINS_PER_ADDRESS_MINUTE: '0', LOGINS_PER_ACCOUNT_MINUTE: '0', SIGNUPS_PER_ADDRESS_HOUR: '0' }

const unavailable = { statusCode: 503, code: 'SERVICE_UNAVAILABLE', error: 'Service Unavailable', message: 'Service Unavailable' }

function figures (t: Test, values: Record<string, unknown>): void {
  const text = Object.entries(values).map(([name, value]) => `${name} ${typeof value === 'object' ? JSON.stringify(value) : value}`).join(', ')
  t.comment(text)
  if (isLongRun) process.stderr.write(`${t.fullname.replace(/^TAP > (?:mostly waiting > )?/, '')}\n    ${text}\n`)
}

const ms = (value: number) => `${Math.round(value)} ms`

interface Answer { status: number, headers: Record<string, unknown>, body: string, ms: number }

/** A client of a server, with keep-alive connections. */
function clientOf (t: Test, url: string) {
  const agent = new Agent({ keepAlive: true, maxSockets: 512 })
  t.teardown(() => agent.destroy())
  return async function ask (method: string, path: string, payload?: object, headers: Record<string, string> = {}): Promise<Answer> {
    const before = performance.now()
    const body = payload === undefined ? '' : JSON.stringify(payload)
    const type = payload === undefined ? {} : { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(body)) }
    const sent = request(url + path, { method, agent, headers: { ...type, ...headers }, timeout: 15_000 })
    sent.end(body)
    const [response] = await once(sent, 'response')
    let text = ''
    for await (const chunk of response.setEncoding('utf8')) text += chunk
    return { status: Number(response.statusCode), headers: response.headers, body: text, ms: performance.now() - before }
  }
}

type Ask = ReturnType<typeof clientOf>

const signUp = (ask: Ask, account: object = bob) => ask('POST', '/api/v1/signup', account)
const logIn = (ask: Ask, account: object = bob, headers = {}) => ask('POST', '/api/v1/login', account, headers)
const needLogin = (ask: Ask, token: string) => ask('GET', '/need_login', undefined, { authorization: token })

async function tokenOf (ask: Ask, account: object = bob): Promise<string> {
  await signUp(ask, account)
  return JSON.parse((await logIn(ask, account)).body).token
}

/** How often each status came. */
function tally (answers: Answer[]): Record<number, number> {
  const statuses: Record<number, number> = {}
  for (const { status } of answers) statuses[status] = (statuses[status] ?? 0) + 1
  return statuses
}

/** The memory of a process, in MiB: what it had before, and the most it had since. */
function watchMemory (t: Test, { child }: ServerProcess) {
  const rss = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1]) / 1_024
  const before = rss()
  let most = before
  const timer = setInterval(() => { most = Math.max(most, rss()) }, 50)
  t.teardown(() => clearInterval(timer))
  return {
    stop () {
      clearInterval(timer)
      return { before: Math.round(before), most: Math.round(Math.max(most, rss())) }
    }
  }
}

const percentile = (values: number[], part: number) => values.toSorted((a, b) => a - b)[Math.floor(values.length * part)] ?? 0

/** Whether we may give a process a file system of its own. */
const canMount = process.platform === 'linux' && spawnSync('unshare', ['--mount', 'mount', '-t', 'tmpfs', 'none', '/mnt']).status === 0

async function stop (t: Test, { child, exited }: ServerProcess): Promise<void> {
  child.kill('SIGTERM')
  t.equal(await exited, 0)
}

for (const database of testedDatabases) {
  t.test(database.name, async (t) => {
    t.test('SIGKILL during POST /api/v1/signup → every account that was answered 200 logs in afterwards', { timeout: 300_000 }, async (t) => {
      const folder = temporaryFolder(t)
      const env = { ...unlimited, DATABASE_URL: await database.create(t, { isShared: true }), HASH_CONCURRENCY: '2' }
      const acknowledged: string[] = []
      const starts: number[] = []
      for (const round of times(sized(2, 6))) {
        const before = performance.now()
        const server = startServer(t, folder, env)
        const ask = clientOf(t, await server.listening)
        t.equal((await ask('GET', '/health/ready')).status, 200)
        starts.push(performance.now() - before)
        const killAt = performance.now() + sized(500, 3_000) + Math.random() * 200
        const clients = times(16).map(async (client) => {
          for (let i = 0; performance.now() < killAt; i++) {
            const username = `user-${round}-${client}-${i}`
            const answer = await signUp(ask, { ...bob, username }).catch(() => undefined)
            if (answer?.status === 200) acknowledged.push(username)
          }
        })
        await delay(killAt - performance.now())
        server.child.kill('SIGKILL')
        await Promise.all(clients)
        await server.exited
      }
      const server = startServer(t, folder, env)
      const ask = clientOf(t, await server.listening)
      const lost: string[] = []
      for (let i = 0; i < acknowledged.length; i += 20) {
        await Promise.all(acknowledged.slice(i, i + 20).map(async (username) => {
          if ((await logIn(ask, { ...bob, username })).status !== 200) lost.push(username)
        }))
      }
      await stop(t, server)
      figures(t, { kills: starts.length, acknowledged: acknowledged.length, lost: lost.length, 'slowest start': ms(Math.max(...starts)) })
      t.ok(acknowledged.length >= 20)
      t.same(lost, [])
      t.ok(Math.max(...starts) < 5_000)
      if (env.DATABASE_URL.startsWith('sqlite')) {
        const file = new Database(env.DATABASE_URL.replace('sqlite:///', ''))
        t.equal(file.pragma('integrity_check', { simple: true }), 'ok')
        file.close()
      }
    })

    t.test('POST /api/v1/login at three times the capacity → 200 or 503 with Retry-After; GET /need_login stays fast', { timeout: 120_000 }, async (t) => {
      // With every limit of an address on: many people, from everywhere.
      // Where others test beside us, one processor is left to whoever makes the storm.
      const server = startServer(t, temporaryFolder(t), { TRUST_PROXY: '127.0.0.1', LOGINS_PER_ACCOUNT_MINUTE: '0', HASH_CONCURRENCY: isLongRun ? undefined : '1', DATABASE_URL: await database.create(t, { isShared: true }) })
      const ask = clientOf(t, await server.listening)
      const people = times(50).map((i) => ({ ...bob, username: `user${i}` }))
      for (const account of people) await signUp(ask, account)
      const token = await tokenOf(ask)
      let next = 0
      const login = () => {
        const i = next++
        return logIn(ask, people[i % people.length], { 'x-forwarded-for': `10.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}` })
      }
      let done = 0
      const until = performance.now() + 1_500
      await Promise.all(times(4).map(async () => {
        while (performance.now() < until) if ((await login()).status === 200) done++
      }))
      const capacity = done / 1.5
      const calm = percentile(await Promise.all(times(50).map(async (i) => {
        await delay(i * 10)
        return (await needLogin(ask, token)).ms
      })), 0.99)

      const memory = watchMemory(t, server)
      const [logins, checks]: Answer[][] = [[], []]
      const seconds = sized(4, 10)
      await Promise.all([
        openLoop(3 * capacity, seconds, async () => { logins?.push(await login()) }),
        openLoop(50, seconds, async () => { checks?.push(await needLogin(ask, token)) })
      ])
      const end = performance.now()
      while ((await login()).ms > 300 && performance.now() - end < 10_000) await delay(10)
      const idle = performance.now() - end
      const { before, most } = memory.stop()
      const accepted = (logins ?? []).filter(({ status }) => status === 200).map((answer) => answer.ms)
      const p99 = percentile((checks ?? []).map((answer) => answer.ms), 0.99)
      figures(t, {
        'logins a second': Math.round(capacity),
        offered: Math.round(3 * capacity),
        answers: tally(logins ?? []),
        'slowest accepted login': ms(Math.max(...accepted)),
        'p99 of token checks': `${ms(p99)} (calm ${ms(calm)})`,
        'memory in MiB': `${before}, at most ${most}`,
        'idle after': ms(idle)
      })
      t.same(Object.keys(tally(logins ?? [])), ['200', '503'])
      t.ok((logins ?? []).filter(({ status }) => status === 503).every(({ headers }) => headers['retry-after'] === '1'))
      t.same(Object.keys(tally(checks ?? [])), ['200'], 'token checks never wait for hashing')
      t.ok(Math.max(...accepted) < 4_500)
      t.ok(p99 < 250)
      t.ok(isLongRun ? most < 256 : most - before < 150)
      t.ok(idle < 4_000)
      await stop(t, server)
    })

    t.test('POST /api/v1/login · 60 guesses in parallel → at most 12 are answered, 429 for the others', async (t) => {
      const server = startServer(t, temporaryFolder(t), { DATABASE_URL: await database.create(t, { isShared: true }), LOGIN_FAILURES_PER_ADDRESS_MINUTE: '0' })
      const ask = clientOf(t, await server.listening)
      await signUp(ask)
      for (const username of ['bob', 'nobody']) {
        const before = performance.now()
        const answers = tally(await Promise.all(times(60).map((i) => logIn(ask, { username, password: `guess ${i}` }))))
        figures(t, { username, answers, in: ms(performance.now() - before) })
        const answered = Number(answers[username === 'bob' ? 401 : 404])
        t.ok(answered >= 10 && answered <= 12)
        t.equal(answers[429], 60 - answered)
      }
      await stop(t, server)
    })
  })
}

t.test('POST /api/v1/login · changing proxy headers → limited by the address of the connection', async (t) => {
  const server = startServer(t, temporaryFolder(t))
  const ask = clientOf(t, await server.listening)
  const answers = await Promise.all(times(sized(100, 1_000)).map((i) => logIn(ask, { username: `user${i}`, password: 'a guess' }, {
    'x-forwarded-for': `203.0.113.${i % 256}`, 'x-real-ip': `198.51.100.${i % 256}`, forwarded: `for=192.0.2.${i % 256}`, 'x-client-ip': `203.0.113.${i % 256}`, 'cf-connecting-ip': `203.0.113.${i % 256}`
  })))
  figures(t, { answers: tally(answers) })
  t.same(tally(answers), { 404: 30, 429: answers.length - 30 })
  t.ok(answers.filter(({ status }) => status === 429).every(({ headers }) => Number(headers['retry-after']) > 50))
  t.equal(server.output().match(/name it in TRUST_PROXY/g)?.length, 1)
  await stop(t, server)
})

t.test('POST /api/v1/login · unknown usernames from many networks → 404, memory stays bounded', { timeout: 120_000 }, async (t) => {
  const server = startServer(t, temporaryFolder(t), { TRUST_PROXY: '127.0.0.1' })
  const ask = clientOf(t, await server.listening)
  const token = await tokenOf(ask)
  const memory = watchMemory(t, server)
  const names = sized(4_000, 20_000)
  const answers: Answer[] = []
  const before = performance.now()
  let next = 0
  await Promise.all(times(16).map(async () => {
    for (let i = next++; i < names; i = next++) {
      answers.push(await logIn(ask, { username: `nobody${i}`, password: 'a guess' }, { 'x-forwarded-for': `2001:db8:${(i >> 8).toString(16)}:${(i & 255).toString(16)}::1` }))
    }
  }))
  const seconds = (performance.now() - before) / 1_000
  const { before: at, most } = memory.stop()
  figures(t, { names, answers: tally(answers), 'a second': Math.round(names / seconds), p99: ms(percentile(answers.map((answer) => answer.ms), 0.99)), 'memory in MiB': `${at}, at most ${most}` })
  t.same(tally(answers), { 404: names })
  t.ok(most - at < 150)
  t.equal((await needLogin(ask, token)).status, 200)
  await stop(t, server)
})

t.test('POST /api/v1/login · stored hash with excessive parameters → 500 at once, nothing is computed, and it is logged', async (t) => {
  const folder = temporaryFolder(t)
  const server = startServer(t, folder)
  const ask = clientOf(t, await server.listening)
  await signUp(ask)
  await signUp(ask, { ...bob, username: 'alice' })
  const file = new Database(join(folder, 'data/latchkey.sqlite'))
  const poisons = [`$argon2id$v=19$m=1048576,t=9,p=1$${'a'.repeat(22)}$${'b'.repeat(43)}`, `$argon2id$v=19$m=19456,t=4000000,p=1$${'a'.repeat(22)}$${'b'.repeat(43)}`, `$2b$31$${'a'.repeat(53)}`, 'nonsense']
  const memory = watchMemory(t, server)
  const slowest: number[] = []
  for (const poison of poisons) {
    file.prepare("update users set password_hash = ? where username = 'bob'").run(poison)
    const answers = await Promise.all(times(5).map(() => logIn(ask)))
    t.same(tally(answers), { 500: 5 })
    for (const { body } of answers) t.same(JSON.parse(body), { statusCode: 500, code: 'INTERNAL_SERVER_ERROR', error: 'Internal Server Error', message: 'Internal Server Error' })
    slowest.push(Math.max(...answers.map((answer) => answer.ms)))
  }
  const { before, most } = memory.stop()
  figures(t, { poisons: poisons.length, 'slowest answer': ms(Math.max(...slowest)), 'memory in MiB': `${before}, at most ${most}` })
  t.ok(Math.max(...slowest) < 100)
  t.ok(most - before < 64)
  t.equal((await logIn(ask, { ...bob, username: 'alice' })).status, 200)
  file.close()
  await stop(t, server)
  t.equal(server.output().match(/a stored password hash is not acceptable/g)?.length, 2 * 5 * poisons.length, 'in the message and in the stack')
})

t.test('mostly waiting', { jobs: 3, timeout: 240_000 }, async (t) => {
  t.test('newlines in every input → no forged log line at any level', parallel(), async (t) => {
    const server = startServer(t, temporaryFolder(t), { LOG_LEVEL: 'trace', TRUST_PROXY: '127.0.0.1' })
    const url = await server.listening
    const ask = clientOf(t, url)
    await signUp(ask)
    const forged = '{"level":30,"event":"login","userId":1,"msg":"forged"}'
    for (const newline of ['\n', '\r\n', '\u2028', '\u0085', '\0\n', '\x1b[2K\r']) {
      await logIn(ask, { username: `bob${newline}${forged}`, password: `${newline}${forged}` })
      await logIn(ask, { username: 'bob', password: `${newline}${forged}` })
      await signUp(ask, { username: `bob${newline}${forged}`, password: bob.password, email: `${newline}${forged}` })
      await ask('GET', `/${encodeURIComponent(newline)}${encodeURIComponent(forged)}?${encodeURIComponent(newline + forged)}`)
      await ask('GET', '/need_login', undefined, { authorization: `Bearer ${Buffer.from(newline + forged).toString('base64url')}.x.y`, 'user-agent': forged, 'x-forwarded-for': forged.replaceAll(',', ';'), 'x-request-id': forged })
    }
    for (const head of [`GET / HTTP/1.1\r\nHost: x\r\nX-A: a\n${forged}\r\n\r\n`, `GET /\n${forged} HTTP/1.1\r\nHost: x\r\n\r\n`, `${forged}\r\n\r\n`]) await (await open(url, head)).ended
    await stop(t, server)
    const lines = server.output().trimEnd().split('\n')
    for (const line of lines) {
      const { level, time, pid, hostname, msg, event } = JSON.parse(line)
      if (![level, time, pid].every(Number.isInteger) || typeof hostname !== 'string' || msg === 'forged' || event === 'login') t.fail(line)
    }
    t.notMatch(server.output(), bob.password)
    figures(t, { lines: lines.length, forged: lines.filter((line) => JSON.parse(line).msg === 'forged').length })
  })

  t.test('SIGTERM · logins in flight, one client hangs → they are answered, exit within 10 s', parallel(), async (t) => {
    const server = startServer(t, temporaryFolder(t), { ...unlimited, LOG_LEVEL: 'debug' })
    const url = await server.listening
    const ask = clientOf(t, url)
    await signUp(ask)
    const body = JSON.stringify(bob)
    const inFlight = await Promise.all(times(sized(8, 30)).map(() => open(url, `${loginHead(body.length)}${body}`)))
    const hanging = await open(url, `${loginHead(100)}{"user`)
    while ((server.output().match(/incoming request/g)?.length ?? 0) < inFlight.length + 2) await delay(1)
    const before = performance.now()
    server.child.kill('SIGTERM')
    for (const { ended } of inFlight) t.match(await ended, /^HTTP\/1\.1 200 OK\r\n.*"token":"/s)
    const answered = performance.now() - before
    t.equal(await server.exited, 0)
    const ended = performance.now() - before
    await hanging.ended
    figures(t, { 'in flight': inFlight.length, 'answered after': ms(answered), 'ended after': ms(ended) })
    t.ok(ended < 10_000)
  })

  t.test('slow clients → closed within 15 s with 408; others are served, and 500 idle connections stay open', parallel(), async (t) => {
    const server = startServer(t, temporaryFolder(t))
    const url = await server.listening
    const ask = clientOf(t, url)
    const before = performance.now()
    const kinds = {
      'slow headers': 'GET / HTTP/1.1\r\nHost: localhost\r\nX-A: ',
      'slow body': `${loginHead(1000)}{`,
      'half a chunk': 'POST /api/v1/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{"a',
      'idle from the start': '',
      'slow headers after an answer': 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HTTP/1.1\r\nHost: localhost\r\nX-A: '
    }
    const idle = await Promise.all(times(500).map(() => open(url, 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')))
    const slow = (await Promise.all(Object.entries(kinds).map(async ([name, bytes]) =>
      Promise.all(times(sized(1, 100)).map(async () => ({ name, ...await open(url, bytes) })))))).flat()
    const drip = setInterval(() => {
      for (const { name, socket } of slow) if (name.startsWith('slow') && socket.writable) socket.write('a')
    }, 500)
    const served: Answer[] = []
    const serve = setInterval(async () => { served.push(await ask('GET', '/')) }, 500)
    const closed: Record<string, number> = {}
    await Promise.all(slow.map(async ({ name, ended }) => {
      await ended
      closed[name] = Math.max(closed[name] ?? 0, performance.now() - before)
    }))
    clearInterval(drip)
    clearInterval(serve)
    figures(t, { connections: slow.length, 'closed after': Object.fromEntries(Object.entries(closed).map(([name, time]) => [name, ms(time)])), 'slowest answer to others': ms(Math.max(...served.map((answer) => answer.ms))) })
    for (const [name, time] of Object.entries(closed)) t.ok(time < 15_000, name)
    for (const { name, ended } of slow.filter(({ name }) => name.startsWith('slow'))) t.match(await ended, /HTTP\/1\.1 408 .*"code":"REQUEST_TIMEOUT"/s, name)
    t.same(Object.keys(tally(served)), ['200'])
    t.equal(idle.filter(({ socket }) => socket.readyState === 'open').length, 500, 'connections between two requests stay open')
    for (const { socket } of idle) socket.write('GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')
    for (const { ended } of idle) t.equal((await ended).match(/HTTP\/1\.1 200/g)?.length, 2)
    await stop(t, server)
  })

  t.test('SQLite locked by another process → 503 for writes, 200 for reads, 200 afterwards', parallel(), async (t) => {
    const folder = temporaryFolder(t)
    const server = startServer(t, folder, unlimited)
    const ask = clientOf(t, await server.listening)
    const token = await tokenOf(ask)
    const other = new Database(join(folder, 'data/latchkey.sqlite'))
    other.exec('begin immediate')
    const writes: Answer[] = []
    const reads: Answer[] = []
    await openLoop(20, sized(2, 10), async () => {
      writes.push(await signUp(ask, { ...bob, username: 'alice' }))
      reads.push(await needLogin(ask, token), await ask('GET', '/health/ready'), await ask('GET', '/health/live'))
    })
    other.exec('rollback')
    other.close()
    const before = performance.now()
    while ((await logIn(ask)).status !== 200) await delay(20)
    figures(t, { writes: tally(writes), reads: tally(reads), 'slowest write': ms(Math.max(...writes.map((answer) => answer.ms))), 'p99 of reads': ms(percentile(reads.map((answer) => answer.ms), 0.99)), 'healed after': ms(performance.now() - before) })
    t.same(tally(reads), { 200: reads.length })
    t.same(Object.keys(tally(writes)), ['503'])
    for (const { body, headers } of writes) t.match({ body: JSON.parse(body), retry: headers['retry-after'] }, { body: { statusCode: 503 }, retry: '1' })
    await stop(t, server)
  })

  t.test('startup with a file that is not a database or cannot be written → one line, exit code 1, nothing is changed', parallel(), async (t) => {
    const refusals: Record<string, string> = {}
    const refused = async (name: string, folder: string, line: RegExp, env = {}, wrapper: string[] = []) => {
      const before = performance.now()
      const server = startServer(t, folder, env, '', ['server.ts'], wrapper)
      t.equal(await server.exited, 1, name)
      t.match(server.output(), line)
      t.equal(server.output().trimEnd().split('\n').length, 1, server.output())
      refusals[name] = ms(performance.now() - before)
    }
    const garbage = join(temporaryFolder(t), 'garbage.sqlite')
    writeFileSync(garbage, 'garbage '.repeat(1_000))
    await refused('garbage', temporaryFolder(t), /^latchkey: cannot open the database .*garbage\.sqlite: file is not a database\n$/, { DATABASE_URL: `sqlite:///${garbage}` })
    t.equal(readFileSync(garbage, 'utf8'), 'garbage '.repeat(1_000))
    t.notOk(existsSync(`${garbage}-wal`))

    const folder = temporaryFolder(t)
    mkdirSync(join(folder, 'data'))
    chmodSync(join(folder, 'data'), 0o500)
    // Nothing stops root from writing, but a file system that is read-only.
    const readOnly = process.getuid?.() === 0 ? ['unshare', '--mount', 'sh', '-c', `mount --bind ${folder} ${folder} && mount -o remount,bind,ro ${folder} && cd ${folder} && exec "$0" "$@"`] : []
    if (readOnly.length > 0 && !canMount) t.comment('a read-only folder: skipped, root cannot mount here')
    else await refused('a read-only folder', folder, /^latchkey: cannot open the database data\/latchkey\.sqlite: .*(?:read-?only|permission denied)/, {}, readOnly)
    figures(t, refusals)
  })

  t.test('disk full → 503 for signups, 200 for logins and everything else, also after a restart; 200 afterwards', { ...parallel(), skip: canMount ? false : 'only root can mount a small disk, on Linux' }, async (t) => {
    const folder = temporaryFolder(t)
    const disk = join(folder, 'data')
    mkdirSync(disk)
    // Somebody who keeps the disk while servers come and go.
    const keeper = spawn('unshare', ['--mount', 'sh', '-c', `mount -t tmpfs -o size=64m none ${disk} && echo there && exec sleep 300`])
    t.teardown(() => keeper.kill())
    await once(keeper.stdout, 'data')
    const there = ['--target', String(keeper.pid), '--mount', 'sh', '-c']
    const onDisk = (command: string) => spawnSync('nsenter', [...there, command])
    const start = async () => {
      const server = startServer(t, folder, unlimited, '', ['server.ts'], ['nsenter', ...there, `cd ${folder} && exec "$0" "$@"`])
      return { server, ask: clientOf(t, await server.listening) }
    }
    const first = await start()
    let { ask } = first
    await signUp(ask)
    // Somebody else, whose token does not give way to so many logins.
    const token = await tokenOf(ask, { ...bob, username: 'alice' })
    while (onDisk(`test $(stat -c %s ${disk}/latchkey.sqlite-reserve) = 16777216`).status !== 0) await delay(50)
    t.equal(onDisk(`test $(stat -c %a ${disk}/latchkey.sqlite-reserve) = 600`).status, 0)

    const rounds = async (count: number) => {
      const [signups, logins, others]: Answer[][] = [[], [], []]
      for (const i of times(count)) {
        signups?.push(await signUp(ask, { ...bob, username: `user${count}_${i}` }))
        logins?.push(await logIn(ask))
        others?.push(await needLogin(ask, token), await ask('GET', '/health/live'), await ask('GET', '/health/ready'))
      }
      return { signups: signups ?? [], logins: tally(logins ?? []), others: tally(others ?? []) }
    }
    await stop(t, first.server)
    t.equal(onDisk(`cat /dev/zero > ${disk}/ballast`).status, 1, 'it ends when the disk is full')
    const { server, ...again } = await start()
    ask = again.ask
    const count = sized(60, 1_000)
    const full = await rounds(count)
    figures(t, { signups: tally(full.signups), logins: full.logins, 'token checks and health': full.others })
    t.same({ logins: full.logins, others: full.others }, { logins: { 200: count }, others: { 200: 3 * count } })
    for (const { body, headers } of full.signups) t.match({ body: JSON.parse(body), retry: headers['retry-after'] }, { body: unavailable, retry: '1' })
    t.equal((await logIn(ask, { ...bob, password: 'wrong' })).status, 401)
    t.notOk(onDisk(`test -e ${disk}/latchkey.sqlite-reserve`).status === 0, 'the reserve was given up')

    onDisk(`rm ${disk}/ballast`)
    const before = performance.now()
    while ((await signUp(ask, { ...bob, username: 'carol' })).status !== 200) await delay(20)
    figures(t, { 'healed after': ms(performance.now() - before) })
    t.match(server.output(), /the disk is nearly full/)
    await stop(t, server)
  })
})
