import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import fs, { chmodSync, chownSync, closeSync, existsSync, lchownSync, linkSync, lstatSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { dirname, join } from 'node:path'
import t from 'tap'
import { printableUrl } from '../src/database/urls.js'
import { folderProblem, linkProblem, replacementProblem } from '../src/lib/new-file.js'
import { createSecretKey } from '../src/lib/secret-key.js'
import { defaultHashConcurrency, hashConcurrencyOf } from '../src/lib/thread-pool.js'
import { ConfigError, loadConfig } from '../src/standalone/config.js'
import { loadEnvironment } from '../src/standalone/environment.js'
import { asStranger, isRoot, secretKey, stranger, temporaryFolder } from './helper.js'

function problemsOf (env: Record<string, string>): string[] {
  try {
    loadConfig(env)
    return []
  } catch (error) {
    return error instanceof ConfigError ? error.problems : [String(error)]
  }
}

t.test('hashConcurrencyOf · a processor each, one less on more than three, within the threads of the pool', async (t) => {
  for (const [processors, poolSize, expected] of [[1, undefined, 1], [2, undefined, 2], [3, undefined, 3], [4, undefined, 3], [8, undefined, 3], [4, '5', 3], [5, '6', 4], [8, '9', 7], [64, '65', 63], [8, '2', 1], [8, '1', 1], [8, 'x', 3]] as const) {
    t.equal(hashConcurrencyOf(processors, poolSize), expected, `${processors} processors, ${poolSize} threads`)
  }
})

t.test('loadConfig', async (t) => {
  t.test('only SECRET_KEY → the documented defaults, frozen', async (t) => {
    const config = loadConfig({ SECRET_KEY: secretKey })
    t.same(config, {
      host: '127.0.0.1',
      port: 3000,
      databaseUrl: 'sqlite:///data/latchkey.sqlite',
      databasePoolSize: 10,
      databaseConnectTimeoutMs: 2_000,
      databaseStatementTimeoutMs: 3_000,
      databasePrepare: 'on',
      secretKey,
      tokenTtlSeconds: 172_800,
      sessionMaxSeconds: 2_592_000,
      passwordMinLength: 8,
      passwordBlocklist: 'on',
      hashConcurrency: defaultHashConcurrency,
      hashQueue: 32,
      hashDeadlineMs: 3_000,
      loginFailuresPerAddressMinute: 30,
      loginFailuresPerAddressHour: 300,
      loginFailuresPerAccount: 10,
      loginsPerAddressMinute: 1_200,
      loginsPerAccountMinute: 300,
      tokensPerAccountHour: 200,
      signupsPerAddressHour: 100,
      resetsPerAddressHour: 20,
      auditRetentionDays: 30,
      signup: 'open',
      loginErrors: 'detailed',
      trustProxy: [],
      keepAliveTimeoutMs: 72_000,
      corsOrigin: [],
      metricsHost: '127.0.0.1',
      logLevel: 'info'
    })
    t.ok(Object.isFrozen(config))
  })

  t.test('every setting → its value', async (t) => {
    t.match(loadConfig({
      HOST: '::1',
      PORT: '0',
      DATABASE_URL: 'postgres://user@/latchkey?host=/run/postgresql',
      DATABASE_POOL_SIZE: '2',
      DATABASE_CONNECT_TIMEOUT_MS: '500',
      DATABASE_STATEMENT_TIMEOUT_MS: '600',
      DATABASE_PREPARE: 'off',
      SECRET_KEY: secretKey,
      SECRET_KEY_PREVIOUS: createSecretKey(),
      TOKEN_TTL_SECONDS: '60',
      PASSWORD_MIN_LENGTH: '15',
      PASSWORD_BLOCKLIST: 'off',
      SIGNUP: 'closed',
      LOGIN_ERRORS: 'uniform',
      LOGIN_FAILURES_PER_ADDRESS_MINUTE: '0',
      LOGIN_FAILURES_PER_ADDRESS_HOUR: '1',
      LOGIN_FAILURES_PER_ACCOUNT: '2',
      LOGINS_PER_ADDRESS_MINUTE: '0',
      LOGINS_PER_ACCOUNT_MINUTE: '3',
      TOKENS_PER_ACCOUNT_HOUR: '7',
      SIGNUPS_PER_ADDRESS_HOUR: '10000',
      AUDIT_RETENTION_DAYS: '0',
      METRICS_HOST: '::',
      METRICS_PORT: '9464',
      TRUST_PROXY: '127.0.0.1, 10.0.0.0/8,::1,fd00::/8',
      KEEP_ALIVE_TIMEOUT_MS: '65000',
      CORS_ORIGIN: 'https://app.example.com, http://localhost:5173',
      LOG_LEVEL: 'trace'
    }), {
      host: '::1',
      port: 0,
      databaseUrl: 'postgres://user@/latchkey?host=/run/postgresql',
      databasePoolSize: 2,
      databaseConnectTimeoutMs: 500,
      databaseStatementTimeoutMs: 600,
      databasePrepare: 'off',
      tokenTtlSeconds: 60,
      passwordMinLength: 15,
      passwordBlocklist: 'off',
      signup: 'closed',
      loginErrors: 'uniform',
      loginFailuresPerAddressMinute: 0,
      loginFailuresPerAddressHour: 1,
      loginFailuresPerAccount: 2,
      loginsPerAddressMinute: 0,
      loginsPerAccountMinute: 3,
      tokensPerAccountHour: 7,
      signupsPerAddressHour: 10_000,
      auditRetentionDays: 0,
      metricsHost: '::',
      metricsPort: 9464,
      trustProxy: ['127.0.0.1', '10.0.0.0/8', '::1', 'fd00::/8'],
      keepAliveTimeoutMs: 65_000,
      corsOrigin: ['https://app.example.com', 'http://localhost:5173'],
      logLevel: 'trace'
    })
  })

  t.test('empty setting → the default', async (t) => {
    t.match(loadConfig({ SECRET_KEY: secretKey, PORT: '', CORS_ORIGIN: '' }), { port: 3000, corsOrigin: [] })
  })

  t.test('several invalid settings → all are listed, in the order of the documentation, without secrets', async (t) => {
    const secret = 'hunter2hunter2'
    const problems = problemsOf({ LOG_LEVEL: 'loud', PORT: '70000', SECRET_KEY: secret, SIGNUP: 'maybe' })
    t.same(problems.map((problem) => problem.split(' ')[0]), ['PORT', 'SECRET_KEY', 'SIGNUP', 'LOG_LEVEL'])
    t.notMatch(problems.join(), secret)
  })

  const refused: Record<string, string[]> = {
    PORT: ['-1', '65536', '3000.5', '1e3', '0x50', ' 3000', 'http'],
    DATABASE_URL: ['latchkey.sqlite', 'mysql://localhost/latchkey', 'sqlite:/data', 'postgres:', 'postgres://user:p/w@host/db', 'postgres://one:1,two:2/db'],
    DATABASE_POOL_SIZE: ['0', '1001', 'ten'],
    DATABASE_CONNECT_TIMEOUT_MS: ['0', '99', '60001', '2s'],
    DATABASE_STATEMENT_TIMEOUT_MS: ['0', '60001'],
    DATABASE_PREPARE: ['ON', 'true'],
    TOKEN_TTL_SECONDS: ['0', '-1', '31536001', '48h', '99999999999999999999'],
    PASSWORD_MIN_LENGTH: ['7', '65', 'eight'],
    PASSWORD_BLOCKLIST: ['true', 'ON', '1'],
    HASH_CONCURRENCY: ['0', '65', 'all'],
    HASH_QUEUE: ['-1', '10001'],
    HASH_DEADLINE_MS: ['0', '3s'],
    LOGIN_FAILURES_PER_ADDRESS_MINUTE: ['-1', '10001', 'many'],
    LOGIN_FAILURES_PER_ADDRESS_HOUR: ['-1', '10001'],
    LOGIN_FAILURES_PER_ACCOUNT: ['-1', '10001'],
    LOGINS_PER_ADDRESS_MINUTE: ['-1', '10001', '1e3'],
    LOGINS_PER_ACCOUNT_MINUTE: ['-1', '10001'],
    SIGNUPS_PER_ADDRESS_HOUR: ['-1', '10001'],
    AUDIT_RETENTION_DAYS: ['-1', '3651', '30d'],
    METRICS_PORT: ['65536', 'on'],
    SIGNUP: ['yes', 'OPEN'],
    LOGIN_ERRORS: ['vague'],
    TRUST_PROXY: ['true', '1', 'loopback', '10.0.0.0/33', '0.0.0.0/0', '::/0', '10.0.0.0/8/8', '10.0.0.0/', '127.0.0.1,'],
    KEEP_ALIVE_TIMEOUT_MS: ['0', '999', '3600001', '72s', 'off'],
    CORS_ORIGIN: ['*', 'app.example.com', 'https://app.example.com/', 'https://app.example.com/path', 'ftp://app.example.com', 'null', 'https://'],
    PUBLIC_URL: ['login.example.com', 'ftp://login.example.com', 'https://', 'https://login.example.com?x', 'https://login.example.com/#x', 'https://bob:secret@login.example.com', 'https://bob@login.example.com', `https://${'x'.repeat(1_000)}.example.com`],
    LOG_LEVEL: ['INFO', 'verbose'],
    SECRET_KEY: [
      '', 'short', 'x'.repeat(31), 'a'.repeat(64), 'secret'.repeat(8), ` ${secretKey}`, `${secretKey}\n`,
      'ad132b10-fa43-4048-ae5b-ab5b0a782c5c', 'AD132B10-FA43-4048-AE5B-AB5B0A782C5C', 'a-string-secret-at-least-256-bits-long'
    ],
    SECRET_KEY_PREVIOUS: ['', 'short']
  }
  for (const [name, values] of Object.entries(refused)) {
    t.test(`${name} · invalid values → one problem`, async (t) => {
      for (const value of values) {
        const [problem, ...others] = problemsOf({ SECRET_KEY: secretKey, [name]: value })
        t.match(problem, new RegExp(`^${name} must (?:be|not begin or end with) `), JSON.stringify(value))
        t.same(others, [])
      }
    })
  }

  t.test('PUBLIC_URL · with a path; a user and a password are not shown', async (t) => {
    t.match(loadConfig({ SECRET_KEY: secretKey, PUBLIC_URL: 'https://example.com/login/' }), { publicUrl: 'https://example.com/login/' })
    t.notMatch(problemsOf({ SECRET_KEY: secretKey, PUBLIC_URL: 'https://bob:secret@login.example.com' }).join(), /bob|secret@/)
  })

  const half = 'Zq8vK2xWm5TgR7bN'
  const guessableKeys = [
    'changeme-changeme-changeme-changeme', 'CHANGE_ME_CHANGE_ME_CHANGE_ME_CHANGE_ME', 'secret'.repeat(6), 'please-change-me-please-change-me-1234',
    'your-super-secret-jwt-key-change-this-in-production', 'Your_Jwt_Secret_Key_Here_Min_32_Chars!', 'MySuperSecretKeyForJwtTokens2024!', 'thisisaverylongsecretkeythatisatleast32bytes',
    'replace-this-with-a-long-random-string-of-at-least-32-characters', 'this-is-a-very-long-secret-key-for-my-app-that-is-at-least-32-bytes', 'my-32-character-ultra-secure-and-ultra-long-secret',
    'some-secret-value-that-nobody-will-ever-guess-123', 'correct horse battery staple correct horse battery staple', 'the-quick-brown-fox-jumps-over-the-lazy-dog', 'Y0urSup3rS3cr3tK3yF0rJwtT0kens!!', 'P@ssw0rdP@ssw0rd1234P@ssw0rd!!!!',
    'abcdefghabcdefghabcdefghabcdefgh', '0123456789012345678901234567890123', '1234567890abcdef1234567890abcdef', 'abc'.repeat(20), 'AAAABBBBCCCCDDDDEEEEFFFFGGGGHHHHIIII', 'abcdefghijklmnopqrstuvwxyz0123456789',
    'zyxwvutsrqponmlkjihgfedcba987654', '98765432109876543210987654321098', 'aabbccddeeffgghhiijjkkllmmnnoopp', 'a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6', 'acegikmoqsuwybdfhjlnprtvxz135790', 'abc1abc2abc3abc4abc5abc6abc7abc8', '000102030405060708090a0b0c0d0e0f',
    'qwertyuiopasdfghjklzxcvbnm123456', 'poiuytrewqlkjhgfdsamnbvcxz654321', '1q2w3e4r5t6y7u8i9o0p1q2w3e4r5t6y', '1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9', '!QAZ@WSX#EDC$RFV%TGB^YHN&UJM*IK<', '31415926535897932384626433832795',
    half + half, half + [...half].reverse().join(''), `${half}-${half.toLowerCase()}`, 'x7Gq'.repeat(8), 'q9Zr4'.repeat(7), '00000000-0000-0000-0000-000000000001', '12345678-1234-5678-1234-567812345678', '123e4567-e89b-12d3-a456-426614174000',
    ...(['hex', 'base64', 'base64url'] as const).map((encoding) => Buffer.from('your-super-secret-jwt-key-change-me').toString(encoding)), 'abcdefgh'.repeat(100_000)
  ]
  t.test('SECRET_KEY · words, repeats and sequences, however long → rejected', async (t) => {
    for (const key of guessableKeys) t.match(problemsOf({ SECRET_KEY: key }), [/^SECRET_KEY must be a secret of at least 32 bytes/], key.slice(0, 80))
  })

  t.test('SECRET_KEY · random text → accepted', async (t) => {
    // From a seed, so that what fails once fails again.
    let count = 0
    const bytes = (length: number) => createHash('shake256', { outputLength: length }).update(`seed ${count++}`).digest()
    const uuid = () => bytes(16).toString('hex').replace(/^(.{8})(.{4}).(.{3}).(.{3})/, '$1-$2-4$3-a$4-')
    for (const [name, random] of Object.entries({
      'hexadecimal digits': () => bytes(16).toString('hex'),
      Base64: () => bytes(24).toString('base64'),
      base64url: () => bytes(24).toString('base64url'),
      'a UUID': uuid,
      'our own': createSecretKey
    })) {
      const refused = Array.from({ length: 3_000 }, random).filter((key) => problemsOf({ SECRET_KEY: key }).length > 0)
      t.same(refused, [], name)
    }
    for (const key of [`${half}${half}uX3`, 'the app is started with kV9pQ2mZx7RtL4wB8nYc', 'x'.repeat(2_000).replace(/^x{20}/, 'kV9pQ2mZx7RtL4wB8nYc')]) t.same(problemsOf({ SECRET_KEY: key }), [])
  })

  t.test('SECRET_KEY · its length is counted in bytes; not set → one problem', async (t) => {
    t.same(problemsOf({ SECRET_KEY: 'øŁéßčŸñŵõģżĦîďųçşāŤþ' }), [], 'twenty characters of two bytes')
    t.same(problemsOf({}), ['SECRET_KEY is not set'])
  })
})

t.test('loadEnvironment', async (t) => {
  t.test('no SECRET_KEY → one is created, kept in .env for the owner only, and read again', async (t) => {
    const path = join(temporaryFolder(t), '.env')
    const first = loadEnvironment({}, path)
    t.equal(first.isSecretKeyNew, true)
    t.equal(statSync(path).mode & 0o777, 0o600)
    t.ok(Buffer.byteLength(first.config.secretKey) >= 32)
    t.match(readFileSync(path, 'utf8'), `SECRET_KEY=${first.config.secretKey}\n`)
    const second = loadEnvironment({}, path)
    t.equal(second.isSecretKeyNew, false)
    t.equal(second.config.secretKey, first.config.secretKey)
  })

  t.test('.env without a key → the key is added, the rest is not changed', async (t) => {
    for (const present of ['', 'PORT=4000', 'PORT=4000\n']) {
      const path = join(temporaryFolder(t), '.env')
      writeFileSync(path, present)
      const { config } = loadEnvironment({}, path)
      t.match(loadEnvironment({}, path).config, { secretKey: config.secretKey, port: present === '' ? 3000 : 4000 })
      t.ok(readFileSync(path, 'utf8').startsWith(present))
      t.equal(statSync(path).mode & 0o777, 0o600)
    }
  })

  t.test('.env with a byte order mark → read', async (t) => {
    const path = join(temporaryFolder(t), '.env')
    writeFileSync(path, `\ufeffSECRET_KEY=${secretKey}\r\nPORT=4000\r\n`)
    t.match(loadEnvironment({}, path), { isSecretKeyNew: false, config: { secretKey, port: 4000 } })
  })

  t.test('variable in the environment and in .env → the environment counts', async (t) => {
    const path = join(temporaryFolder(t), '.env')
    writeFileSync(path, `SECRET_KEY='${createSecretKey()}'\nPORT=4000 # a comment\nHOST="::1"\n`)
    t.match(loadEnvironment({ PORT: '5000', SECRET_KEY: secretKey }, path), { isSecretKeyNew: false, config: { port: 5000, host: '::1', secretKey } })
  })

  t.test('another setting is invalid → no key is created', async (t) => {
    const path = join(temporaryFolder(t), '.env')
    t.throws(() => loadEnvironment({ PORT: 'http' }, path), { name: 'ConfigError', message: /^PORT must be/ })
    t.notOk(existsSync(path))
  })

  t.test('empty SECRET_KEY → rejected, not replaced', async (t) => {
    const path = join(temporaryFolder(t), '.env')
    t.throws(() => loadEnvironment({ SECRET_KEY: '' }, path), { name: 'ConfigError', message: /^SECRET_KEY must be/ })
    t.notOk(existsSync(path))
  })

  t.test('.env cannot be written → rejected, with the reason and what to do', async (t) => {
    const path = join(temporaryFolder(t), 'no-such-folder', '.env')
    t.throws(() => loadEnvironment({}, path), { name: 'ConfigError', message: /SECRET_KEY is not set.*no such file or directory.*set SECRET_KEY in the environment/ })
  })

  t.test('.env opened by another process before → that process cannot read the key', async (t) => {
    const path = join(temporaryFolder(t), '.env')
    writeFileSync(path, 'PORT=4000\n')
    chmodSync(path, 0o644)
    const [reader, hardLink] = [openSync(path, 'r+'), `${path}-2`]
    t.teardown(() => closeSync(reader))
    linkSync(path, hardLink)
    const { config } = loadEnvironment({}, path)
    t.match(readFileSync(path, 'utf8'), `PORT=4000\n# Signs every token. Keep it secret: with it, anyone can log in as any user.\nSECRET_KEY=${config.secretKey}\n`)
    t.equal(readFileSync(reader, 'utf8'), 'PORT=4000\n')
    t.equal(readFileSync(hardLink, 'utf8'), 'PORT=4000\n')
    t.equal(statSync(path).mode & 0o777, 0o600)
    t.same(readdirSync(dirname(path)).sort(), ['.env', '.env-2'], 'and nothing else is left')
  })

  t.test('key added to .env → its content stays, byte for byte', async (t) => {
    const path = join(temporaryFolder(t), '.env')
    const before = Buffer.concat([Buffer.from('\ufeff# caf'), Buffer.from([0xe9]), Buffer.from('\r\nPORT=4000')])
    writeFileSync(path, before)
    const { config } = loadEnvironment({}, path)
    t.same(readFileSync(path).subarray(0, before.length), before)
    t.match(loadEnvironment({}, path).config, { secretKey: config.secretKey, port: 4000 })
  })

  t.test('.env is a symbolic link → its target is replaced', async (t) => {
    const [here, there] = [temporaryFolder(t), temporaryFolder(t)]
    const [link, path] = [join(here, '.env'), join(there, 'latchkey.env')]
    writeFileSync(path, 'PORT=4000\n')
    symlinkSync(path, link)
    const { config } = loadEnvironment({}, link)
    t.ok(lstatSync(link).isSymbolicLink())
    t.match(readFileSync(path, 'utf8'), `SECRET_KEY=${config.secretKey}\n`)
    t.same([readdirSync(here), readdirSync(there)], [['.env'], ['latchkey.env']])
  })

  t.test('.env is a broken link, in a folder that everybody can write to, or not a file → rejected', async (t) => {
    const refused = (path: string, reason: RegExp) => {
      t.throws(() => loadEnvironment({}, path), { name: 'ConfigError', message: new RegExp(`^SECRET_KEY is not set, and a new one cannot be saved in \\S+ \\(.*${reason.source}.*\\): set SECRET_KEY in the environment`) })
    }
    const folder = temporaryFolder(t)
    symlinkSync(join(folder, 'victim'), join(folder, '.env'))
    refused(join(folder, '.env'), /it is a symbolic link to a missing file/)
    t.same(readdirSync(folder), ['.env'])
    refused('/dev/null', /it is not a regular file/)

    const open = temporaryFolder(t)
    chmodSync(open, 0o777)
    refused(join(open, '.env'), /the folder \S+ can be written to by everybody/)
    writeFileSync(join(open, '.env'), 'PORT=4000\n')
    symlinkSync(join(open, '.env'), join(folder, 'link'))
    refused(join(folder, 'link'), /the folder \S+ can be written to by everybody/)
    t.same(readdirSync(open), ['.env'])
    t.equal(readFileSync(join(open, '.env'), 'utf8'), 'PORT=4000\n')
  })

  t.test('key cannot be written to the disk → nothing is left of it', async (t) => {
    const path = join(temporaryFolder(t), '.env')
    writeFileSync(path, 'PORT=4000\n')
    const { fsyncSync } = fs
    const set = (replaced: object) => {
      Object.assign(fs, replaced)
      syncBuiltinESMExports()
    }
    t.teardown(() => set({ fsyncSync }))
    set({ fsyncSync: () => { throw new Error('EIO: i/o error, fsync') } })
    t.throws(() => loadEnvironment({}, path), { name: 'ConfigError', message: /cannot be saved in \S+ \(EIO: i\/o error, fsync\)/ })
    t.same(readdirSync(dirname(path)), ['.env'])
    t.equal(readFileSync(path, 'utf8'), 'PORT=4000\n')
  })

  t.test('root keeps the owner of .env; a file or link of another user → rejected', { skip: isRoot ? false : 'only root can be somebody else' }, async (t) => {
    const folder = temporaryFolder(t)
    const path = join(folder, '.env')
    writeFileSync(path, 'PORT=4000\n')
    chownSync(path, stranger, stranger)
    loadEnvironment({}, path)
    t.match(statSync(path), { uid: stranger, mode: 0o100600 })

    const link = join(folder, 'link')
    writeFileSync(path, 'PORT=4000\n')
    symlinkSync(path, link)
    lchownSync(link, stranger, stranger)
    t.throws(() => loadEnvironment({}, link), { name: 'ConfigError', message: /\(the symbolic link belongs to another user\)/ }, 'not even root')
    t.equal(readFileSync(path, 'utf8'), 'PORT=4000\n')

    chownSync(folder, stranger, stranger)
    chownSync(path, 65_533, 65_533)
    for (const mode of [0o666, 0o644]) {
      chmodSync(path, mode)
      await asStranger(() => { t.throws(() => loadEnvironment({}, path), { name: 'ConfigError', message: /\(it belongs to another user\)/ }) })
      t.equal(readFileSync(path, 'utf8'), 'PORT=4000\n')
    }
    chownSync(folder, 65_533, 65_533)
    chmodSync(folder, 0o1777)
    await asStranger(() => { t.throws(() => loadEnvironment({}, join(folder, '.other')), { name: 'ConfigError', message: /the folder \S+ belongs to another user/ }) })
  })

  t.test('.env with secrets that others can read → a warning', async (t) => {
    const path = join(temporaryFolder(t), '.env')
    const warningsFor = (content: string, mode: number) => {
      writeFileSync(path, content)
      chmodSync(path, mode)
      return loadEnvironment({ SECRET_KEY: secretKey, DATABASE_URL: 'sqlite://' }, path).warnings
    }
    t.same(warningsFor(`SECRET_KEY=${secretKey}\nPORT=4000\nDATABASE_URL=postgres://bob:secret@localhost/latchkey\n`, 0o644), [`other users of this machine can read or change ${path}, which contains SECRET_KEY and DATABASE_URL: run chmod 600 ${path}`])
    t.match(warningsFor('SMTP_URL=smtps://bob:secret@mail.example.com\nMAIL_FROM=login@example.com', 0o644), [/which contains SMTP_URL: run/])
    for (const mode of [0o640, 0o604, 0o620, 0o602]) t.match(warningsFor(`SECRET_KEY_PREVIOUS=${secretKey}`, mode), [/other users of this machine can read or change \S+, which contains SECRET_KEY_PREVIOUS:/])
    for (const mode of [0o600, 0o400]) t.same(warningsFor(`SECRET_KEY=${secretKey}`, mode), [])
    t.same(warningsFor('PORT=4000\n# SECRET_KEY=\nDATABASE_URL=\n', 0o644), [], 'there is nothing to hide')

    writeFileSync(path, 'PORT=4000\n')
    t.same(loadEnvironment({}, path).warnings, [], 'with a new key in it nobody else can read it')
    rmSync(path)
    t.same(loadEnvironment({ SECRET_KEY: secretKey }, path).warnings, [])
    t.same(loadEnvironment({}, path, { missingKey: 'ignore' }).warnings, [])
  })

  t.test('another process creates the key → its key is used; it never finishes → rejected, with the name of the lock file', async (t) => {
    const path = join(temporaryFolder(t), '.env')
    writeFileSync(path, 'PORT=4000\n')
    writeFileSync(`${path}.lock`, '')
    const other = spawn('sh', ['-c', `echo ready; sleep 0.3; echo "SECRET_KEY=${secretKey}" >> "$0"; rm "$0.lock"`, path])
    await once(other.stdout, 'data')
    t.match(loadEnvironment({}, path).config, { secretKey, port: 4000 })
    await once(other, 'exit')
    t.equal(readFileSync(path, 'utf8').match(/SECRET_KEY=/g)?.length, 1)

    const stuck = join(temporaryFolder(t), '.env')
    writeFileSync(`${stuck}.lock`, '')
    t.throws(() => loadEnvironment({}, stuck), { name: 'ConfigError', message: /^SECRET_KEY is not set.*\.env\.lock exists.*left over: delete it/ })
    t.notOk(existsSync(stuck))
  })

  t.test('command that signs nothing → no key is created; command that must sign → rejected without a key', async (t) => {
    const path = join(temporaryFolder(t), '.env')
    t.match(loadEnvironment({}, path, { missingKey: 'ignore' }), { isSecretKeyNew: false, hasSecretKey: false })
    t.equal(loadEnvironment({ SECRET_KEY: secretKey }, path, { missingKey: 'ignore' }).hasSecretKey, true)
    t.throws(() => loadEnvironment({}, path, { missingKey: 'require' }), { name: 'ConfigError', message: /^SECRET_KEY is not set/ })
    t.notOk(existsSync(path))
  })

  t.test('.env cannot be read → rejected', async (t) => {
    const path = join(temporaryFolder(t), '.env')
    mkdirSync(path)
    chmodSync(path, 0o700)
    t.throws(() => loadEnvironment({ SECRET_KEY: secretKey }, path), { name: 'ConfigError', message: /cannot read \S+: it is a folder/ })
  })
})

t.test('folderProblem, linkProblem, replacementProblem · where a file may be created, which link followed, which file replaced', async (t) => {
  const [root, own, other] = [0, 1_000, 1_001]
  for (const [uid, mode, user, problem] of [
    [own, 0o40700, own, undefined],
    [own, 0o40775, own, undefined],
    [root, 0o40755, own, undefined],
    [root, 0o41777, own, undefined],
    [other, 0o40700, own, 'belongs to another user'],
    [other, 0o41777, own, 'belongs to another user'],
    [own, 0o40777, own, 'can be written to by everybody'],
    [own, 0o40702, own, 'can be written to by everybody'],
    [root, 0o40777, own, 'can be written to by everybody'],
    [other, 0o40755, root, undefined],
    [other, 0o40777, root, 'can be written to by everybody'],
    [other, 0o40777, undefined, undefined]
  ] as const) t.equal(folderProblem({ uid, mode }, user), problem, `${uid} ${mode.toString(8)} ${user}`)

  const another = 'belongs to another user'
  for (const [uid, user, link, replacement] of [
    [own, own, undefined, undefined],
    [root, own, undefined, another],
    [other, own, another, another],
    [root, root, undefined, undefined],
    [other, root, another, undefined],
    [0, undefined, undefined, undefined]
  ] as const) {
    t.equal(linkProblem({ uid }, user), link, `a link of ${uid} for ${user}`)
    t.equal(replacementProblem({ uid }, user), replacement, `a file of ${uid} for ${user}`)
  }
})

t.test('printableUrl · a database URL without user, password and parameters', async (t) => {
  for (const [url, shown] of [
    ['sqlite:////home/a@b/latchkey.sqlite', 'sqlite:////home/a@b/latchkey.sqlite'],
    ['postgres://bob:secret@db.example:5433/latchkey?sslmode=require&password=secret', 'postgres://db.example:5433/latchkey'],
    ['postgresql://bob:sec@ret@db.example/latchkey', 'postgresql://db.example/latchkey'],
    ['postgres://bob@/latchkey?host=/run/postgresql', 'postgres:///run/postgresql/latchkey'],
    ['postgres:///latchkey', 'postgres:///latchkey'],
    ...['postgres://bob:sec/ret@db.example/latchkey', 'postgres://bob:/secret@db.example/latchkey', 'postgres://bob:12/secret@db.example/latchkey', 'postgres://bob:12#secret@db.example/latchkey', 'postgres://bob:12?secret@db.example/latchkey', 'postgres://bob:sec ret@db.example/latchkey', 'postgres://db.example/latchkey#x'].map((url) => [url, 'postgres://'] as const)
  ] as const) {
    t.equal(printableUrl(url), shown)
  }
})
