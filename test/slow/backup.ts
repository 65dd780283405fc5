// Long tests of `latchkey backup` and `latchkey restore`: under load, killed, and on a full disk,
// each with the built programs.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import Database from 'better-sqlite3'
import t, { type Test } from 'tap'
import { bob, builtProgram, plainNode, secretKey, type ServerProcess, startServer, temporaryFolder } from '../helper.js'

/** Latchkey without the limits that a generator of load would meet. */
const unlimited = { LOGIN_FAILURES_PER_ADDRESS_MINUTE: '0', LOGIN_FAILURES_PER_ADDRESS_HOUR: '0', LOGINS_PER_ADDRESS_MINUTE: '0', LOGINS_PER_ACCOUNT_MINUTE: '0', SIGNUPS_PER_ADDRESS_HOUR: '0' }

/** Enough rows that copying them takes a moment: some 40 MiB. */
const manyRows = 150_000

/** Writes 500 rows a second, one by one, beside a server; prints one line when it begins, and how many it could not write when standard input ends. */
const writer = `
  const Database = require(${JSON.stringify(join(import.meta.dirname, '../../node_modules/better-sqlite3'))})
  const client = new Database(process.argv[1], { timeout: 250 })
  client.pragma('synchronous = NORMAL')
  const insert = client.prepare("insert into events (time, kind, outcome, source, detail) values (?, 'login', 'success', 'app', 'load')")
  let [written, failed] = [0, 0]
  const start = performance.now()
  setInterval(() => {
    for (; written + failed < (performance.now() - start) / 2;) {
      try { insert.run(Date.now()); written++ } catch (error) { if (!/^SQLITE_BUSY/.test(error.code)) throw error; failed++ }
    }
  }, 5)
  console.log('writing')
  process.stdin.on('data', () => {}).on('end', () => { console.log(JSON.stringify({ written, failed })); process.exit() })`

async function post (url: string, path: string, payload: object): Promise<{ status: number, body: string }> {
  const response = await fetch(`${url}/api/v1/${path}`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(payload) })
  return { status: response.status, body: await response.text() }
}

/** Does something again and again, at least once, until a promise is settled. */
async function repeatUntil (settled: Promise<unknown>, work: (i: number) => Promise<void>): Promise<void> {
  const done = new AbortController()
  settled.finally(() => done.abort()).catch(() => {})
  for (let i = 0; i === 0 || !done.signal.aborted; i++) await work(i)
}

/** Starts the built command line. */
function start (folder: string, args: string[], wrapper: string[] = []) {
  const [program = '', ...before] = [...wrapper, ...builtProgram('cli.ts')]
  const child = spawn(program, [...before, ...args], { cwd: folder, env: { ...process.env, SECRET_KEY: secretKey }, stdio: ['ignore', 'pipe', 'pipe'] })
  const done = Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')]).then(([out, err, [code, signal]]) => ({ out, err, code: code ?? signal }))
  return { child, done }
}

const run = async (folder: string, ...args: string[]) => start(folder, args).done

/** The first value that a query on a file selects. */
function valueOf (file: string, query: string): unknown {
  const client = new Database(file)
  try {
    return client.prepare(query).pluck().get()
  } finally {
    client.close()
  }
}

/** Fills the audit log of a database. */
function fill (file: string): void {
  const client = new Database(file)
  client.exec(`insert into events (time, kind, outcome, source, detail, user_agent) with recursive n (i) as (select 1 union all select i + 1 from n where i < ${manyRows}) select i, 'login', 'success', 'http', 'some text', hex(randomblob(60)) from n`)
  client.close()
}

/** A server with 500 writes a second beside it. */
async function underLoad (t: Test, folder: string) {
  const server = startServer(t, folder, unlimited)
  const url = await server.listening
  const file = join(folder, 'data/latchkey.sqlite')
  fill(file)
  const [program = '', ...args] = plainNode
  const load = spawn(program, [...args, '-e', writer, file], { stdio: ['pipe', 'pipe', 'inherit'] })
  t.teardown(() => load.kill('SIGKILL'))
  await once(load.stdout, 'data')
  const counts = text(load.stdout)
  const endLoad = async (): Promise<{ written: number, failed: number }> => {
    load.stdin.end()
    return JSON.parse(await counts)
  }
  return { server, url, file, endLoad }
}

async function stop (t: Test, { child, exited }: ServerProcess): Promise<void> {
  child.kill('SIGTERM')
  t.equal(await exited, 0)
}

