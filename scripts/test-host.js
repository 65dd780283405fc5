// Installs the package beside the oldest Fastify that package.json promises, and compiles and
// runs a host app there: with decorators of its own under the names of our services, and
// without skipLibCheck. Needs the registry.
import { execFileSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const { devDependencies, peerDependencies } = JSON.parse(readFileSync('package.json', 'utf8'))
const oldestFastify = peerDependencies.fastify.replace('^', '')
const compilerOptions = { target: 'ES2023', module: 'NodeNext', strict: true, skipLibCheck: false, types: ['node'] }

const host = `
import Fastify, { type FastifyPluginAsync, type FastifyPluginCallback } from 'fastify'
import { pino } from 'pino'
import latchkey, { type AuditEvent, type ErrorCode, type LatchkeyOptions, type User, UsernameTaken } from 'latchkey'
import { createClient } from 'latchkey/client'
import { asUser, testLatchkey, testOptions } from 'latchkey/testing'

declare module 'fastify' {
  interface FastifyInstance { store: 1, users: 'the host', roles: 2, tokens: 3, audit: 4, events: 5, throttle: 6, loginFailures: 7, passwords: 8, accessTokens: 9, metrics: 10 }
}

const app = Fastify()
app.decorate('users', 'the host')
const options: LatchkeyOptions = testOptions()
await app.register(latchkey, options)
app.get('/mine', { preHandler: [app.authenticate] }, async (request) => request.currentUser.username)
app.get('/editors', { preHandler: [app.requireRole('editor')] }, async (request) => request.currentRoles.join())

const { users, roles, tokens, audit, ping } = app.latchkey
const bob: User = await users.create({ username: 'bob', password: 'correct horse battery staple' })
const taken = await users.create({ username: 'BOB', password: 'correct horse battery staple' }).catch((error: unknown) => error)
const code: ErrorCode = 'USERNAME_TAKEN'
if (!(taken instanceof UsernameTaken) || taken.code !== code) throw new Error('another error than USERNAME_TAKEN')
await roles.create({ name: 'editor', description: 'May edit.' })
await roles.grant(bob.id, 'editor')
const { token } = await tokens.issue(bob.id, { description: 'a script' })
for (const [url, body] of [['/mine', 'bob'], ['/editors', 'editor']] as const) {
  const answer = await app.inject({ url, headers: { authorization: 'Bearer ' + token } })
  if (answer.body !== body) throw new Error(url + ': ' + answer.body)
}
const events: AuditEvent[] = await audit.list({ userId: bob.id }, 10)
if (events.length !== 3) throw new Error(events.length + ' events')
await ping()
await app.close()

const kit = await testLatchkey((app) => { app.get('/open', { preHandler: [app.authenticateWithRoles] }, async () => 'open') })
if ((await (await kit.asUser('alice')).inject('/open')).body !== 'open') throw new Error('the test kit does not work')
await kit.app.close()

// Guards and the test kit fit apps of every type.
const http2 = Fastify({ http2: true })
const logged = Fastify({ loggerInstance: pino({ level: 'silent' }) })
await http2.register(latchkey, testOptions())
await logged.register(latchkey, testOptions())
http2.get('/mine', { preHandler: [http2.authenticate] }, async (request) => request.currentUser.username)
http2.get('/editors', { onRequest: [http2.requireRole('editor')] }, async (request) => request.currentUser.username)
http2.addHook('preValidation', http2.authenticateWithRoles)
logged.get('/mine', { preHandler: [logged.authenticate] }, async (request) => request.currentUser.username)
logged.get('/editors', { onRequest: [logged.requireRole('editor')] }, async (request) => request.currentUser.username)
logged.addHook('preValidation', logged.authenticateWithRoles)
for (const user of [await asUser(http2, 'bob', { roles: ['editor'] }), await asUser(logged, 'bob', { roles: ['editor'] })]) {
  for (const url of ['/mine', '/editors']) if ((await user.inject(url)).body !== 'bob') throw new Error('a guard does not work on ' + url)
}
await Promise.all([http2.close(), logged.close()])

const greet: FastifyPluginAsync<{ greeting: string }> = async (app, { greeting }) => { app.get('/greeting', async () => greeting) }
const callBack: FastifyPluginCallback<{ greeting: string }> = (app, { greeting }, done) => {
  app.get('/greeting', async () => greeting)
  done()
}
const plain: FastifyPluginAsync = async (app) => { app.get('/greeting', async () => 'hello') }
for (const made of [testLatchkey(greet, {}, { greeting: 'hello' }), testLatchkey(callBack, {}, { greeting: 'hello' }), testLatchkey(plain), testLatchkey((app) => app.register(greet, { greeting: 'hello' }))]) {
  const { app } = await made
  if ((await app.inject('/greeting')).body !== 'hello') throw new Error('the test kit does not register plugins')
  await app.close()
}
if (createClient({ baseUrl: 'http://localhost' }).token !== undefined) throw new Error('a client has a token')
`

const folder = mkdtempSync(join(tmpdir(), 'latchkey-host-'))
const run = (command, args, cwd = folder) => execFileSync(command, args, { cwd, stdio: ['ignore', 'pipe', 'inherit'], encoding: 'utf8' })

try {
  const [{ filename }] = JSON.parse(run('npm', ['pack', '--json', '--silent', '--pack-destination', folder], '.'))
  writeFileSync(join(folder, 'package.json'), '{ "private": true, "type": "module" }')
  writeFileSync(join(folder, 'host.ts'), host)
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['host.ts'] }))
  // SQLite was compiled for this checkout already; to compile it again would take a minute.
  run('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel', 'error', join(folder, filename), `fastify@${oldestFastify}`, `typescript@${devDependencies.typescript}`, `@types/node@${devDependencies['@types/node']}`])
  cpSync('node_modules/better-sqlite3/build', join(folder, 'node_modules/better-sqlite3/build'), { recursive: true })

  const { version } = JSON.parse(readFileSync(join(folder, 'node_modules/fastify/package.json'), 'utf8'))
  if (version !== oldestFastify) throw new Error(`Fastify ${version} was installed, not ${oldestFastify}`)
  const files = run('npx', ['tsc', '--listFiles'])
  const drizzle = files.split('\n').filter((name) => name.includes('/drizzle-orm/'))
  if (drizzle.length > 0) throw new Error(`the public types lead to drizzle: ${drizzle[0]}`)
  run(process.execPath, ['host.js'])
  console.log(`a host on Fastify ${version} compiles without skipLibCheck, and runs`)
} finally {
  rmSync(folder, { recursive: true, force: true })
}
