// What is in deploy/ and the Dockerfile, and updates of the program.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { join, resolve } from 'node:path'
import Database from 'better-sqlite3'
import t, { type Test } from 'tap'
import { parse } from 'yaml'
import { commandLine, refused } from './command-line.js'
import { databases, openStore, withClient } from './databases.js'
import { freePort } from './free-port.js'
import { isRoot, secretKey, startServer, temporaryFolder, until } from './helper.js'
import { startServers } from './nginx.js'
import { endWithUs } from './reaper.js'

// They mostly wait.
t.jobs = 3

const root = resolve(import.meta.dirname, '..')
const read = (name: string) => readFileSync(join(root, name), 'utf8')
/** Whether a program is installed; otherwise why a test is skipped. */
const without = (program: string, args: string[]) => spawnSync(program, args).status === 0 ? false : `${program} is not installed`

t.test('docs/deployment.md · shows the files of deploy/ as they are', async (t) => {
  const blocks = [...read('docs/deployment.md').matchAll(/^```\w+\n([^]*?)^```$/gm)].map(([, block = '']) => block)
  for (const name of ['deploy/latchkey.service', 'deploy/nginx.conf', 'deploy/Caddyfile']) t.ok(blocks.includes(read(name)), name)
  for (const name of readdirSync(join(root, 'deploy'))) t.match(read('docs/deployment.md'), `deploy/${name}`)
})

t.test('deploy/latchkey.service · systemd accepts it, and it is hardened', { skip: without('systemd-analyze', ['--version']) }, async (t) => {
  const file = join(temporaryFolder(t), 'latchkey.service')
  writeFileSync(file, read('deploy/latchkey.service').replace('/usr/bin/node', process.execPath))
  const verified = spawnSync('systemd-analyze', ['verify', '--man=no', file], { encoding: 'utf8' })
  t.match(verified, { status: 0, stderr: /^(?!.*latchkey\.service)/s }, verified.stderr)
  const security = spawnSync('systemd-analyze', ['security', '--offline=true', '--no-pager', '--threshold=20', file], { encoding: 'utf8' })
  t.equal(security.status, 0, security.stdout)
})

t.test('deploy/latchkey.service · names what is there, and lets the server end by itself', async (t) => {
  const unit = read('deploy/latchkey.service')
  const [, script = ''] = /^ExecStart=\/usr\/bin\/node \/opt\/latchkey\/(\S+)$/m.exec(unit) ?? []
  t.ok(existsSync(join(root, script)), script)
  const [, stopSeconds] = /^TimeoutStopSec=(\d+)$/m.exec(unit) ?? []
  t.ok(Number(stopSeconds) > 7)
})

t.test('deploy/Caddyfile · Caddy accepts it', { skip: without('caddy', ['version']) }, async (t) => {
  const { status, stderr } = spawnSync('caddy', ['validate', '--adapter', 'caddyfile', '--config', join(root, 'deploy/Caddyfile')], { encoding: 'utf8' })
  t.equal(status, 0, stderr)
})

t.test('Caddy as in deploy/Caddyfile · limits count the address of the client, whatever it forges', { skip: without('caddy', ['version']), buffered: true }, async (t) => {
  const { urls: [url = ''] } = await startServers(t, 1, { LOGIN_FAILURES_PER_ADDRESS_MINUTE: '3' })
  const folder = temporaryFolder(t)
  const port = await freePort()
  const config = read('deploy/Caddyfile').replace('login.example.com {', `http://127.0.0.1:${port} {`).replace('127.0.0.1:3000', new URL(url).host)
  writeFileSync(join(folder, 'Caddyfile'), `{\n\tadmin off\n}\n${config}`)
  const caddy = spawn('caddy', ['run', '--adapter', 'caddyfile', '--config', join(folder, 'Caddyfile')], { stdio: 'ignore', env: { PATH: process.env.PATH, HOME: folder } })
  const hasEnded = endWithUs(caddy.pid)
  const exited = once(caddy, 'exit').then(hasEnded)
  t.teardown(async () => {
    caddy.kill('SIGTERM')
    await exited
  })
  await until(() => fetch(`http://127.0.0.1:${port}/health/live`).then(({ status }) => status === 200, () => false))
  const attempt = async (from: string, headers: Record<string, string> = {}): Promise<number> => {
    const body = JSON.stringify({ username: 'nobody', password: 'a wrong password' })
    const sent = request({ host: '127.0.0.1', port, method: 'POST', path: '/api/v1/login', localAddress: from, agent: false, headers: { 'content-type': 'application/json', ...headers } }).end(body)
    const [response] = await once(sent, 'response')
    t.equal(response.headers['strict-transport-security'], 'max-age=31536000')
    response.resume()
    return response.statusCode
  }
  for (let i = 0; i < 3; i++) t.equal(await attempt('127.0.0.2'), 404)
  t.equal(await attempt('127.0.0.2', { 'x-forwarded-for': '203.0.113.7' }), 429, 'a forged address changes nothing')
  t.equal(await attempt('127.0.0.3', { 'x-forwarded-for': '127.0.0.2' }), 404, 'for others neither')
})

t.test('deploy/compose*.yaml · no secret, a read-only root, and ports of this machine only', async (t) => {
  for (const name of ['compose.yaml', 'compose.postgres.yaml']) {
    const { services: { latchkey } } = parse(read(`deploy/${name}`))
    t.match(latchkey, { build: '..', read_only: true, ports: [/^127\.0\.0\.1:/], stop_grace_period: '10s' })
    t.equal(existsSync(join(root, 'Dockerfile')), true)
    for (const value of Object.values<string>(latchkey.environment)) t.match(value, /\$\{\w+(?::-\}|:\?)/)
  }
})

