import { once } from 'node:events'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import latchkey from '../src/index.js'
import { ConfigError, loadConfig } from '../src/standalone/config.js'
import { loadEnvironment } from '../src/standalone/environment.js'
import { describeError } from '../src/lib/system-error.js'
import { commandLine, refused } from './command-line.js'
import { secretKey, startServer, temporaryFolder } from './helper.js'

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

t.test('settings · white space around a value → refused by name', async (t) => {
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
  t.same(problemsOf({ SIGNUP: 'maybe', TRUST_PROXY: '127.0.0.1, loopback' }), ['SIGNUP must be open or closed, not "maybe"', 'TRUST_PROXY must be a comma-separated list of addresses or CIDR ranges, not "loopback"'])
  t.same(problemsOf({ PORT: 'x'.repeat(100_000) }), [`PORT must be an integer from 0 to 65535, not "${'x'.repeat(40)}…"`])
  t.same(problemsOf({ SIGNUP: 'a\u001b[31m\u202eb\nc' }), ['SIGNUP must be open or closed, not "a\\u{1b}[31m\\u{202e}b\\u{a}c"'])
  t.same(problemsOf({ CORS_ORIGIN: 'https://bob:hunter2@app.example.com' }), ['CORS_ORIGIN must be a comma-separated list of origins like https://app.example.com'])
  for (const name of ['SECRET_KEY', 'SECRET_KEY_PREVIOUS', 'DATABASE_URL']) {
    t.match(problemsOf({ [name]: 'hunter2hunter2' }), [new RegExp(`^${name} must be `)])
    t.notMatch(problemsOf({ [name]: 'hunter2hunter2' }).join(), /hunter2/)
  }
  t.equal(await bootError({ hashQueue: -1, signup: true, tokenTtlSeconds: null, prefix: 'auth', now: 5 }), 'TypeError: latchkey: tokenTtlSeconds must be an integer from 1 to 31536000, not null; hashQueue must be an integer from 0 to 10000, not -1; signup must be open or closed, not true; prefix must begin with a slash and end without one, not "auth"; now must be a function that returns the time, not 5')
  t.match(await bootError({ hashParameters: {} }), /hashParameters must have memoryCost, timeCost and parallelism$/)
})

t.test('DATABASE_URL · two slashes before a file → refused with the right spelling', async (t) => {
  for (const path of ['data/app.sqlite', 'app.sqlite', './data/app.sqlite', 'C:\\data\\app.sqlite']) {
    t.same(problemsOf({ DATABASE_URL: `sqlite://${path}` }), [`DATABASE_URL must have three slashes for a file: sqlite:///${path}`])
    t.equal(await bootError({ databaseUrl: `sqlite://${path}` }), `TypeError: latchkey: databaseUrl must have three slashes for a file: sqlite:///${path}`)
  }
  for (const url of ['sqlite://bob:hunter2@localhost/app', `sqlite://${'x'.repeat(10_000)}`, 'sqlite3:///x', 'sqlite:/x']) {
    t.match(problemsOf({ DATABASE_URL: url }), [/^DATABASE_URL must be like sqlite:\/\/\/relative\/path, [^@]*user:password@host:port\/database$/])
  }
  for (const url of ['sqlite://', 'sqlite:///:memory:', 'sqlite://:memory:', 'sqlite:///x', 'sqlite:////x']) t.same(problemsOf({ DATABASE_URL: url }), [])
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
    [{ SIGNUP: 'maybe', SIGNUPP: 'closed', DATABASE_URL: 'sqlite://x.sqlite' }, ['latchkey: DATABASE_URL must have three slashes for a file: sqlite:///x.sqlite', 'latchkey: SIGNUP must be open or closed, not "maybe"']]
  ] as const) {
    const folder = temporaryFolder(t)
    const server = startServer(t, folder, { SECRET_KEY: undefined, ...env })
    t.equal(await server.exited, 1)
    t.same(server.output().trimEnd().split('\n'), lines)
    t.same(readdirSync(folder), [])
  }
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
    ['user', 'logout', 'bob'], ['user', 'unlock', 'bob'], ['role', 'grant', 'bob', 'editor'], ['role', 'revoke', 'bob', 'editor'], ['role', 'list'], ['role', 'delete', 'editor'], ['events'], ['export'], ['secret'], ['import']
  ]) {
    t.match(await latchkey(args, args[0] === 'import' ? '' : 'correct horse battery staple'), { code: 0, err: '' }, args.join(' '))
  }
  t.same(readdirSync(folder).filter((name) => name.startsWith('.env')), ['.env'])
  t.equal(readFileSync(join(folder, '.env'), 'utf8'), 'APP_NAME=shop\n')
  refused(t, await latchkey(['token', 'create', 'bob', '--description', 'x']), 'SECRET_KEY is not set')
})