t.test('latchkey backup · 500 writes a second → ends, intact, with every signup answered before it began; no write is lost', { timeout: 300_000 }, async (t) => {
  const folder = temporaryFolder(t)
  const { server, url, file, endLoad } = await underLoad(t, folder)
  for (let round = 0; round < 3; round++) {
    const acknowledged: string[] = []
    for (let i = 0; i < 10; i++) {
      const username = `user-${round}-${i}`
      if ((await post(url, 'signup', { ...bob, username })).status === 200) acknowledged.push(username)
    }
    const target = join(folder, `backup-${round}.sqlite`)
    const backup = start(folder, ['backup', target, '--json'])
    const statuses: number[] = []
    await repeatUntil(backup.done, async (i) => { statuses.push((await post(url, 'signup', { ...bob, username: `during-${round}-${i}` })).status) })
    const { code, out, err } = await backup.done
    t.same({ code, err }, { code: 0, err: '' })
    t.equal(acknowledged.length, 10)
    t.same([...new Set(statuses)], [200], 'the server goes on writing')
    t.equal(valueOf(target, 'pragma integrity_check'), 'ok')
    t.equal(valueOf(target, `select count(*) from users where username in (${acknowledged.map((name) => `'${name}'`).join()})`), 10)
    t.comment(out.trim(), `signups during it: ${statuses.length}`)
  }
  const { written, failed } = await endLoad()
  t.comment({ written, failed })
  t.ok(written > 1_000)
  t.equal(failed, 0, 'no write had to wait longer than the busy timeout')
  await stop(t, server)
  t.equal(valueOf(file, 'pragma integrity_check'), 'ok')
  t.same(readdirSync(folder).filter((name) => name.includes('.part')), [])
})

t.test('latchkey restore · 500 writes a second → the server answers nothing but 503 for a moment, then serves the backup', { timeout: 300_000 }, async (t) => {
  const folder = temporaryFolder(t)
  const { server, url, file, endLoad } = await underLoad(t, folder)
  await post(url, 'signup', bob)
  const { token } = JSON.parse((await post(url, 'login', bob)).body)
  t.match(await run(folder, 'backup', 'b.sqlite'), { code: 0 })
  const restore = start(folder, ['restore', 'b.sqlite', '--yes', '--json'])
  const statuses: Record<number, number> = {}
  const needLogin = async () => (await fetch(`${url}/need_login`, { headers: { authorization: token } })).status
  await repeatUntil(restore.done, async (i) => {
    for (const status of [(await post(url, 'signup', { ...bob, username: `during-${i}` })).status, (await post(url, 'login', bob)).status, await needLogin()]) statuses[status] = (statuses[status] ?? 0) + 1
  })
  t.match(await restore.done, { code: 0, err: '' })
  t.comment(statuses)
  t.same(Object.keys(statuses).filter((status) => !['200', '401', '503'].includes(status)), [])
  while ((await post(url, 'login', bob)).status === 503) await delay(50)
  t.equal(await needLogin(), 401)
  t.equal((await fetch(`${url}/health/ready`)).status, 200)
  t.equal((await post(url, 'login', bob)).status, 200)
  const previous = `${file}-before-restore`
  const { status } = await post(url, 'signup', { ...bob, username: 'afterwards' })
  t.equal(status, 200)
  t.ok(Number(valueOf(file, "select id from users where username = 'afterwards'")) > Number(valueOf(previous, 'select max(id) from users')))
  t.comment(await endLoad())
  await stop(t, server)
  for (const name of [file, previous]) t.equal(valueOf(name, 'pragma integrity_check'), 'ok')
  t.notMatch(server.output(), /will be lost/, 'the files are those that the server has opened')
})

