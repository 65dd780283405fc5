import { type ChildProcess, spawn } from 'node:child_process'
import { createHmac } from 'node:crypto'
import { once } from 'node:events'
import fs, { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer, request as requestTo } from 'node:http'
import { syncBuiltinESMExports } from 'node:module'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { FastifyInstance, InjectOptions } from 'fastify'
import type { Test } from 'tap'
import { buildApp, type BuildOptions } from '../src/app.js'
import { servicesOf } from '../src/services.js'
import { loadConfig } from '../src/standalone/config.js'
import { cheapHash } from '../src/testing.js'
import { checkContract } from './contract.js'
import type { TestDatabase } from './databases.js'
import { endWithUs } from './reaper.js'

/** Set by `npm run test:faults`: tests that repeat something do it more often. */
export const isLongRun = process.env.LATCHKEY_TESTS === 'long'

/** Signs the tokens of every test. */
export const secretKey = 'Vt3mQ0u1Zk8yXr5sWb7nLc2dPf4gHj6aTe9iRo'

export const bob = { username: 'bob', password: 'correct horse battery staple' }

type Environment = Record<string, string>

/** Room and time for whatever a test does at once: those that are about the limits set them. */
const roomForTests = {
  HASH_QUEUE: '1000',
  HASH_DEADLINE_MS: '60000',
  LOGIN_FAILURES_PER_ADDRESS_MINUTE: '0',
  LOGIN_FAILURES_PER_ADDRESS_HOUR: '0',
  LOGIN_FAILURES_PER_ACCOUNT: '0',
  LOGINS_PER_ADDRESS_MINUTE: '0',
  LOGINS_PER_ACCOUNT_MINUTE: '0',
  TOKENS_PER_ACCOUNT_HOUR: '0',
  SIGNUPS_PER_ADDRESS_HOUR: '0',
  RESETS_PER_ADDRESS_HOUR: '0'
}

/** The server as it is, on a database in memory; closed when the test ends. Whatever it answers is held to the contract. */
export async function build (t: Test, env: Environment = {}, options: BuildOptions = {}): Promise<FastifyInstance> {
  const config = loadConfig({ DATABASE_URL: 'sqlite://', SECRET_KEY: secretKey, LOG_LEVEL: 'silent', ...roomForTests, ...env })
  const app = await buildApp(config, { hashParameters: cheapHash, ...options })
  checkContract(app)
  t.teardown(() => app.close())
  return app
}

/** The same on a new database of a kind. */
export function buildOn (database: TestDatabase) {
  return async (t: Test, env: Environment = {}, options: BuildOptions = {}) =>
    build(t, { ...env, DATABASE_URL: env.DATABASE_URL ?? await database.create(t) }, options)
}

/** Two servers on one new database of a kind. */
export function pairOn (database: TestDatabase) {
  return async (t: Test) => {
    const env = { DATABASE_URL: await database.create(t, { isShared: true }) }
    return [await build(t, env), await build(t, env)] as const
  }
}

