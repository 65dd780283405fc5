// What takes a bounded time, and what takes as long as something else: with the real cost of a
// hash, and with bounds that a busy machine keeps. Run by `npm run test:faults`.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import * as argon2 from '@node-rs/argon2'
import * as bcrypt from '@node-rs/bcrypt'
import Database from 'better-sqlite3'
import t from 'tap'
import { recommendedParameters } from '../../src/plugins/passwords/argon2-hash.js'
import { servicesOf } from '../../src/services.js'
import { loadConfig } from '../../src/standalone/config.js'
import { asUser } from '../../src/testing.js'
import { databases } from '../databases.js'
import { forgedTokens } from '../forged-tokens.js'
import { bob, build, buildOn, logIn, needLogin, plainNode, signUp, temporaryFolder, tokenOf } from '../helper.js'

/** The CPU time that work takes, in milliseconds. */
async function cpuMs (work: () => Promise<unknown>): Promise<number> {
  const before = process.cpuUsage()
  await work()
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1_000
}

t.test('GET /need_login · forged and malformed tokens → 401 within 100 ms of CPU time', async (t) => {
  const app = await build(t)
  for (const [name, authorization] of Object.entries(forgedTokens(await tokenOf(app)))) {
    const times: number[] = []
    // The least of several: garbage collection and whatever else only add.
    for (let i = 0; i < 3; i++) times.push(await cpuMs(async () => { t.equal((await needLogin(app, authorization)).statusCode, 401, name) }))
    t.ok(Math.min(...times) < 100, `${name}: ${times} ms`)
  }
})

t.test('POST /api/v1/login · LOGIN_ERRORS=uniform, unknown username → the same CPU time as for a known one', async (t) => {
  const app = await build(t, { LOGIN_ERRORS: 'uniform' }, { hashParameters: { memoryCost: 65_536, timeCost: 3, parallelism: 1 } })
  await signUp(app)
  const cost = (username: string) => cpuMs(() => Promise.all(Array.from({ length: 3 }, () => logIn(app, { username, password: 'wrong password' }))))
  // In turns, and the least of each: whatever else the machine does only adds.
  const costs: Record<'nobody' | 'bob', number[]> = { nobody: [], bob: [] }
  for (let round = 0; round < 3; round++) {
    for (const username of ['nobody', 'bob'] as const) costs[username].push(await cost(username))
  }
  const ratio = Math.min(...costs.nobody) / Math.min(...costs.bob)
  t.ok(ratio > 0.5 && ratio < 2, `ratio of CPU time ${ratio.toFixed(2)}`)
})

t.test('POST /api/v1/login · LOGIN_ERRORS=uniform, wrong password → the same time whatever the stored hash costs', async (t) => {
  const app = await build(t, { LOGIN_ERRORS: 'uniform', HASH_CONCURRENCY: '1' }, { hashParameters: recommendedParameters })
  const hashes = {
    strong: await argon2.hash(bob.password, { memoryCost: 65_536, timeCost: 3, parallelism: 4 }),
    weak: await argon2.hash(bob.password, { memoryCost: 4_096, timeCost: 1, parallelism: 1 }),
    bcrypt: await bcrypt.hash(bob.password, 10)
  }
  for (const [username, passwordHash] of Object.entries(hashes)) await servicesOf(app).users.create({ username, email: null, passwordHash })
  const times: Record<string, number[]> = {}
  for (let i = 0; i < 3; i++) {
    for (const username of [...Object.keys(hashes), 'nobody']) {
      const before = performance.now()
      t.equal((await logIn(app, { username, password: 'wrong password' })).statusCode, 401)
      times[username] = [...times[username] ?? [], performance.now() - before]
    }
  }
  const medians = Object.entries(times).map(([username, some]) => [username, Number(some.sort((a, b) => a - b)[1])] as const)
  const all = medians.map(([, ms]) => ms)
  t.ok(Math.max(...all) / Math.min(...all) < 2, JSON.stringify(medians))
  t.ok(Math.min(...Object.values(times).flat()) > 395)
})

