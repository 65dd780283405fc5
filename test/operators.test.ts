import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, cpSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { PassThrough, Readable, Writable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import Database from 'better-sqlite3'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { run } from '../src/commands/index.js'
import { requireNativeModule } from '../src/database/sqlite/native-module.js'
import latchkey, { StoreError } from '../src/index.js'
import { ConfigError, loadConfig } from '../src/standalone/config.js'
import { loadEnvironment } from '../src/standalone/environment.js'
import { createSecretKey } from '../src/lib/secret-key.js'
import { describeError } from '../src/lib/system-error.js'
import { servicesOf } from '../src/services.js'
import { explainStartupError } from '../src/standalone/startup-error.js'
import { commandLine, notServed, refused } from './command-line.js'
import { databases } from './databases.js'
import { build, builtProgram, logIn, needLogin, plainNode, secretKey, signUp, startServer, temporaryFolder, tokenOf, until } from './helper.js'

/** What stops a start with these settings. */
function problemsOf (env: Record<string, string>): string[] {
  try {
    loadConfig({ SECRET_KEY: secretKey, ...env })
    return []
  } catch (error) {
    return error instanceof ConfigError ? error.problems : [String(error)]
  }
}

/** The message of an embedding app that does not boot. */
async function bootError (options: object): Promise<string> {
  const app = Fastify()
  try {
    await app.register(latchkey, Object({ databaseUrl: 'sqlite://', secretKey, ...options }))
    return ''
  } catch (error) {
    return String(error)
  } finally {
    await app.close()
  }
}

t.test('settings · white space around a value → rejected by name', async (t) => {
  const spaces = [' ', '\t', '\n', '\r\n', '\v', '\f', '\u00a0', '\ufeff', '\u2028', '\u3000', '\u0085', '\u200b']
  const settings = { DATABASE_URL: 'sqlite:///x.sqlite', SECRET_KEY: secretKey, SECRET_KEY_PREVIOUS: secretKey, PORT: '3000', HOST: '::1', SIGNUP: 'closed', TRUST_PROXY: '127.0.0.1', CORS_ORIGIN: 'https://app.example.com', LOG_LEVEL: 'warn', METRICS_HOST: '::1' }
  const accepted: string[] = []
  for (const [name, value] of Object.entries(settings)) {
    for (const text of spaces.flatMap((space) => [`${value}${space}`, `${space}${value}`, space])) {
      if (problemsOf({ [name]: text }).join() !== `${name} must not begin or end with white space`) accepted.push(encodeURIComponent(`${name}=${text}`))
    }
  }
  t.same(accepted, [])
  t.same(problemsOf({ TRUST_PROXY: '127.0.0.1 , ::1,\t10.0.0.0/8', CORS_ORIGIN: 'http://a.example , http://b.example' }), [], 'blanks around commas')

  for (const [name, value] of Object.entries({ databaseUrl: 'sqlite://', secretKey, secretKeyPrevious: secretKey, signup: 'open', loginErrors: 'uniform', passwordBlocklist: 'on', prefix: '/auth', securityScheme: 'bearer' })) {
    t.equal(await bootError({ [name]: `${value}\u00a0` }), `TypeError: latchkey: ${name} must not begin or end with white space`)
    t.equal(await bootError({ [name]: `\n${value}` }), `TypeError: latchkey: ${name} must not begin or end with white space`)
  }
})

t.test('settings · a message names the value, but no secret', async (t) => {
  t.same(problemsOf({ PORT: 'abc' }), ['PORT must be an integer from 0 to 65535, not "abc"'])
  t.same(problemsOf({ SIGNUP: 'maybe', TRUST_PROXY: '127.0.0.1, loopback' }), ['SIGNUP must be open, invite or closed, not "maybe"', 'TRUST_PROXY must be a comma-separated list of addresses or CIDR ranges, not "loopback"'])
  t.same(problemsOf({ PORT: 'x'.repeat(100_000) }), [`PORT must be an integer from 0 to 65535, not "${'x'.repeat(40)}…"`])
  t.same(problemsOf({ SIGNUP: 'a\u001b[31m\u202eb\nc' }), ['SIGNUP must be open, invite or closed, not "a\\u{1b}[31m\\u{202e}b\\u{a}c"'])
  t.same(problemsOf({ CORS_ORIGIN: 'https://bob:hunter2@app.example.com' }), ['CORS_ORIGIN must be a comma-separated list of origins like https://app.example.com'])
  for (const [value, problem] of [
    ['https://*.preview.example.com', 'must be a list of origins without wildcards: name each one, not "https://*.preview.example.com"'],
    ['*', 'must be a list of origins without wildcards: name each one, not "*"'],
    ['capacitor://*', 'must be a list of origins without wildcards: name each one, not "capacitor://*"'],
    ['null', 'must be a list of origins without null: anybody can make pages with this origin, not "null"'],
    ['https://app.example.com/', 'must be written as browsers send it: https://app.example.com, not "https://app.example.com/"'],
    ['https://app.example.com/path?x', 'must be written as browsers send it: https://app.example.com, not "https://app.example.com/path?x"'],
    ['https://App.example.com', 'must be written as browsers send it: https://app.example.com, not "https://App.example.com"'],
    ['HTTPS://app.example.com', 'must be written as browsers send it: https://app.example.com, not "HTTPS://app.example.com"'],
    ['https://app.example.com:443', 'must be written as browsers send it: https://app.example.com, not "https://app.example.com:443"'],
    ['http://üx.de', 'must be written as browsers send it: http://xn--x-dha.de, not "http://üx.de"'],
    ['capacitor://localhost/', 'must be written as browsers send it: capacitor://localhost, not "capacitor://localhost/"'],
    ['Tauri://Localhost', 'must be written as browsers send it: tauri://localhost, not "Tauri://Localhost"'],
    ['chrome-extension://abcdefghijklmnopabcdefghijklmnop/popup.html', 'must be written as browsers send it: chrome-extension://abcdefghijklmnopabcdefghijklmnop, not "chrome-extension://abcdefghijklmnopabcde…"'],
    ...['wss://app.example.com', 'file://', 'file:///x', 'ftp://app.example.com', 'app.example.com', 'https://', 'https://[', 'capacitor:localhost', 'capacitor://', 'capacitor://a b', `https://${'x'.repeat(200)}.example/`]
      .map((value) => [value, `must be a comma-separated list of origins like https://app.example.com, not "${value.slice(0, 40)}${value.length > 40 ? '…' : ''}"`] as const)
  ] as const) t.same(problemsOf({ CORS_ORIGIN: `https://app.example.com,${value}` }), [`CORS_ORIGIN ${problem}`])
  t.same(problemsOf({ CORS_ORIGIN: 'capacitor://localhost,ionic://localhost,tauri://localhost,chrome-extension://abcdefghijklmnopabcdefghijklmnop,moz-extension://2c127fa4-62c7-7e4f-90e5-472b45eecfdc,http://localhost:5173,https://[::1]:8443,http://tauri.localhost,app://-' }), [])
  for (const name of ['SECRET_KEY', 'SECRET_KEY_PREVIOUS', 'DATABASE_URL']) {
    t.match(problemsOf({ [name]: 'hunter2hunter2' }), [new RegExp(`^${name} must be `)])
    t.notMatch(problemsOf({ [name]: 'hunter2hunter2' }).join(), /hunter2/)
  }
  t.equal(await bootError({ hashQueue: -1, signup: true, tokenTtlSeconds: null, prefix: 'auth', now: 5 }), 'TypeError: latchkey: tokenTtlSeconds must be an integer from 1 to 31536000, not null; hashQueue must be an integer from 0 to 10000, not -1; signup must be open, invite or closed, not true; prefix must begin with a slash and end without one, not "auth"; now must be a function that returns the time, not 5')
  t.match(await bootError({ hashParameters: {} }), /hashParameters must have memoryCost, timeCost and parallelism$/)
})

t.test('DATABASE_URL · two slashes before a file → rejected with the right spelling', async (t) => {
  for (const path of ['data/app.sqlite', 'app.sqlite', './data/app.sqlite', 'C:\\data\\app.sqlite']) {
    t.same(problemsOf({ DATABASE_URL: `sqlite://${path}` }), [`DATABASE_URL must have three slashes for a file: sqlite:///${path}`])
    t.equal(await bootError({ databaseUrl: `sqlite://${path}` }), `TypeError: latchkey: databaseUrl must have three slashes for a file: sqlite:///${path}`)
  }
  for (const url of ['sqlite://bob:hunter2@localhost/app', `sqlite://${'x'.repeat(10_000)}`, 'sqlite3:///x', 'sqlite:/x']) {
    t.match(problemsOf({ DATABASE_URL: url }), [/^DATABASE_URL must be like sqlite:\/\/\/relative\/path, [^@]*user:password@host:port\/database$/])
  }
  for (const url of ['sqlite://', 'sqlite:///:memory:', 'sqlite://:memory:', 'sqlite:///x', 'sqlite:////x']) t.same(problemsOf({ DATABASE_URL: url }), [])
})

t.test('DATABASE_URL · unknown parameter → refused by name, without its value, and nothing is created', async (t) => {
  const noPath = 'the path of a SQLite database has no ? and no #'
  const permitted = 'it can have sslmode, sslrootcert, sslcert, sslkey, channel_binding, connect_timeout, application_name, host'
  for (const [url, problem] of [
    ['sqlite:////tmp/d/x.sqlite?mode=hunter2', `must not have the parameter "mode": ${noPath}`],
    ['sqlite:///x.sqlite?cache=shared&mode=ro', `must not have the parameter "cache": ${noPath}`],
    ['sqlite://?mode=memory', `must not have the parameter "mode": ${noPath}`],
    ['sqlite:///:memory:?x#y', `must not have the parameter "x": ${noPath}`],
    ['sqlite://x.sqlite?mode=rwc', `must not have the parameter "mode": ${noPath}`],
    ['sqlite:///x.sqlite?', `must not have the parameter: ${noPath}`],
    ['sqlite:///x.sqlite?\nhunter2=1', `must not have the parameter: ${noPath}`],
    ['sqlite://bob:hun?ter2@localhost/app', `must not have the parameter: ${noPath}`],
    ['sqlite:///x.sqlite#old', `must not have the fragment "old": ${noPath}`],
    ['sqlite:////home/bob/C#/x.sqlite?mode=ro', `must not have the fragment: ${noPath}`],
    ['postgres://bob:hunter2@localhost/latchkey?ssl_mode=require', `must not have the parameter "ssl_mode": ${permitted}`],
    ['postgres://bob@localhost/latchkey?password=hunter2', `must not have the parameter "password": ${permitted}`],
    ['postgres://bob:hunter2@localhost/latchkey?sslmode=prefer', 'must set sslmode to disable, require, verify-ca or verify-full']
  ] as const) {
    t.same(problemsOf({ DATABASE_URL: url }), [`DATABASE_URL ${problem}`])
    t.equal(await bootError({ databaseUrl: url }), `TypeError: latchkey: databaseUrl ${problem}`)
    for (const command of [['server.ts'], ['cli.ts', 'migrate']]) {
      if (!/mode=hunter2|password/.test(url)) continue
      const folder = temporaryFolder(t)
      const server = startServer(t, folder, { DATABASE_URL: url.replace('/tmp/d', folder), SECRET_KEY: undefined }, '', command)
      t.equal(await server.exited, 1)
      t.equal(server.output(), `latchkey: DATABASE_URL ${problem}\n`)
      t.same(readdirSync(folder), [], 'neither a database nor a key')
    }
  }
  t.match(await bootError({ databaseUrl: ['sqlite://'] }), /databaseUrl must be like/)
  for (const url of ['sqlite:///a&b=c.sqlite', 'sqlite:////tmp/100%25/x.sqlite', 'postgres://bob:p%3Fw%23@ep-cool.neon.tech/neondb?sslmode=require&channel_binding=require', 'postgres://bob@localhost/x?sslmode=verify-full&sslrootcert=/a.crt&sslcert=/b.crt&sslkey=/b.key&connect_timeout=60&channel_binding=prefer&application_name=x&host=/run']) t.same(problemsOf({ DATABASE_URL: url }), [], url)
})

t.test('secretKey · an embedding app without one → how to make it and how to load it', async (t) => {
  for (const missing of [undefined, null, '', 'undefined', 'null']) {
    t.equal(await bootError({ secretKey: missing }), 'TypeError: latchkey: secretKey is missing: `npx latchkey secret` prints one, and `node --env-file=.env` loads it from a line SECRET_KEY=… in .env')
  }
  t.match(await bootError({ secretKey: 'changeme' }), /secretKey must be a secret of at least 32 bytes/)
  t.notMatch(await bootError({ secretKeyPrevious: '' }), /missing/)
})

/** What is wrong with an environment and a `.env` file. */
function environmentProblems (t: Test, env: Record<string, string>, file = '', isOwnFile = true): string[] {
  const path = join(temporaryFolder(t), '.env')
  writeFileSync(path, file, { mode: 0o600 })
  try {
    loadEnvironment({ SECRET_KEY: secretKey, ...env }, path, { isOwnFile })
    return []
  } catch (error) {
    return error instanceof ConfigError ? error.problems.map((problem) => problem.replace(path, '.env')) : [String(error)]
  }
}

t.test('.env of the server · every name that is not a setting stops startup', async (t) => {
  t.same(environmentProblems(t, {}, 'SIGNUPP=closed\nPORT=http\nAPP_NAME=shop\nPRT=1\n'), [
    'APP_NAME in .env is not a setting: remove it, or set it in the environment if another program needs it',
    'PRT in .env is not a setting: did you mean PORT?',
    'SIGNUPP in .env is not a setting: did you mean SIGNUP?',
    'PORT must be an integer from 0 to 65535, not "http"'
  ])
  t.same(environmentProblems(t, {}, 'SIGNUP=open\nSIGNUPP=closed'), ['SIGNUPP in .env is not a setting: did you mean SIGNUP?'])
  t.same(environmentProblems(t, {}, '# SIGNUPP=closed\nSIGNUP=closed'), [])
  const path = join(temporaryFolder(t), '.env')
  writeFileSync(path, 'SINGUP=closed\n')
  t.throws(() => loadEnvironment({}, path), { name: 'ConfigError', message: /did you mean SIGNUP/ })
  t.same(readdirSync(join(path, '..')), ['.env'], 'no key is saved')
})

t.test('a typo of a setting in the environment → did you mean …?', async (t) => {
  const typos = {
    SIGNUP: 'SIGNUPP SIGN_UP SINGUP signup Signup IGNUP',
    DATABASE_URL: 'DATABSE_URL DATABASE_URI DATABASEURL database_url',
    SECRET_KEY_PREVIOUS: 'SECERT_KEY_PREVIUOS',
    LOGIN_ERRORS: 'LOGIN_EROR',
    TRUST_PROXY: 'TRUST_PROXIE',
    CORS_ORIGIN: 'CORS_ORIGINS',
    METRICS_PORT: 'METRIC_PORT',
    LOG_LEVEL: 'log_level LOG_LEVLE',
    TOKEN_TTL_SECONDS: 'TOKEN_TTL_SECOND',
    PASSWORD_MIN_LENGTH: 'PASSWORD_MIN_LENGHT'
  }
  for (const [typo, setting] of Object.entries(typos).flatMap(([setting, names]) => names.split(' ').map((name) => [name, setting] as const))) {
    t.same(environmentProblems(t, { [typo]: 'x' }), [`${typo} in the environment is not a setting: did you mean ${setting}?`])
    t.same(environmentProblems(t, {}, `${typo}=x`, false), [`${typo} in .env is not a setting: did you mean ${setting}?`])
  }
  refused(t, await commandLine(t, { SIGNUPP: 'closed' }).latchkey(['migrate']), 'did you mean SIGNUP?')
  t.same(environmentProblems(t, { SIGNUPP: 'closed' }, 'SIGNUP=open'), ['SIGNUPP in the environment is not a setting: did you mean SIGNUP?'])
})

t.test('names of other programs stop neither the server nor a command', async (t) => {
  const names = [
    'POST', 'PORTS', 'HOSTS', 'HOSTNAME', 'HOST_', 'port', 'host', 'HOSTTYPE', 'LOGLEVEL', 'LOG_LEVELS', 'LOG_FORMAT', 'LOGNAME', 'KUBERNETES_PORT', 'KUBERNETES_SERVICE_HOST', 'LATCHKEY_PORT', 'LATCHKEY_SERVICE_PORT',
    'npm_config_loglevel', 'npm_config_port', 'npm_package_name', 'npm_lifecycle_event', 'NODE_ENV', 'NODE_OPTIONS', 'PATH', 'HOME', 'PWD', 'OLDPWD', 'SHLVL', 'LANG', 'LC_ALL', 'TZ', 'TERM', 'USER', 'SHELL', 'MAIL', 'EDITOR', 'DISPLAY',
    'PGHOST', 'PGPORT', 'PGDATABASE', 'PGPASSWORD', 'POSTGRES_PASSWORD', 'POSTGRES_URL', 'DATABASE_HOST', 'DATABASE_NAME', 'DATABASE_USER', 'DATABASE_PORT', 'DATABASE_SSL', 'DATABASE_PASSWORD', 'REDIS_URL', 'MONGODB_URI',
    'SECRET_KEY_BASE', 'SECRET', 'JWT_SECRET', 'AWS_SECRET_ACCESS_KEY', 'SESSION_SECRET', 'CI', 'GITHUB_TOKEN', 'HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY', 'http_proxy', 'SSH_AUTH_SOCK', 'DBUS_SESSION_BUS_ADDRESS', 'COLUMNS', 'LINES', '_'
  ]
  const env = Object.fromEntries(names.map((name) => [name, 'x']))
  t.same(environmentProblems(t, env), [])
  t.same(environmentProblems(t, {}, names.map((name) => `${name}=x`).join('\n'), false), [])
  t.same(environmentProblems(t, { DATABASE_URL: 'sqlite://', DATABASE_URL_2: 'x', SECRET_KEYS: 'x' }), [], 'a name beside the setting that it resembles')
})

t.test('the start of a server · creates nothing on disk unless the settings are valid and the ports are free', async (t) => {
  const other = createServer().listen(0, '127.0.0.1')
  await once(other, 'listening')
  t.teardown(() => other.close())
  const address = other.address()
  const port = typeof address === 'object' ? String(address?.port) : ''
  for (const [env, lines] of [
    [{ PORT: port }, [`latchkey: cannot listen: port ${port} on 127.0.0.1 is in use`]],
    [{ METRICS_PORT: port }, [`latchkey: cannot listen: port ${port} on 127.0.0.1 is in use`]],
    [{ SIGNUP: 'maybe', SIGNUPP: 'closed', DATABASE_URL: 'sqlite://x.sqlite' }, ['latchkey: DATABASE_URL must have three slashes for a file: sqlite:///x.sqlite', 'latchkey: SIGNUP must be open, invite or closed, not "maybe"']]
  ] as const) {
    const folder = temporaryFolder(t)
    const server = startServer(t, folder, { SECRET_KEY: undefined, ...env })
    t.equal(await server.exited, 1)
    t.same(server.output().trimEnd().split('\n'), lines)
    t.same(readdirSync(folder), [])
  }
})

t.test('the database is deleted under a running server · GET /health/ready 503, one line in the log, exit code 0 on SIGTERM', async (t) => {
  const folder = temporaryFolder(t)
  const server = startServer(t, folder)
  const url = await server.listening
  const status = async (path: string) => (await fetch(url + path)).status
  t.equal(await status('/health/ready'), 200)
  for (const name of readdirSync(join(folder, 'data'))) rmSync(join(folder, 'data', name))
  for (let i = 0; i < 2; i++) t.same([await status('/health/ready'), await status('/health/live')], [503, 200])
  server.child.kill('SIGTERM')
  t.equal(await server.exited, 0)
  const said = server.output().trim().split('\n').map((line) => JSON.parse(line)).filter(({ level, msg }) => level === 50 && /^\S+data\/latchkey\.sqlite is gone: what the server writes now will be lost\. Stop the server, put the database back/.test(msg))
  t.equal(said.length, 1)
})

t.test('errors of the system are told in words', async (t) => {
  const words = (code: string, errno?: number) => describeError(Object.assign(new Error(`${code}: something, open 'x'`), { code, errno }))
  t.equal(words('EEXIST', -17), 'file already exists')
  t.equal(words('ENOENT', -2), 'no such file or directory')
  t.equal(words('ENOSPC', -28), 'the disk is full')
  t.equal(words('EISDIR'), 'it is a folder')
  t.equal(words('ERR_OTHER'), "ERR_OTHER: something, open 'x'")
  t.equal(describeError('thrown'), 'thrown')

  const folder = temporaryFolder(t)
  writeFileSync(join(folder, 'file'), '')
  refused(t, await commandLine(t, { DATABASE_URL: `sqlite:///${join(folder, 'file', 'x.sqlite')}` }).latchkey(['migrate']), /^latchkey: cannot open the database \S+: [a-z ]+\n$/)
  const unreadable = commandLine(t)
  mkdirSync(join(unreadable.folder, '.env'))
  refused(t, await unreadable.latchkey(['migrate']), /^latchkey: cannot read \S+: it is a folder\n$/)
})

/** The folders of the packages that are installed, by their names. */
const nodeModules = join(import.meta.dirname, '../node_modules')

/** Latchkey as it is installed where the install script of better-sqlite3 has not run: the folder of an app. */
function installWithoutScripts (t: Test): string {
  const folder = temporaryFolder(t)
  const packages = join(folder, 'node_modules')
  mkdirSync(join(packages, 'latchkey'), { recursive: true })
  for (const name of readdirSync(nodeModules)) if (name !== 'better-sqlite3') symlinkSync(join(nodeModules, name), join(packages, name))
  for (const name of ['lib', 'package.json']) cpSync(join(nodeModules, 'better-sqlite3', name), join(packages, 'better-sqlite3', name), { recursive: true })
  for (const name of ['dist', 'package.json']) cpSync(join(import.meta.dirname, '..', name), join(packages, 'latchkey', name), { recursive: true })
  return folder
}

t.test('a start where better-sqlite3 was not built · one line with the command that builds it, and nothing on disk', async (t) => {
  const folder = installWithoutScripts(t)
  const start = async (name: string, ...args: string[]) => {
    const [program = '', ...before] = plainNode
    const child = spawn(program, [...before, join(folder, 'node_modules/latchkey/dist', name), ...args], { cwd: folder, env: { PATH: process.env.PATH, PORT: '0' }, stdio: ['ignore', 'pipe', 'pipe'] })
    const [out, err, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])
    return { code, out, err }
  }
  for (const answer of await Promise.all([start('server.cjs'), start('cli.cjs', 'migrate')])) {
    t.same(answer, {
      code: 1,
      out: '',
      err: 'latchkey: better-sqlite3 was not built, because its install script did not run: run `npm pkg set allowScripts.better-sqlite3=true --json && npm rebuild better-sqlite3` in the folder of package.json\n'
    })
  }
  t.same(readdirSync(folder), ['node_modules'])
})