/** A folder of its own, removed when the test ends. */
export function temporaryFolder (t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'latchkey-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

export async function signUp (app: FastifyInstance, account: object = bob) {
  return app.inject({ method: 'POST', url: '/api/v1/signup', payload: account })
}

export async function logIn (app: FastifyInstance, account: object = bob) {
  return app.inject({ method: 'POST', url: '/api/v1/login', payload: account })
}

/** Signs bob up and in; answers his token. */
export async function tokenOf (app: FastifyInstance, account: object = bob): Promise<string> {
  await signUp(app, account)
  return (await logIn(app, account)).json().token
}

export async function needLogin (app: FastifyInstance, authorization: string) {
  return app.inject({ url: '/need_login', headers: { authorization } })
}

type Method = NonNullable<InjectOptions['method']>

/** Sends requests to the API with a token. */
export const as = (app: FastifyInstance, token: string) => (method: Method, url: string, payload?: InjectOptions['payload']) =>
  app.inject({ method, url: `/api/v1${url}`, headers: { authorization: token }, ...payload !== undefined && { payload } })

export async function makeAdmin (app: FastifyInstance, username: string): Promise<void> {
  const user = await servicesOf(app).users.find(username)
  await servicesOf(app).roles.grant(Number(user?.id), 'admin')
}

/** Waits for a condition, for as long as a very slow machine could need. */
export async function until (condition: () => unknown, deadlineMs = 60_000): Promise<void> {
  const end = performance.now() + deadlineMs
  while (!await condition()) {
    if (performance.now() > end) throw new Error(`${condition} did not come true within ${deadlineMs} ms`)
    await delay(5)
  }
}

/** What no body of a response may say. */
export const internals = /stack|node_modules|\.ts:|sqlite|postgres|relation|select |insert |argon2|drizzle|fast-jwt|fastify|SyntaxError/i

const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')

/** Signs a token as we do, with whatever claims. */
export function signToken (claims: object, key = secretKey): string {
  const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(claims)}`
  return `${signed}.${createHmac('sha256', key).update(signed).digest('base64url')}`
}

/** What a token says, whoever signed it. */
export const claimsOf = (token: string) => JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString())

/** A server process and what it has printed so far. */
export interface ServerProcess {
  child: ChildProcess
  output: () => string
  /** Resolves with the base URL when the server listens. */
  listening: Promise<string>
  /** Resolves with the exit code, or the signal that ended it. */
  exited: Promise<number | string>
}

/** Node without what the test runner sets for its own processes: programs run as anybody would run them. */
export const plainNode = ['env', '-u', 'NODE_OPTIONS', '-u', 'NODE_V8_COVERAGE', process.execPath] as const

/** The command that runs a built program, `server.ts` or `cli.ts`, or the file of an absolute path. `prelude` is code that runs in the process first. */
export function builtProgram (name: string, prelude = ''): string[] {
  const file = resolve(import.meta.dirname, '../dist', name.replace('.ts', '.cjs'))
  if (!existsSync(file)) throw new Error(`${file} is not there: npm run build`)
  const imports = prelude === '' ? [] : [`--import=data:text/javascript,${encodeURIComponent(prelude)}`]
  return [...plainNode, ...imports, file]
}

/**
 * The built server as a process of its own, in `folder`, on a free port; killed when the test
 * ends. `prelude` is code that runs in it first; `wrapper` is a command that runs it.
 */
export function startServer (t: Test, folder: string, env: Record<string, string | undefined> = {}, prelude = '', command = ['server.ts'], wrapper: string[] = []): ServerProcess {
  const [name = '', ...args] = command
  const [program = '', ...before] = [...wrapper, ...builtProgram(name, prelude)]
  const child = spawn(program, [...before, ...args], {
    cwd: folder,
    env: { ...process.env, HOST: '127.0.0.1', PORT: '0', SECRET_KEY: secretKey, ...env },
    stdio: ['ignore', 'pipe', 'pipe']
  })
  const hasEnded = endWithUs(child.pid)
  let printed = ''
  const exited = new Promise<number | string>((resolve) => child.on('exit', (code, signal) => {
    hasEnded()
    resolve(code ?? signal ?? 'unknown')
  }))
  const listening = new Promise<string>((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => {
        printed += text
        const url = /listens at (http:\S+)/.exec(printed)?.[1]
        if (url !== undefined) resolve(url)
      })
    }
    child.on('exit', () => reject(new Error(printed)))
  })
  listening.catch(() => {})
  t.teardown(async () => {
    child.kill('SIGKILL')
    await exited
  })
  return { child, output: () => printed, listening, exited }
}

/** A connection to a server, and what came back until it ended. */
export async function open (url: string, bytes: string): Promise<{ socket: Socket, ended: Promise<string> }> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  await once(socket, 'connect')
  let answer = ''
  socket.setEncoding('utf8').on('data', (text) => { answer += text }).on('error', () => {})
  const ended = new Promise<string>((resolve) => socket.on('close', () => resolve(answer)))
  socket.write(bytes)
  return { socket, ended }
}

/** A reverse proxy that serves an app below a path, as nginx does with `location /auth/ { proxy_pass …/; }`. */
export async function proxyBelow (t: Test, path: string, target: string): Promise<string> {
  const proxy = createServer((request, response) => {
    if (request.url?.startsWith(path) !== true) return response.writeHead(418).end()
    const { method, headers } = request
    const passed = requestTo(`${target}/${request.url.slice(path.length)}`, { method, headers }, (answer) => answer.pipe(response.writeHead(Number(answer.statusCode), answer.headers)))
    return request.pipe(passed)
  })
  t.teardown(() => proxy.close())
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${Object(proxy.address()).port}`
}

/** What comes before the body of a login. */
export const loginHead = (length: number) => `POST /api/v1/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n\r\n`

/** What is normalized until the test ends: how long it was, and whether that changed it. */
export function watchNormalization (t: Test): Array<{ units: number, hasChanged: boolean }> {
  const { prototype } = String
  const { normalize } = prototype
  const seen: Array<{ units: number, hasChanged: boolean }> = []
  t.teardown(() => { Object.assign(prototype, { normalize }) })
  Object.assign(prototype, {
    normalize (this: string, form: string) {
      const normalized = normalize.call(this, form)
      seen.push({ units: this.length, hasChanged: normalized !== String(this) })
      return normalized
    }
  })
  return seen
}

/** Takes long to normalize, because each mark is moved past many others. Two of them are a body that is read. */
export const costlyToNormalize = `a${'\u0345'.repeat(1_500)}${'\u0334'.repeat(1_500)}`

/** Whether the tests run as root, who can be somebody else for a while. */
export const isRoot = process.geteuid?.() === 0

/** A user who owns nothing and is in no group of ours. */
export const stranger = 65_534

/** Does something as another user: what it does must be done when it returns. Only root can. */
export async function asStranger (work: () => void | Promise<void>): Promise<void> {
  process.seteuid?.(stranger)
  try {
    await work()
  } finally {
    process.seteuid?.(0)
  }
}

/** Has every disk look nearly full, until the test ends. */
export function fillDisks (t: Test): void {
  const { statfsSync } = fs
  const set = (looked: object) => {
    Object.assign(fs, looked)
    syncBuiltinESMExports()
  }
  t.teardown(() => set({ statfsSync }))
  set({ statfsSync: () => ({ bavail: 1_000, bsize: 4_096 }) })
}