t.test('POST /api/v1/login · stored hash with excessive parameters → 500 within 500 ms of CPU time', async (t) => {
  for (const database of databases) {
    const app = await buildOn(database)(t)
    await signUp(app)
    await servicesOf(app).store.db.update(servicesOf(app).store.tables.users).set({ passwordHash: `$argon2id$v=19$m=1048576,t=9,p=1$${'a'.repeat(22)}$${'b'.repeat(43)}` })
    t.ok(await cpuMs(async () => { t.equal((await logIn(app)).statusCode, 500) }) < 500, 'a gigabyte and nine passes would take seconds')
  }
})

t.test('SECRET_KEY · 800 kB that repeat → rejected within 5 s', async (t) => {
  const before = performance.now()
  t.throws(() => loadConfig({ SECRET_KEY: 'abcdefgh'.repeat(100_000) }), { message: /^SECRET_KEY must be/ })
  t.ok(performance.now() - before < 5_000)
})

t.test('SQLite locked by another process · writes → 503 within a second each; 40 in parallel → within 5 s, reads within 2 s', async (t) => {
  const file = join(temporaryFolder(t), 'latchkey.sqlite')
  const app = await build(t, { DATABASE_URL: `sqlite:///${file}` })
  const token = await tokenOf(app)
  const other = new Database(file)
  t.teardown(() => other.close())
  other.exec('begin immediate')
  const start = performance.now()
  for (const response of [await signUp(app, { ...bob, username: 'alice' }), await logIn(app)]) t.equal(response.statusCode, 503)
  t.ok(performance.now() - start < 2_000)

  const before = performance.now()
  const writes = Promise.all(Array.from({ length: 40 }, (_, i) => signUp(app, { ...bob, username: `bob${i}` })))
  t.equal((await needLogin(app, token)).statusCode, 200)
  const read = performance.now() - before
  for (const { statusCode } of await writes) t.equal(statusCode, 503)
  t.ok(performance.now() - before < 5_000, 'one after the other they would take ten seconds')
  t.ok(read < 2_000, `${Math.round(read)} ms`)
  other.exec('rollback')
})

t.test('tokens.revokeAll, roles.revoke, users.delete · SQLite, another process writes all the time → none fails', async (t) => {
  const [sqlite] = databases
  const [program = '', ...args] = plainNode
  const url = await sqlite.create(t, { isShared: true })
  const app = await buildOn(sqlite)(t, { DATABASE_URL: url })
  const { user } = await asUser(app, 'bob')
  const writing = spawn(program, [...args, '-e', `
    const client = new (require('better-sqlite3'))(process.argv[1], { timeout: 10_000 })
    client.pragma('synchronous = FULL')
    const hold = new Int32Array(new SharedArrayBuffer(4))
    process.stdout.write('ready')
    for (;;) {
      client.exec("begin immediate; update roles set description = 'x'")
      Atomics.wait(hold, 0, 0, 300)
      client.exec('commit')
      Atomics.wait(hold, 0, 0, 10)
    }`, url.replace('sqlite:///', '')], { cwd: import.meta.dirname, stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => writing.kill('SIGKILL'))
  await once(writing.stdout, 'data')
  const fails: string[] = []
  const attempt = async (name: string, work: () => Promise<unknown>) => work().catch((error) => { fails.push(`${name}: ${error.cause ?? error}`) })
  for (let i = 0; i < 4; i++) {
    await attempt('revokeAll', () => servicesOf(app).tokens.revokeAll(user.id))
    await attempt('revoke', () => servicesOf(app).tokens.revoke(user.id, '4e808214-e320-4173-bb6c-b75fbdd51003'))
    await attempt('role', () => servicesOf(app).roles.revoke(user.id, 'editor'))
    await attempt('password', () => servicesOf(app).users.replacePassword(user.id, 'x'))
  }
  await attempt('delete', () => servicesOf(app).users.delete(user.id))
  t.same(fails, [])
  t.equal(await servicesOf(app).users.find('bob'), undefined)
})