t.test('better-sqlite3 that cannot be loaded · the command of the package manager that installed it', async (t) => {
  const app = temporaryFolder(t)
  const file = join(app, 'node_modules/better-sqlite3/lib/index.js')
  const notBuilt = () => createRequire(import.meta.url)('bindings')({ bindings: 'better_sqlite3.node', module_root: app })
  writeFileSync(join(app, 'built-for-another.node'), 'not for this platform')
  const builtForAnother = () => { new Database(':memory:', { nativeBinding: join(app, 'built-for-another.node') }).close() }
  /** What loading reports where a package manager has left its mark. */
  const commandsAfter = (mark: string) => {
    const packages = join(temporaryFolder(t), 'node_modules')
    mkdirSync(packages)
    if (mark !== '') writeFileSync(join(packages, mark), '')
    return [notBuilt, builtForAnother].map((load) => {
      try {
        requireNativeModule(load, join(packages, file.slice(app.length)))
        return 'it was loaded'
      } catch (error) {
        t.ok(error instanceof StoreError)
        return String(error).replace(/^.*: run | in the folder of package\.json$/g, '')
      }
    })
  }
  t.same(commandsAfter('.package-lock.json'), ['`npm pkg set allowScripts.better-sqlite3=true --json && npm rebuild better-sqlite3`', '`npm rebuild better-sqlite3`'])
  t.same(commandsAfter('.modules.yaml'), ['`pnpm approve-builds`', '`pnpm rebuild better-sqlite3`'])
  t.same(commandsAfter('.yarn-state.yml'), ['`npm pkg set dependenciesMeta.better-sqlite3.built=true --json && yarn rebuild better-sqlite3`', '`yarn rebuild better-sqlite3`'])
  t.same(commandsAfter(''), ['`npm pkg set allowScripts.better-sqlite3=true --json && npm rebuild better-sqlite3` or `pnpm approve-builds`', '`npm rebuild better-sqlite3` or `pnpm rebuild better-sqlite3`'])
  t.throws(() => requireNativeModule(builtForAnother, file), { name: 'StoreError', message: /^better-sqlite3 was built for another version of Node\.js or another platform: run / })
  t.doesNotThrow(() => requireNativeModule())
})