t.test('kill -9 during latchkey backup and restore → no backup under its name or a complete one; the old database or the restored one', { timeout: 500_000 }, async (t) => {
  const folder = temporaryFolder(t)
  const file = join(folder, 'data/latchkey.sqlite')
  t.match(await run(folder, 'migrate'), { code: 0 })
  fill(file)
  t.match(await run(folder, 'backup', 'whole.sqlite'), { code: 0 })
  const insertUser = "insert into users (username, username_key, password_hash, created_at, updated_at) values ('late', 'late', 'x', 1, 1)"
  const before = performance.now()
  t.match(await run(folder, 'backup', 'measured.sqlite'), { code: 0 })
  const backupMs = performance.now() - before
  const seen = { backups: 0, none: 0, old: 0, restored: 0, parts: 0 }
  const rounds = 12
  for (let i = 0; i < rounds; i++) {
    const target = join(folder, 'killed.sqlite')
    const { child, done } = start(folder, ['backup', target])
    await delay(backupMs * (i + 1) / rounds)
    child.kill('SIGKILL')
    await done
    if (readdirSync(folder).some((name) => name.includes('.part'))) seen.parts++
    if (!existsSync(target)) seen.none++
    else {
      seen.backups++
      t.equal(valueOf(target, 'pragma integrity_check'), 'ok')
      rmSync(target)
    }
  }
  t.match(await run(folder, 'backup', 'killed.sqlite'), { code: 0 })
  t.same(readdirSync(folder).filter((name) => name.includes('.part')), [], 'the next run removes what the killed ones have left')

  const restoredAt = performance.now()
  t.match(await run(folder, 'restore', 'whole.sqlite', '--yes'), { code: 0 })
  const restoreMs = performance.now() - restoredAt
  for (let i = 0; i < rounds; i++) {
    const client = new Database(file)
    if (client.prepare('select count(*) from users').pluck().get() === 0) client.exec(insertUser)
    client.close()
    const { child, done } = start(folder, ['restore', 'whole.sqlite', '--yes'])
    await delay(restoreMs * (i + 1) / rounds)
    child.kill('SIGKILL')
    await done
    t.equal(valueOf(file, 'pragma integrity_check'), 'ok')
    if (valueOf(file, 'select count(*) from users') === 1) seen.old++
    else {
      seen.restored++
      t.equal(valueOf(file, "select count(*) from events where kind = 'restore' and id > (select seq from sqlite_sequence where name = 'events') - 1"), 1)
    }
    for (const name of readdirSync(join(folder, 'data'))) if (name.includes('before-restore') && !name.includes('.part')) rmSync(join(folder, 'data', name))
  }
  t.comment(seen)
  t.match(await run(folder, 'restore', 'whole.sqlite', '--yes'), { code: 0 })
  t.equal(valueOf(file, 'pragma integrity_check'), 'ok')
  t.equal(valueOf(file, 'select count(*) from users'), 0)
  t.same(readdirSync(join(folder, 'data')).filter((name) => name.includes('.part')), [])
})

t.test('SIGTERM and SIGINT during latchkey backup → nothing is left, the signal ends it', async (t) => {
  const folder = temporaryFolder(t)
  t.match(await run(folder, 'migrate'), { code: 0 })
  fill(join(folder, 'data/latchkey.sqlite'))
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    const { child, done } = start(folder, ['backup', 'x.sqlite'])
    while (!readdirSync(folder).some((name) => name.includes('.part'))) await delay(2)
    child.kill(signal)
    t.match(await done, { code: signal, out: '', err: '' })
    t.same(readdirSync(folder), ['data'])
  }
})

/** Whether we may give a process a file system of its own. */
const canMount = process.platform === 'linux' && spawnSync('unshare', ['--mount', 'mount', '-t', 'tmpfs', 'none', '/mnt']).status === 0

t.test('a full disk → one line, nothing is left, the database is untouched', { skip: canMount ? false : 'only root can mount a small disk, on Linux' }, async (t) => {
  const folder = temporaryFolder(t)
  const file = join(folder, 'data/latchkey.sqlite')
  t.match(await run(folder, 'migrate'), { code: 0 })
  fill(file)
  const disk = join(folder, 'disk')
  mkdirSync(disk)
  const size = (bytes: number) => ['unshare', '--mount', 'sh', '-c', `mount -t tmpfs -o size=${bytes} none ${disk} && cd ${folder} && "$0" "$@"; code=$?; ls ${disk}; exit $code`]
  const backup = await start(folder, ['backup', 'disk/x.sqlite'], size(8_388_608)).done
  t.match(backup, { code: 1, out: '', err: /^latchkey: cannot back up data\/latchkey\.sqlite to disk\/x\.sqlite: database or disk is full\n$/ })

  // On the disk of the database there is room for the database, but not for what a restore needs.
  t.match(await run(folder, 'backup', 'whole.sqlite'), { code: 0 })
  const bytes = Number(valueOf(file, 'pragma page_count')) * 4_096
  for (const part of [1.5, 2.2, 2.8, 3.2]) {
    const script = `mount -t tmpfs -o size=${Math.round(part * bytes)} none ${disk} && cd ${folder} && cp data/latchkey.sqlite disk/live.sqlite && export DATABASE_URL=sqlite:///disk/live.sqlite && before=$(sha256sum disk/live.sqlite) && "$0" "$@"; code=$?; test "$before" = "$(sha256sum disk/live.sqlite)" && echo untouched; ls ${disk}; exit $code`
    const restore = await start(folder, ['restore', 'whole.sqlite', '--yes'], ['unshare', '--mount', 'sh', '-c', script]).done
    t.comment(part, restore)
    t.match(restore, { code: 1, err: /^latchkey: cannot restore disk\/live\.sqlite from whole\.sqlite: .*full\n$/ })
    t.equal(restore.out, 'untouched\nlive.sqlite\n')
  }
})