t.test('Dockerfile · copies what exists and what .dockerignore lets through', async (t) => {
  const [build = '', image = ''] = read('Dockerfile').split(/^FROM .*$/m).slice(1)
  const permitted = read('.dockerignore').split('\n').filter((line) => line.startsWith('!')).map((line) => line.slice(1))
  const copied = [...build.matchAll(/^COPY (.*) \S+$/gm)].flatMap(([, names = '']) => names.split(' '))
  t.same(copied.sort(), permitted.sort())
  for (const name of copied) t.ok(existsSync(join(root, name)), name)
  t.match(image, /^USER node$/m)
})

/** Runs a command as a container with `cap_drop: ALL` does: root has no more rights than the owner of a file. */
const withoutCapabilities = isRoot ? ['setpriv', '--bounding-set=-all', '--inh-caps=-all'] : []

/** The command in JSON that an instruction of the Dockerfile has, with the paths of a folder that stands for /app. */
function instruction (name: string, app: string): string[] {
  const [, json = '[]'] = new RegExp(`^${name}\\b.*?(\\[.*\\])$`, 'm').exec(read('Dockerfile')) ?? []
  return JSON.parse(json.replaceAll('/app/', `${app}/`))
}

/** A read-only folder with what the image has in /app, and one that stands for /data. */
function imageFolders (t: Test): { app: string, data: string } {
  const folder = temporaryFolder(t)
  const [app, data] = [join(folder, 'app'), join(folder, 'data')]
  mkdirSync(app)
  mkdirSync(data, { mode: 0o700 })
  for (const name of ['package.json', 'openapi.yaml', 'dist']) cpSync(join(root, name), join(app, name), { recursive: true })
  symlinkSync(join(root, 'node_modules'), join(app, 'node_modules'))
  spawnSync('chmod', ['-R', 'a-w', app])
  t.teardown(() => spawnSync('chmod', ['-R', 'u+w', app]))
  return { app, data }
}

t.test('Dockerfile · its command and its health check, from a read-only folder', { buffered: true }, async (t) => {
  const { app, data } = imageFolders(t)
  const command = instruction('CMD', app)
  t.same(command, ['node', `${app}/dist/server.cjs`])
  const [, variables = ''] = /^ENV (NODE_ENV=.*)$/m.exec(read('Dockerfile')) ?? []
  const env = Object.fromEntries(variables.split(' ').map((pair) => pair.split(/=(.*)/s)))
  t.match(env, { NODE_ENV: 'production', HOST: '0.0.0.0', DATABASE_URL: 'sqlite:////data/latchkey.sqlite' })
  const server = startServer(t, data, { ...env, HOST: '127.0.0.1', DATABASE_URL: `sqlite:///${data}/latchkey.sqlite`, SECRET_KEY: undefined }, '', [String(command[1])], withoutCapabilities)
  const { port } = new URL(await server.listening)
  const [program = '', ...args] = instruction('HEALTHCHECK', app)
  const check = () => spawnSync(program, args, { env: { PATH: process.env.PATH, PORT: port }, encoding: 'utf8' })
  t.match(check(), { status: 0, stderr: '' })
  t.ok(existsSync(join(data, '.env')), 'the key is stored in the volume')
  server.child.kill('SIGTERM')
  t.equal(await server.exited, 0)
  t.equal(check().status, 1)
})

for (const database of databases) {
  t.test(`${database.name} · migrated by a newer version → the server and commands end with one line, and nothing is written`, { buffered: true }, async (t) => {
    const url = await database.create(t, { isShared: true })
    await (await openStore(url)).close()
    const later = Date.now() + 1_000_000_000
    const file = url.replace('sqlite:///', '')
    if (database.name === 'SQLite') {
      const other = new Database(file)
      other.exec(`insert into __drizzle_migrations (hash, created_at) values ('x', ${later}); alter table users add column later text`)
      other.close()
    } else {
      await withClient(url, (client) => client.query(`insert into drizzle.latchkey_migrations (hash, created_at) values ('x', ${later}); alter table latchkey.users add column later text`))
    }
    const before = database.name === 'SQLite' ? readFileSync(file) : undefined

    const line = /^latchkey: cannot open the database \S+: a newer version of Latchkey has migrated it: use that version, or restore a backup\n$/
    const folder = temporaryFolder(t)
    const server = startServer(t, folder, { DATABASE_URL: url, SECRET_KEY: secretKey })
    t.equal(await server.exited, 1)
    t.match(server.output(), line)
    const { latchkey } = commandLine(t, { DATABASE_URL: url })
    for (const command of [['migrate'], ['user', 'list'], ['user', 'create', 'bob', '--password-stdin'], ['export']]) refused(t, await latchkey(command, 'correct horse battery staple\n'), line)
    if (before !== undefined) {
      t.same(readFileSync(file), before)
      t.same(readdirSync(join(file, '..')), ['latchkey.sqlite'])
    }
    t.same(readdirSync(folder), [])
  })
}

t.test('docs/upgrading.md · its last version has the newest migrations', async (t) => {
  const newest = (name: string) => JSON.parse(read(`src/database/${name}/migrations/meta/_journal.json`)).entries.at(-1).tag.slice(0, 4)
  const row = read('docs/upgrading.md').split('\n').filter((line) => /^\| .* \| `\d{4}` \|/.test(line)).at(-1)
  t.match(row, `| \`${newest('sqlite')}\` | \`${newest('postgres')}\` |`)
})