for (const database of databases) {
  t.test(`${database.name} · usernames that older versions permitted · the start warns of them by name`, async (t) => {
    const DATABASE_URL = await database.create(t, { isShared: true })
    /** What a start logs as warnings and errors. */
    const start = async () => {
      const lines: string[] = []
      const app = await build(t, { DATABASE_URL, LOG_LEVEL: 'warn' }, { logStream: { write: (line) => { lines.push(JSON.parse(line).msg) } } })
      await app.ready()
      return { app, lines, store: servicesOf(app).store }
    }
    const { app, lines: first, store } = await start()
    /** An account as a version without these rules has left it. */
    const add = (username: string) => store.db.insert(store.tables.users).values({ username, usernameKey: username.toLowerCase(), passwordHash: '', createdAt: new Date(), updatedAt: new Date() })
    for (const username of ['bob', '...', '.-x', '..x', '+x', ',', '_-', '0', 'a-', '@']) await add(username)
    t.same([...first, ...(await start()).lines], [], 'names that are permitted')

    for (const username of ['.', '..', '-X']) await add(username)
    const [line = '', ...more] = (await start()).lines
    t.same(more, [])
    const [, names = ''] = /^usernames that an older version permitted, and that URLs or commands read as something else: (.*)\. Create other accounts for their owners, and delete these: latchkey user delete -- <name>$/.exec(line) ?? []
    t.same(names.split(' ').sort(), ['-X', '.', '..'])
    const { latchkey } = commandLine(t, { DATABASE_URL })
    for (const name of ['.', '..', '-x']) t.match(await latchkey(['user', 'delete', '--yes', '--', name]), { code: 0, err: '' }, 'as the warning says')
    t.same((await start()).lines, [])

    for (let i = 0; i < 11; i++) await add(`-${i}`)
    t.match((await start()).lines, [/ -\d( -\d)+ and others\. /])
    const look = () => servicesOf(app).users.listUnaddressable(11)
    t.equal((await look()).length, 11)
    for (const plan of await database.explain(store, look)) t.match(plan, database.name === 'SQLite' ? /SEARCH users USING INDEX/ : /Scan/)
  })
}

