import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join, resolve } from 'node:path'
import { text } from 'node:stream/consumers'
import Database from 'better-sqlite3'
import t from 'tap'
import { bob, loginHead, open, plainNode, secretKey, type ServerProcess, startServer, temporaryFolder, until } from './helper.js'
import { openStore } from './postgres-server.js'

// They mostly wait.
t.jobs = 3

const post = (url: string, body: object) =>
  fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })

/** How many requests a server has logged, at debug. */
const requestsOf = (server: ServerProcess) => server.output().match(/incoming request/g)?.length ?? 0

t.test('first start · creates data and .env for the owner only; after a restart tokens are valid', { buffered: true }, async (t) => {
  const folder = temporaryFolder(t)
  const first = startServer(t, folder, { SECRET_KEY: undefined })
  const url = await first.listening
  t.match(first.output(), /there was no SECRET_KEY: a new one was made and kept in \.env/)
  t.match(first.output(), `Latchkey listens at ${url} · docs at ${url}/docs`)
  for (const line of first.output().trim().split('\n')) t.type(JSON.parse(line).msg, 'string', 'logs are JSON, a line each')
  t.equal(statSync(join(folder, '.env')).mode & 0o777, 0o600)
  t.equal(statSync(join(folder, 'data')).mode & 0o777, 0o700)
  t.equal(statSync(join(folder, 'data/latchkey.sqlite')).mode & 0o777, 0o600)
  await post(`${url}/api/v1/signup`, bob)
  const { token } = JSON.parse(await (await post(`${url}/api/v1/login`, bob)).text())
  first.child.kill('SIGTERM')
  t.equal(await first.exited, 0)

  const second = startServer(t, folder, { SECRET_KEY: undefined })
  const answer = await fetch(`${await second.listening}/need_login`, { headers: { authorization: token } })
  t.equal(answer.status, 200)
  t.notMatch(second.output(), /SECRET_KEY/)
  second.child.kill('SIGINT')
  t.equal(await second.exited, 0)
})

t.test('.env with secrets that others can read · one warning in the log', { buffered: true }, async (t) => {
  const folder = temporaryFolder(t)
  writeFileSync(join(folder, '.env'), `SECRET_KEY=${secretKey}\n`, { mode: 0o644 })
  const server = startServer(t, folder, { SECRET_KEY: undefined })
  await server.listening
  const warnings = server.output().trim().split('\n').map((line) => JSON.parse(line)).filter(({ level }) => level === 40)
  t.match(warnings, [{ msg: 'other users of this machine can read or change .env, which contains SECRET_KEY: run chmod 600 .env' }])
  t.equal(warnings.length, 1)
  t.notMatch(server.output(), secretKey)
  server.child.kill('SIGTERM')
  t.equal(await server.exited, 0)
})

