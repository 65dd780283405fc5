import Fastify from 'fastify'
import t from 'tap'
import latchkey from '../src/index.js'
import { ConfigError, loadConfig } from '../src/standalone/config.js'
import { secretKey } from './helper.js'

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