t.test('a .env.lock that is left over · says so, and to delete it', async (t) => {
  const folder = temporaryFolder(t)
  writeFileSync(join(folder, '.env.lock'), '')
  const server = startServer(t, folder, { SECRET_KEY: undefined })
  t.equal(await server.exited, 1)
  t.match(server.output(), /^latchkey: SECRET_KEY is not set, and a new one cannot be saved: \S*\.env\.lock exists: another process is saving one\. If no other Latchkey is starting now, the file is left over: delete it and start again\n$/)
  t.same(readdirSync(folder), ['.env.lock'])
})

t.test('commands that sign nothing · neither need nor make a key', async (t) => {
  const { settings, folder, latchkey } = commandLine(t)
  delete settings.SECRET_KEY
  writeFileSync(join(folder, '.env'), 'APP_NAME=shop\n')
  for (const args of [
    ['migrate'], ['role', 'create', 'editor', '--description', 'x'], ['user', 'create', 'bob', '--password-stdin'], ['user', 'list'], ['user', 'show', 'bob'], ['user', 'set-password', 'bob', '--password-stdin'],
    ['user', 'logout', 'bob'], ['user', 'unlock', 'bob'], ['unlock', '--address', '203.0.113.7'], ['role', 'grant', 'bob', 'editor'], ['role', 'revoke', 'bob', 'editor'], ['role', 'list'], ['role', 'delete', 'editor'], ['events'], ['export'], ['secret'], ['import']
  ]) {
    t.match(await latchkey(args, args[0] === 'import' ? '' : 'correct horse battery staple'), { code: 0, err: '' }, args.join(' '))
  }
  t.same(readdirSync(folder).filter((name) => name.startsWith('.env')), ['.env'])
  t.equal(readFileSync(join(folder, '.env'), 'utf8'), 'APP_NAME=shop\n')
  refused(t, await latchkey(['token', 'create', 'bob', '--description', 'x']), 'SECRET_KEY is not set')
})