t.test('SIGTERM · requests in flight are answered with Connection: close, new connections are refused, exit code 0', { buffered: true }, async (t) => {
  const server = startServer(t, temporaryFolder(t), { LOG_LEVEL: 'debug' })
  const url = await server.listening
  await post(`${url}/api/v1/signup`, bob)
  const body = JSON.stringify(bob)
  const inFlight = await Promise.all(Array.from({ length: 4 }, () => open(url, `${loginHead(body.length)}${body}`)))
  const unfinished = await open(url, `${loginHead(body.length)}${body.slice(0, 10)}`)
  await until(() => requestsOf(server) === 6)
  server.child.kill('SIGTERM')
  server.child.kill('SIGTERM')
  await until(() => server.output().includes('closing: '))
  server.child.kill('SIGINT')
  await until(() => fetch(url).then(() => false, () => true))
  t.pass('no new connection')
  unfinished.socket.write(body.slice(10))
  for (const { ended } of [...inFlight, unfinished]) {
    const answer = await ended
    t.match(answer, /^HTTP\/1\.1 200 OK\r\n/)
    t.match(answer, /"token":"/)
  }
  t.match(await unfinished.ended, /\r\nconnection: close\r\n/i)
  t.equal(await server.exited, 0)
  t.equal(server.output().match(/"msg":"closed"/g)?.length, 1, 'one shutdown')
})

t.test('exception while closing · exit code 1', { buffered: true }, async (t) => {
  const server = startServer(t, temporaryFolder(t), { LOG_LEVEL: 'debug' }, 'process.on("SIGUSR2", () => { throw new Error("a failure") })')
  const { socket } = await open(await server.listening, `${loginHead(100)}{"user`)
  await until(() => requestsOf(server) === 1)
  server.child.kill('SIGTERM')
  await until(() => server.output().includes('closing: '))
  server.child.kill('SIGUSR2')
  await until(() => server.output().includes('uncaught exception'))
  socket.destroy()
  t.equal(await server.exited, 1)
})

t.test('close fails · logged, exit code 1', { buffered: true }, async (t) => {
  const server = startServer(t, temporaryFolder(t), {}, 'globalThis.clearInterval = () => { throw new Error("a failure") }')
  await server.listening
  server.child.kill('SIGTERM')
  t.equal(await server.exited, 1)
  t.match(server.output(), /closing failed/)
})

t.test('close hangs · exit code 1', { buffered: true }, async (t) => {
  const server = startServer(t, temporaryFolder(t), { LOG_LEVEL: 'debug' }, 'import { Server } from "node:http"; Server.prototype.closeAllConnections = () => {}')
  await open(await server.listening, `${loginHead(100)}{"user`)
  await until(() => requestsOf(server) === 1)
  server.child.kill('SIGTERM')
  t.equal(await server.exited, 1)
})

t.test('uncaught exception · logged; requests in flight are answered, exit code 1', { buffered: true }, async (t) => {
  for (const failure of ['throw new Error("a failure")', 'Promise.reject(new Error("a failure"))']) {
    const server = startServer(t, temporaryFolder(t), { LOG_LEVEL: 'debug' }, `process.on('SIGUSR2', () => { ${failure} })`)
    const url = await server.listening
    await post(`${url}/api/v1/signup`, bob)
    const body = JSON.stringify(bob)
    const { ended } = await open(url, `${loginHead(body.length)}${body}`)
    await until(() => requestsOf(server) === 2)
    server.child.kill('SIGUSR2')
    t.match(await ended, /^HTTP\/1\.1 200 OK/)
    t.equal(await server.exited, 1)
    t.match(server.output(), /"level":60.*a failure/)
  }
})

t.test('terminal · the log is written for people', { buffered: true }, async (t) => {
  const server = startServer(t, temporaryFolder(t), {}, 'process.stdout.isTTY = true')
  await server.listening
  t.match(server.output(), /\[\d\d:\d\d:\d\d\.\d{3}\].*INFO.*Latchkey listens at/)
  server.child.kill('SIGTERM')
  t.equal(await server.exited, 0)
})

t.test('startup fails · one line, exit code 1, nothing is changed', { buffered: true }, async (t) => {
  const refused = async (env: Record<string, string>, line: RegExp, folder = temporaryFolder(t), ...otherLines: RegExp[]) => {
    const server = startServer(t, folder, env)
    t.equal(await server.exited, 1)
    const [first, ...others] = server.output().trimEnd().split('\n')
    t.match(first, line)
    t.match(others, otherLines)
    t.equal(others.length, otherLines.length)
  }

  const other = createServer().listen(0, '127.0.0.1')
  await once(other, 'listening')
  const address = other.address()
  const port = typeof address === 'object' ? String(address?.port) : ''

  const folder = temporaryFolder(t)
  const file = join(folder, 'garbage.sqlite')
  writeFileSync(file, 'garbage '.repeat(100))

  await Promise.all([
    refused({ PORT: 'http', SIGNUP: 'maybe', SECRET_KEY: 'short' }, /^latchkey: PORT must be an integer from 0 to 65535, not "http"$/, temporaryFolder(t), /^latchkey: SECRET_KEY must be .*$/, /^latchkey: SIGNUP must be open, invite or closed, not "maybe"$/),
    refused({ PORT: port }, new RegExp(`^latchkey: cannot listen: port ${port} on 127\\.0\\.0\\.1 is in use$`)),
    refused({ HOST: '192.0.2.1' }, /^latchkey: cannot listen: this machine does not have the address: 192\.0\.2\.1 port 0$/),
    refused({ HOST: 'no host' }, /^latchkey: cannot listen: (?:the host name|invalid|unknown node).*: no host$/),
    refused({ DATABASE_URL: 'sqlite:///garbage.sqlite' }, /^latchkey: cannot open the database garbage\.sqlite: file is not a database$/, folder),
    refused({ DATABASE_URL: 'sqlite:////dev/null/latchkey.sqlite' }, /^latchkey: cannot open the database \/dev\/null\/latchkey\.sqlite: [a-z ]+$/),
    refused({ DATABASE_URL: 'postgres://bob:secret@127.0.0.1:1/latchkey' }, /^latchkey: cannot open the database postgres:\/\/127\.0\.0\.1:1\/latchkey: connection refused$/)
  ])
  other.close()
  t.equal(readFileSync(file, 'utf8'), 'garbage '.repeat(100))
  t.notOk(existsSync(`${file}-wal`))
})

t.test('bug in startup · stack, exit code 1', { buffered: true }, async (t) => {
  const server = startServer(t, temporaryFolder(t), {}, 'Object.defineProperty(process.stdout, "isTTY", { get () { throw new Error("a failure") } })')
  t.equal(await server.exited, 1)
  t.match(server.output(), /^latchkey: Error: a failure\n +at /)
})

t.test('startup · disk full during the migration → it is repeated', { buffered: true }, async (t) => {
  const prototype = Object.getPrototypeOf(new Database(':memory:').prepare('create table x (y)'))
  const { run } = prototype
  t.teardown(() => Object.assign(prototype, { run }))
  let isFull = true
  prototype.run = function (...args: unknown[]) {
    if (!isFull) return Reflect.apply(run, this, args)
    isFull = false
    throw Object.assign(new Error('database or disk is full'), { code: 'SQLITE_FULL' })
  }
  const store = await openStore(`sqlite:///${join(temporaryFolder(t), 'latchkey.sqlite')}`)
  t.notOk(isFull)
  await store.ping()
  await store.close()
})

t.test('startup · PostgreSQL without the package pg → one line, exit code 1', { buffered: true }, async (t) => {
  const hooks = 'export async function resolve (name, context, next) { if (name === "pg") throw Object.assign(new Error("not found"), { code: "ERR_MODULE_NOT_FOUND" }); return next(name, context) }'
  const prelude = `import { register } from 'node:module'; register('data:text/javascript,${encodeURIComponent(hooks)}')`
  // From the source: nothing in this process can do without a package that it has loaded.
  const child = spawn(process.execPath, [`--import=${join(import.meta.dirname, 'typescript.js')}`, `--import=data:text/javascript,${encodeURIComponent(prelude)}`, '--input-type=module', `--eval=const { run } = await import(${JSON.stringify(join(import.meta.dirname, '../src/commands/index.ts'))}); process.exitCode = await run(['migrate'], process)`], {
    cwd: temporaryFolder(t),
    env: { ...process.env, SECRET_KEY: secretKey, DATABASE_URL: 'postgres://localhost/latchkey' },
    stdio: ['ignore', 'ignore', 'pipe']
  })
  const [problem, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')])
  t.equal(problem, 'latchkey: PostgreSQL needs the package pg (npm install pg): not found\n')
  t.equal(code, 1)
})

t.test('thread pool · one thread for each processor and one more, or UV_THREADPOOL_SIZE', { skip: process.platform === 'linux' ? false : 'only Linux counts threads in /proc' }, async (t) => {
  const folder = temporaryFolder(t)
  writeFileSync(join(folder, 'eight.cjs'), "require('node:os').availableParallelism = () => 8")
  const count = async (env: Record<string, string>) => {
    const [program, ...args] = plainNode
    const child = spawn(program, [...args, '--require', './eight.cjs', resolve('dist/server.cjs')], { cwd: folder, env: { PATH: process.env.PATH, SECRET_KEY: secretKey, PORT: '0', DATABASE_URL: 'sqlite://', ...env }, stdio: ['ignore', 'pipe', 'inherit'] })
    const [printed] = await once(child.stdout, 'data')
    // The pool starts with its first work: a password hash.
    const signup = await fetch(`${/http:[\w/.:]+\d/.exec(String(printed))?.[0]}/api/v1/signup`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(bob) })
    t.equal(signup.status, 200)
    const threads = readdirSync(`/proc/${child.pid}/task`).length
    child.kill('SIGKILL')
    await once(child, 'exit')
    return threads
  }
  const four = await count({ UV_THREADPOOL_SIZE: '4' })
  t.equal(await count({}) - four, 5)
  t.equal(await count({ UV_THREADPOOL_SIZE: '' }) - four, 5)
  t.equal(await count({ UV_THREADPOOL_SIZE: '6' }) - four, 2)
})