const password = 'correct horse battery staple'

t.test('standard input that is not UTF-8 · one line, exit code 1', async (t) => {
  const { latchkey, settings } = commandLine(t)
  const inputs = {
    'Latin-1': Buffer.from('pi\xe8ce mont\xe9e\n', 'latin1'),
    'UTF-16LE': Buffer.from(`\ufeff${password}\n`, 'utf16le'),
    'UTF-16BE': Buffer.from(`\ufeff${password}\n`, 'utf16le').swap16(),
    'a lone surrogate': Buffer.from([0x70, 0xed, 0xa0, 0x80, 0x0a]),
    'a cut character': Buffer.concat([Buffer.from(password), Buffer.from([0xc3])])
  }
  for (const [name, input] of Object.entries(inputs)) {
    const answer = await latchkey(['user', 'create', 'bob', '--password-stdin'], input)
    t.same(answer, { code: 1, out: '', err: 'latchkey: the password on standard input is not UTF-8\n' }, name)
    t.same(await latchkey(['import'], input), { code: 1, out: '', err: 'latchkey: line 1: it is not UTF-8; nothing was imported\n' }, name)
  }
  refused(t, await latchkey(['user', 'create', 'bob', '--password-stdin'], Buffer.from(`${password}\n`, 'utf16le')), 'the password must not contain NUL')
  refused(t, await latchkey(['user', 'create', 'bob', '--password-stdin'], Buffer.alloc(10_000_000, 'x')), 'the password must not be longer than 256 characters')
  t.match(await latchkey(['user', 'create', 'bob', '--password-stdin'], '\ufeffpi\u00e8ce mont\u00e9e\r\n'), { code: 0 }, 'a byte order mark is no part of the password')
  t.equal((await logIn(await build(t, settings), { username: 'bob', password: 'pi\u00e8ce mont\u00e9e' })).statusCode, 200)
  refused(t, await latchkey(['user', 'set-password', 'bob', '--password-stdin'], 'pi\ufffdce mont\ufffde\n'), 'the password is not UTF-8')
})

t.test('standard input that cannot be read · one line, exit code 1', async (t) => {
  const { latchkey, folder } = commandLine(t)
  const broken = () => Object.assign(new Readable({ read () { this.destroy(Object.assign(new Error('EISDIR: illegal operation on a directory, read'), { code: 'EISDIR', errno: -21, syscall: 'read' })) } }), { isTTY: false })
  refused(t, await latchkey(['user', 'create', 'bob', '--password-stdin'], broken()), 'latchkey: cannot read standard input: it is a folder')
  refused(t, await latchkey(['import'], broken()), 'latchkey: cannot read standard input: it is a folder')
  refused(t, await latchkey(['import', folder]), `latchkey: cannot read ${folder}: it is a folder`)
})

t.test('import · a message names whose username is taken, and the role that is missing', async (t) => {
  const { latchkey } = commandLine(t)
  const hash = `$2b$12$${'a'.repeat(53)}`
  const lines = (...records: object[]) => records.map((record) => `${JSON.stringify(record)}\n`).join('')
  const user = (username: string, more = {}) => ({ type: 'user', username, password_hash: hash, ...more })
  t.same(await latchkey(['import'], lines(user('bob'))), { code: 0, out: 'imported 1 user, 0 roles and 0 tokens\n', err: '' })
  refused(t, await latchkey(['import'], lines(user('a'), user('b'), user('c'), user('BOB'))), 'latchkey: line 4: the username "BOB" is already taken; nothing was imported')
  refused(t, await latchkey(['import'], lines(user('a', { roles: ['admin', 'editor'] }))), 'latchkey: line 1: there is no role "editor"; nothing was imported')
})

t.test('user delete · asks; --yes does not', async (t) => {
  const { latchkey, settings } = commandLine(t)
  const app = await build(t, settings)
  await tokenOf(app)
  t.match(await latchkey(['user', 'delete', 'BOB'], 'no\n', true), { code: 1, out: '', err: /Delete user bob with 1 active token\? Type yes: [\s\S]*latchkey: nothing was deleted\n$/ })
  refused(t, await latchkey(['user', 'delete', 'bob']), 'standard input is not a terminal: use --yes')
  t.ok(await servicesOf(app).users.find('bob'))
  t.match(await latchkey(['user', 'delete', 'bob'], 'yes\n', true), { code: 0, out: 'user bob was deleted\n' })
  await signUp(app)
  t.match(await latchkey(['user', 'delete', 'bob', '--yes']), { code: 0, out: 'user bob was deleted\n', err: '' })
})

t.test('user delete · the last admin only in the moment of deletion → rejected', async (t) => {
  const { latchkey, settings } = commandLine(t)
  const app = await build(t, settings)
  const { store, roles } = servicesOf(app)
  await signUp(app)
  await signUp(app, { username: 'alice', password })
  for (const id of [1, 2]) await roles.grant(id, 'admin')
  const answer = latchkey(['user', 'delete', 'bob'], 'yes\n', true, async () => { await store.db.run('delete from user_roles where user_id = 2') })
  t.match(await answer, { code: 1, err: /latchkey: user bob is the last admin/ })
})

t.test('a new password that the policy rejects · is told before it is typed again', async (t) => {
  const { latchkey } = commandLine(t)
  const answer = await latchkey(['user', 'create', 'bob'], 'short\n', true)
  t.match(answer, { code: 1, out: '', err: /New password: [\s\S]*latchkey: the password must be at least 8 characters long\n$/ })
  t.notMatch(answer.err, 'Repeat')
})

t.test('user list · --limit, --search, pages', async (t) => {
  const { latchkey, settings } = commandLine(t)
  const hash = `$2b$12$${'a'.repeat(53)}`
  const lines = Array.from({ length: 1_203 }, (_, i) => `${JSON.stringify({ type: 'user', username: `${i % 3 === 0 ? 'Al' : 'bob'}_${i}`, password_hash: hash, roles: i === 1_202 ? ['admin'] : [] })}\n`)
  t.match(await latchkey(['import'], lines.join('')), { code: 0 })
  const names = async (...args: string[]) => JSON.parse((await latchkey(['user', 'list', '--json', ...args])).out).map(({ username }: { username: string }) => username)
  const all = Array.from({ length: 1_203 }, (_, i) => `${i % 3 === 0 ? 'Al' : 'bob'}_${i}`)
  t.same(await names(), all)
  t.same(await names('--limit', '501'), all.slice(0, 501))
  t.same(await names('--limit', '500'), all.slice(0, 500))
  t.same(await names('--search', 'aL_'), all.filter((name) => name.startsWith('Al_')))
  t.same(await names('--search', 'bob_1', '--limit', '2'), ['bob_1', 'bob_10'])
  for (const search of ['%', '_', 'nobody', 'b b', '\u212a']) t.same(await names('--search', search), [])
  t.equal((await names('--search', '')).length, 1_203)
  t.equal((await latchkey(['user', 'list', '--search', 'nobody'])).out, 'there are no users whose username begins with that\n')
  const { out } = await latchkey(['user', 'list'])
  t.equal(out.split('\n').length, 1_205)
  t.match(out, /\n1203 +bob_1202 +admin +20\S+Z\n$/)
  for (const limit of ['0', 'x', '-1']) t.match(await latchkey(['user', 'list', `--limit=${limit}`]), { code: 2, out: '' })

  const app = await build(t, settings)
  await Promise.all(Array.from({ length: 1_203 }, async (_, i) => servicesOf(app).audit.record({ kind: 'unlock', userId: i + 1 })))
  await servicesOf(app).audit.list({}, 1)
  const events = async (...args: string[]) => (await latchkey(['events', '--json', '--kind', 'unlock', ...args])).out.trim().split('\n').map((line) => JSON.parse(line).user_id)
  t.same(await events('--limit', '1100'), Array.from({ length: 1_100 }, (_, i) => i + 104))
  t.same(await events('--limit', '999999'), Array.from({ length: 1_203 }, (_, i) => i + 1))
  t.same(await events('--limit', '1000'), Array.from({ length: 1_000 }, (_, i) => i + 204))
})

t.test('tables · fit the terminal', async (t) => {
  const { latchkey, settings } = commandLine(t)
  await latchkey(['role', 'create', 'editor', '--description', 'May change all articles, and those of others too.'])
  t.equal((await latchkey(['role', 'list'])).out, 'name    description\nadmin   May do everything.\neditor  May change all articles, and those of others too.\n')
  settings.COLUMNS = '30'
  t.equal((await latchkey(['role', 'list'])).out, 'name    description\nadmin   May do everything.\neditor  May change all articl\u2026\n')
  settings.COLUMNS = '8'
  t.equal((await latchkey(['role', 'list'])).out, 'name  d\u2026\nadm\u2026  M\u2026\nedi\u2026  M\u2026\n')
  for (const columns of ['', '0', 'x', '-1']) {
    settings.COLUMNS = columns
    t.match((await latchkey(['role', 'list'])).out, 'others too.')
  }
})

t.test('token list, token revoke', async (t) => {
  const { latchkey, settings } = commandLine(t)
  const app = await build(t, settings)
  await signUp(app)
  t.same(await latchkey(['token', 'list', 'bob']), { code: 0, out: 'user bob has no active tokens\n', err: '' })
  t.equal((await latchkey(['token', 'list', 'bob', '--json'])).out, '[]\n')
  const created = JSON.parse((await latchkey(['token', 'create', 'bob', '--description', 'backup script', '--json'])).out)
  t.equal((await needLogin(app, created.token)).statusCode, 200)
  await servicesOf(app).tokens.flushLastUsed()
  t.match((await latchkey(['token', 'list', 'BOB'])).out, new RegExp(`^id +description +last_used_at +created_at +expires_at\\n${created.id} +backup script( +20\\S+Z){3}\\n$`))
  t.match(JSON.parse((await latchkey(['token', 'list', 'bob', '--json'])).out), [{ id: created.id, description: 'backup script', created_at: created.created_at, expires_at: created.expires_at, last_used_at: String }])
  t.match(await latchkey(['token', 'revoke', 'bob', created.id]), { code: 0, out: `the token ${created.id} of user bob was revoked\n` })
  t.match((await needLogin(app, created.token)).json(), { code: 'TOKEN_REVOKED' })
  refused(t, await latchkey(['token', 'revoke', 'bob', created.id]), `user bob has no token ${created.id}`)
  refused(t, await latchkey(['token', 'revoke', 'bob', 'x']), 'user bob has no token x')
  await signUp(app, { username: 'alice', password })
  const other = JSON.parse((await latchkey(['token', 'create', 'alice', '--description', 'x', '--json'])).out)
  refused(t, await latchkey(['token', 'revoke', 'bob', other.id]), 'user bob has no token')
  const last = (await servicesOf(app).audit.list({ kind: 'revocation' }, 10))
  t.match(last, [{ userId: 1, detail: created.id, source: 'cli' }])
  t.equal(last.length, 1)
})

t.test('role grant, role revoke · repeated → says so, and writes no second event', async (t) => {
  const { latchkey, settings } = commandLine(t)
  const app = await build(t, settings)
  await signUp(app)
  await latchkey(['role', 'create', 'editor', '--description', 'x'])
  const said = []
  for (const verb of ['grant', 'grant', 'revoke', 'revoke']) said.push((await latchkey(['role', verb, 'bob', 'editor'])).out)
  t.same(said, ['user bob has the role editor\n', 'user bob already has the role editor\n', 'user bob does not have the role editor\n', 'user bob did not have the role editor\n'])
  const events = await servicesOf(app).audit.list({ kind: 'role_change', userId: 1 }, 10)
  t.same(events.map(({ detail }) => detail), ['revoked editor', 'granted editor'])
})

t.test('help and usage errors · an example for each command, one prefix', async (t) => {
  const { latchkey } = commandLine(t)
  const commandsIn = async (path: string[]): Promise<string[][]> => {
    const { out } = await latchkey([...path, '--help'])
    const [, commands = ''] = out.split('\nCommands:\n')
    const names = [...commands.matchAll(/^ {2}([\w-]+)/gm)].map(([, name = '']) => name).filter((name) => name !== 'help')
    return names.length === 0 ? [path] : (await Promise.all(names.map((name) => commandsIn([...path, name])))).flat()
  }
  const commands = await commandsIn([])
  t.equal(commands.length, 35)
  for (const command of commands) {
    t.match((await latchkey([...command, '--help'])).out, `\nExample:\n  latchkey ${command.join(' ')}`)
  }
  for (const args of [['nonsense'], ['user', 'create'], ['events', '--limit', 'x'], ['user', 'list', '--nonsense'], ['serve', '--port', '65536'], ['serve', '--port', 'x']]) {
    const { code, out, err } = await latchkey(args)
    t.match({ code, out, err }, { code: 2, out: '', err: /^latchkey: / }, args.join(' '))
    t.notMatch(err, /error:/)
  }
})

/** Runs `latchkey` as a process whose output goes to a file, or to a pipe that nobody reads. */
function start (t: Test, settings: Record<string, string>, args: string[], output: number | 'pipe') {
  const [program = '', ...before] = builtProgram('cli.ts')
  const child = spawn(program, [...before, ...args], {
    cwd: temporaryFolder(t),
    env: { ...process.env, ...settings },
    stdio: ['ignore', output, 'pipe']
  })
  child.stdout?.destroy()
  // The type allows for a stream that is not piped.
  const err = text(child.stderr as Readable)
  return once(child, 'close').then(async ([code]: number[]) => ({ code, err: await err }))
}

t.test('a reader that leaves · quiet, exit code 141; a full disk · one line, exit code 1', async (t) => {
  const { settings, folder } = commandLine(t)
  const app = await build(t, settings)
  await tokenOf(app)
  // Reading the audit log writes what is pending.
  await servicesOf(app).audit.list({}, 1)
  /** Runs a command whose output cannot be written. */
  const runInto = async (args: string[], code: string, errno: number) => {
    const stdout = new Writable({ write: (chunk, encoding, done) => done(Object.assign(new Error(`${code}: no, write`), { code, errno, syscall: 'write' })) })
    const stderr = new PassThrough()
    const exitCode = await run(args, { env: settings, dotEnvPath: join(folder, '.env'), serve: notServed, stdin: new PassThrough(), stdout, stderr })
    stderr.end()
    return { code: exitCode, err: await text(stderr) }
  }
  for (const args of [['user', 'list'], ['user', 'list', '--json'], ['role', 'list'], ['events'], ['events', '--json', '--follow'], ['export'], ['token', 'list', 'bob'], ['user', 'show', 'bob'], ['secret'], ['--help'], ['--version'], ['user', 'logout', 'bob']]) {
    t.same(await runInto(args, 'EPIPE', -32), { code: 141, err: '' }, args.join(' '))
    t.same(await runInto(args, 'ENOSPC', -28), { code: 1, err: 'latchkey: cannot write to standard output: the disk is full\n' }, args.join(' '))
  }
  const full = openSync('/dev/full', 'w')
  t.teardown(() => closeSync(full))
  t.same(await Promise.all([start(t, settings, ['user', 'list'], 'pipe'), start(t, settings, ['user', 'list'], full), start(t, settings, ['--help'], full)]), [
    { code: 141, err: '' },
    { code: 1, err: 'latchkey: cannot write to standard output: the disk is full\n' },
    { code: 1, err: 'latchkey: cannot write to standard output: the disk is full\n' }
  ])
})

t.test('serve · starts the server, on the port of --port', async (t) => {
  const { folder } = commandLine(t)
  for (const [args, port] of [[['serve'], '80'], [['serve', '--port', '8080'], '8080']] as const) {
    const env: Record<string, string> = { PORT: '80' }
    let started = 0
    const [stdout, stderr] = [new PassThrough(), new PassThrough()]
    t.equal(await run([...args], { env, dotEnvPath: join(folder, '.env'), serve: async () => { started++ }, stdin: new PassThrough(), stdout, stderr }), 0)
    t.same([started, env.PORT], [1, port])
  }
})

t.test('events · a limit beyond the newest page', async (t) => {
  const { latchkey, settings } = commandLine(t)
  const app = await build(t, settings)
  await servicesOf(app).store.db.run("insert into events (time, kind, outcome, source) with recursive n(i) as (select 1 union all select i + 1 from n where i < 1000) select 0, 'login_failure', 'username_unknown', 'http' from n")
  for (const [limit, lines] of [['1000', 1_000], ['2000', 1_000], ['10', 10]] as const) {
    t.equal((await latchkey(['events', '--json', '--limit', limit])).out.trimEnd().split('\n').length, lines, limit)
  }
})

t.test('explainStartupError · one line for what the operator can fix, else the stack', async (t) => {
  const explain = (members: object) => explainStartupError(Object.assign(new Error('the message of Node'), members))
  t.equal(explain({ syscall: 'listen', code: 'EADDRINUSE', errno: -98, address: '127.0.0.1', port: 80 }), 'latchkey: cannot listen: port 80 on 127.0.0.1 is in use\n')
  t.equal(explain({ syscall: 'listen', code: 'EACCES', errno: -13, address: '127.0.0.1', port: 80 }), 'latchkey: cannot listen: permission denied: 127.0.0.1 port 80\n')
  t.match(explain({ syscall: 'listen', code: 'EADDRNOTAVAIL', errno: -99, address: '192.0.2.1' }), / 192\.0\.2\.1 port 0\n$/)
  t.equal(explain({ syscall: 'getaddrinfo', code: 'ENOTFOUND', errno: -3008, hostname: 'nowhere' }), 'latchkey: cannot listen: the host name is unknown: nowhere\n')
  t.match(explain({}), /^latchkey: Error: the message of Node\n +at /)
})

t.test('serve --port · listens on that port, whatever PORT says', async (t) => {
  const server = startServer(t, temporaryFolder(t), { PORT: '1' }, '', ['cli.ts', 'serve', '--port', '0'])
  t.match(await server.listening, /^http:\/\/127\.0\.0\.1:\d{4,5}$/)
  server.child.kill('SIGTERM')
  t.equal(await server.exited, 0)
})

t.test('SECRET_KEY · rotation over two servers on one database: no token is rejected at any step', async (t) => {
  const { settings } = commandLine(t)
  const [oldKey, newKey] = [secretKey, createSecretKey()]
  /** A server with other keys, in the place of one that ends. */
  const restart = async (server: FastifyInstance | undefined, keys: Record<string, string>) => {
    await server?.close()
    return await build(t, { ...settings, ...keys })
  }
  let [first, second] = [await restart(undefined, { SECRET_KEY: oldKey }), await restart(undefined, { SECRET_KEY: oldKey })]
  const tokens = [await tokenOf(first)]
  const accepted = async () => {
    for (const server of [first, second]) tokens.push((await logIn(server)).json().token)
    const statuses = []
    for (const server of [first, second]) for (const token of tokens) statuses.push((await needLogin(server, token)).statusCode)
    return statuses.every((status) => status === 200)
  }
  for (const keys of [
    { SECRET_KEY: oldKey, SECRET_KEY_PREVIOUS: newKey },
    { SECRET_KEY: newKey, SECRET_KEY_PREVIOUS: oldKey }
  ]) {
    first = await restart(first, keys)
    t.ok(await accepted(), 'when one server has the new settings')
    second = await restart(second, keys)
    t.ok(await accepted(), 'when both have them')
  }
  const signedByNew = tokens.at(-1) ?? ''
  first = await restart(first, { SECRET_KEY: newKey })
  t.equal((await needLogin(first, signedByNew)).statusCode, 200)
  t.match((await needLogin(first, tokens[0] ?? '')).json(), { code: 'TOKEN_INVALID' })
})

for (const database of databases) {
  t.test(`SECRET_KEY · tokens of the database verify with neither key → one warning at the start · ${database.name}`, async (t) => {
    const [oldKey, newKey, newestKey] = [secretKey, createSecretKey(), createSecretKey()]
    const url = await database.create(t, { isShared: true })
    const later = () => Date.now() + 3 * 86_400_000
    /** A server with these keys that starts, serves and ends; its warnings. */
    const serve = async (keys: Record<string, string>, { now = Date.now, work = async () => {} }: { now?: () => number, work?: (app: FastifyInstance) => Promise<unknown> } = {}) => {
      const lines: string[] = []
      const startedAt = now()
      const app = await build(t, { DATABASE_URL: url, LOG_LEVEL: 'warn', ...keys }, { now, logStream: { write: (line) => { lines.push(line) } } })
      await app.listen({ host: '127.0.0.1', port: 0 })
      await work(app)
      const { store } = servicesOf(app)
      await until(async () => (await store.db.select().from(store.tables.signingKeys)).some(({ lastUsedAt }) => lastUsedAt.getTime() >= startedAt))
      await app.close()
      return lines.map((line) => JSON.parse(line).msg)
    }
    const warning = /^some tokens in the database were signed with another SECRET_KEY, .*SECRET_KEY_PREVIOUS/
    t.same(await serve({ SECRET_KEY: oldKey }, { work: (app) => tokenOf(app) }), [])
    t.same(await serve({ SECRET_KEY: oldKey }), [])
    t.same(await serve({ SECRET_KEY: oldKey, SECRET_KEY_PREVIOUS: newKey }), [])
    t.same(await serve({ SECRET_KEY: newKey, SECRET_KEY_PREVIOUS: oldKey }), [])
    const mistaken = await serve({ SECRET_KEY: newestKey, SECRET_KEY_PREVIOUS: newKey })
    t.match(mistaken, [warning])
    t.equal(mistaken.length, 1)
    for (const key of [oldKey, newKey, newestKey]) t.notMatch(mistaken.join(), key)
    t.same(await serve({ SECRET_KEY: newestKey, SECRET_KEY_PREVIOUS: newKey }, { now: later }), [], 'its tokens have expired')
    t.same(await serve({ SECRET_KEY: newestKey }, { now: later }), [])
  })
}

t.test('npm start · SIGTERM to npm ends the server too', async (t) => {
  const { scripts } = JSON.parse(readFileSync(join(import.meta.dirname, '../package.json'), 'utf8'))
  // The real script in a folder of its own. What it starts stands in for the server and waits for the same signal.
  const folder = temporaryFolder(t)
  mkdirSync(join(folder, 'dist'))
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'started', type: 'module', scripts: { start: scripts.start } }))
  writeFileSync(join(folder, 'dist/server.cjs'), "process.on('SIGTERM', () => { console.log('closed'); process.exit(0) }); setInterval(() => {}, 1_000); console.log('pid ' + process.pid)")
  const npm = spawn('npm', ['start', '--silent'], { cwd: folder, stdio: ['ignore', 'pipe', 'inherit'] })
  let printed = ''
  npm.stdout.setEncoding('utf8').on('data', (chunk) => { printed += chunk })
  const ended = once(npm, 'close')
  while (!/pid \d+\n/.test(printed) && npm.exitCode === null) await delay(20)
  const pid = Number(/pid (\d+)/.exec(printed)?.[1])
  t.teardown(() => { if (isAlive(pid)) process.kill(pid, 'SIGKILL') })
  npm.kill('SIGTERM')
  await Promise.race([ended, delay(10_000, undefined, { ref: false })])
  t.match(printed, /closed\n$/)
  t.notOk(isAlive(pid), 'no process is left')
})

/** Whether there is a process with this id. */
function isAlive (pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}
