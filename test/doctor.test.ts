import { once } from 'node:events'
import fs, { chmodSync, chownSync, copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, truncateSync, utimesSync, writeFileSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { text } from 'node:stream/consumers'
import Database from 'better-sqlite3'
import t, { type Test } from 'tap'
import { checkDriver } from '../src/commands/doctor/database.js'
import { runCheck, worstOf } from '../src/commands/doctor/check.js'
import { checkMailServer } from '../src/commands/doctor/mail-server.js'
import { checkNode } from '../src/commands/doctor/node.js'
import { checkVersion } from '../src/commands/doctor/postgres.js'
import { environmentChecks } from '../src/commands/doctor/settings.js'
import { rateSpeed } from '../src/commands/doctor/speed.js'
import { checkDurability, checkForeignKeys, checkPages } from '../src/commands/doctor/sqlite.js'
import { checkAccess } from '../src/commands/doctor/sqlite-files.js'
import { run } from '../src/commands/index.js'
import { createSealing } from '../src/plugins/second-factor/sealing.js'
import { createTotpSecret } from '../src/plugins/second-factor/totp.js'
import { type Answer, commandLine, notServed } from './command-line.js'
import { createPostgres, withClient } from './databases.js'
import { freePort } from './free-port.js'
import { asStranger, build, fillDisks, isRoot, secretKey, signUp, stranger, temporaryFolder } from './helper.js'
import { newName, on, run as runStatement } from './postgres-server.js'
import { startSilentServer, startSmtpServer } from './smtp-server.js'

type CommandLine = ReturnType<typeof commandLine>

interface Report { status: string, checks: Array<{ name: string, status: string, message: string, advice?: string }> }

const otherKey = 'Zq8wLm2xVn5rTb9yKc4dHf7gJs3pQa6eUi1oWt'
const dayMs = 86_400_000

/** Runs statements on a file. */
function edit (file: string, ...statements: string[]): void {
  const client = new Database(file)
  client.unsafeMode()
  for (const statement of statements) client.exec(statement)
  client.close()
}

/** What doctor says as JSON; neither a key nor a password is in it. */
async function reportOf (t: Test, { latchkey, settings }: Pick<CommandLine, 'latchkey' | 'settings'>): Promise<Report & Pick<Answer, 'code' | 'err'>> {
  const { code, out, err } = await latchkey(['doctor', '--json'])
  const secrets = [secretKey, otherKey, 'p%40ss', 'p@ss word', 'hunter2', 'argon2id$', settings.SECRET_KEY ?? secretKey]
  for (const secret of secrets) t.notOk((out + err).includes(secret), 'no secret')
  return { ...JSON.parse(out), code, err }
}

const named = ({ checks }: Report, name: string) => checks.find((check) => check.name === name)

/** The names of the checks with a status. */
const namesOf = ({ checks }: Report, status: string) => checks.filter((check) => check.status === status).map(({ name }) => name)

/** Warnings that a healthy installation has on this machine: Node 20 gets no more fixes. */
const ofThisMachine = (name: string) => name !== 'node' && name !== 'speed'

/** Has doctor name one fault, and no other. */
async function names (t: Test, line: Pick<CommandLine, 'latchkey' | 'settings'>, name: string, status: 'warning' | 'failure', message: RegExp | string, others: string[] = []): Promise<Report> {
  const report = await reportOf(t, line)
  t.match(named(report, name), { name, status, message, advice: /\w/ }, name)
  t.same(namesOf(report, 'failure').filter((failed) => !others.includes(failed)), status === 'failure' ? [name] : [], 'failures')
  t.same(namesOf(report, 'warning').filter((warned) => ofThisMachine(warned) && !others.includes(warned)), status === 'warning' ? [name] : [], 'warnings')
  const failures = namesOf(report, 'failure')
  t.equal(report.code, failures.length === 0 ? 0 : 1)
  t.equal(report.err, failures.length === 0 ? '' : `latchkey: ${failures.length} check${failures.length === 1 ? '' : 's'} failed: ${failures.join(', ')}\n`)
  t.equal(report.status, failures.length === 0 ? 'warning' : 'failure')
  return report
}

/** Everything in a folder, to the byte. */
const contentOf = (folder: string) => readdirSync(folder, { recursive: true, withFileTypes: true })
  .map((entry) => [entry.name, entry.isFile() ? readFileSync(join(entry.parentPath, entry.name)).toString('base64') : ''])

/** The files of a healthy installation: an admin with a second factor, a backup, the ballast file. */
const healthy = await (async () => {
  const line = commandLine(t)
  await line.latchkey(['user', 'create', 'root', '--admin', '--password-stdin'], 'correct horse battery staple')
  edit(line.file, `update users set second_factor_at = ${Date.now()}`, `insert into second_factors values (1, '${createSealing(secretKey).seal(createTotpSecret())}', 0)`)
  await line.latchkey(['backup', join(line.folder, 'backup.sqlite')])
  return { file: line.file, backup: join(line.folder, 'backup.sqlite') }
})()

/** A command line on a healthy installation. */
function install (t: Test, env: Record<string, string> = {}): CommandLine {
  const line = commandLine(t, env)
  copyFileSync(healthy.file, line.file)
  chmodSync(line.file, 0o600)
  mkdirSync(join(line.folder, 'backups'))
  copyFileSync(healthy.backup, join(line.folder, 'backups/newest.sqlite'))
  writeFileSync(`${line.file}-reserve`, '')
  return line
}

t.test('latchkey doctor · healthy, no server runs → exit code 0, and not a byte is written', async (t) => {
  const line = install(t, { SMTP_URL: (await startSmtpServer(t)).url, MAIL_FROM: 'login@example.com', PUBLIC_URL: 'https://login.example.com' })
  const before = contentOf(line.folder)
  const report = await reportOf(t, line)
  t.match(report, { code: 0, err: '' })
  t.same(namesOf(report, 'failure'), [])
  t.same(namesOf(report, 'warning').filter(ofThisMachine), [])
  t.same(namesOf(report, 'skipped'), [])
  t.same(report.checks.map(({ name }) => name), ['settings', '.env', 'secret-key', 'key-rotation', 'public-url', 'proxy', 'mail-server', 'node', 'driver', 'database', 'schema', 'integrity', 'foreign-keys', 'sequences', 'journal-mode', 'durability', 'admins', 'second-factors', 'sealed-secrets', 'clock', 'cleanup', 'write-ahead-log', 'file-access', 'disk-space', 'reserve', 'backup', 'speed'])
  t.same(contentOf(line.folder), before, 'no file is created or changed')

  const { code, out, err } = await line.latchkey(['doctor'])
  t.match({ code, err }, { code: 0, err: '' })
  t.same(out.trimEnd().split('\n').length, report.checks.length, 'a line for each check')
  t.match(out, /^ok {7}settings: all settings are valid\n/)
  t.match(out, /^ok {7}speed: a password hash takes [\d.]+ ms, which is [\d.]+ logins a second$|^warning {2}speed: /m)
})

t.test('latchkey doctor · healthy, a server runs → exit code 0, and the database stays as it is', async (t) => {
  const line = install(t)
  const app = await build(t, line.settings)
  await signUp(app)
  const before = readFileSync(line.file)
  const report = await reportOf(t, line)
  t.match(report, { code: 0, err: '' })
  t.same(namesOf(report, 'warning').filter(ofThisMachine), [])
  t.same(namesOf(report, 'skipped'), ['mail-server'])
  t.same(readFileSync(line.file), before)
  t.equal((await signUp(app, { username: 'alice', password: 'correct horse battery staple' })).statusCode, 200)
})

t.test('latchkey doctor · what a killed server has left → what is only in -wal is examined too', async (t) => {
  const line = install(t)
  const client = new Database(line.file)
  client.exec('delete from user_roles')
  const killed = install(t)
  for (const suffix of ['', '-wal', '-shm']) copyFileSync(line.file + suffix, killed.file + suffix)
  client.close()
  const before = [readFileSync(killed.file), readFileSync(`${killed.file}-wal`), readdirSync(killed.folder)]
  await names(t, killed, 'admins', 'warning', 'there is no admin')
  t.same([readFileSync(killed.file), readFileSync(`${killed.file}-wal`), readdirSync(killed.folder)], before)
})

t.test('latchkey doctor · a database that was just created → exit code 0', async (t) => {
  const line = commandLine(t)
  await line.latchkey(['migrate'])
  const report = await reportOf(t, line)
  t.match(report, { code: 0, status: 'warning' })
  t.same(namesOf(report, 'warning').filter(ofThisMachine), ['admins', 'reserve', 'backup'])
})

t.test('latchkey doctor · a server starts while the database is copied → it is opened like the server has it', async (t) => {
  const line = install(t)
  const { readFileSync: read } = fs
  const set = (looked: object) => {
    Object.assign(fs, looked)
    syncBuiltinESMExports()
  }
  t.teardown(() => set({ readFileSync: read }))
  const opened: Database.Database[] = []
  set({
    readFileSync: (path: string, ...rest: []) => {
      if (path === line.file && opened.length === 0) {
        const client = new Database(line.file)
        client.exec("insert into roles values ('late', 'x')")
        opened.push(client)
      }
      return read(path, ...rest)
    }
  })
  const report = await reportOf(t, line)
  t.equal(opened.length, 1)
  t.match(report, { code: 0 })
  opened[0]?.close()
})

t.test('latchkey doctor · settings', async (t) => {
  t.test('invalid, weak key → failure; what depends on them is skipped', async (t) => {
    for (const [env, message] of [
      [{ PORT: 'abc' }, 'PORT must be an integer from 0 to 65535, not "abc"'],
      [{ SIGNUP: 'maybe', HOST: ' ' }, /HOST must not .*; SIGNUP must be open/],
      [{ SECRET_KEY: 'hunter2hunter2hunter2hunter2hunter2' }, 'SECRET_KEY must be a secret of at least 32 bytes'],
      [{ DATABASE_URL: 'postgres://bob:hunter2@host/app?sslmode=prefer' }, 'DATABASE_URL must set sslmode to'],
      [{ SINGUP: 'closed' }, 'did you mean SIGNUP?']
    ] as const) {
      const report = await names(t, install(t, env), 'settings', 'failure', message)
      t.same(namesOf(report, 'skipped'), ['secret-key', 'key-rotation', 'public-url', 'proxy', 'mail-server', 'node', 'database', 'speed'])
      t.match(named(report, 'database'), { message: 'the settings are invalid' })
    }
  })

  t.test('.env · readable by others, with other names than settings, a folder', async (t) => {
    const line = install(t)
    const file = join(line.folder, '.env')
    writeFileSync(file, `SECRET_KEY_PREVIOUS=\nSECRET_KEY=${secretKey}\n`.replace('SECRET_KEY_PREVIOUS=\n', ''))
    chmodSync(file, 0o644)
    await names(t, line, '.env', 'warning', /other users of this machine can read or change \S+\.env, which contains SECRET_KEY: run chmod 600/)
    chmodSync(file, 0o600)
    t.match(named(await reportOf(t, line), '.env'), { status: 'ok' })
    writeFileSync(file, 'STRIPE_KEY=x\n')
    await names(t, line, 'settings', 'warning', 'the server does not start with this file: STRIPE_KEY in ')
    rmSync(file)
    mkdirSync(file)
    await names(t, line, 'settings', 'failure', 'cannot read')
  })

  t.test('.env · of another user → warning', async (t) => {
    const check = environmentChecks.find(({ name }) => name === '.env')
    const stats = Object.assign(statSync(healthy.file), { uid: 4_242 })
    const environment = { path: '.env', file: { bytes: Buffer.alloc(0), stats }, hasSecretKey: true, problems: [], serverProblems: [] }
    const work = async () => t.match(await check?.run(environment, AbortSignal.abort()), { status: 'warning', message: '.env belongs to another user, who can change it' })
    await (isRoot ? asStranger(async () => { await work() }) : work())
  })

  t.test('the environment cannot be read → a line, no stack', async (t) => {
    const [stdin, stdout, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()]
    const env = { get DATABASE_URL (): string { throw new Error('a fault') } }
    const code = await run(['doctor'], { env, dotEnvPath: join(temporaryFolder(t), '.env'), serve: notServed, stdin, stdout, stderr })
    stdout.end()
    t.equal(code, 1)
    t.match(await text(stdout), /^failure {2}settings: a fault → /)
  })

  t.test('no SECRET_KEY, SECRET_KEY_PREVIOUS, PUBLIC_URL, HOST, TRUST_PROXY', async (t) => {
    const line = install(t)
    delete line.settings.SECRET_KEY
    edit(line.file, 'delete from second_factors')
    await names(t, line, 'secret-key', 'warning', 'SECRET_KEY is not set')
    t.notOk(existsSync(join(line.folder, '.env')), 'none is created')
    await names(t, install(t, { SECRET_KEY_PREVIOUS: otherKey }), 'key-rotation', 'warning', 'SECRET_KEY_PREVIOUS is still set')
    await names(t, install(t, { PUBLIC_URL: 'http://login.example.com' }), 'public-url', 'warning', 'without TLS')
    await names(t, install(t, { HOST: '0.0.0.0' }), 'proxy', 'warning', 'HOST is 0.0.0.0 and TRUST_PROXY is not set')
    for (const range of ['0.0.0.0/1', '128.0.0.0/1', '8.0.0.0/8', '10.0.0.0/4', '2000::/3', '::/1']) {
      await names(t, install(t, { TRUST_PROXY: `127.0.0.1,${range}` }), 'proxy', 'warning', `TRUST_PROXY has ${range}, which`)
    }
    const fine: Array<Record<string, string>> = [{ PUBLIC_URL: 'http://localhost:3000' }, { PUBLIC_URL: 'http://[::1]:3000' }, { HOST: '0.0.0.0', TRUST_PROXY: '10.0.0.0/8,fc00::/7,172.16.0.0/12,203.0.113.7,2001:db8::/32' }]
    for (const env of fine) {
      const report = await reportOf(t, install(t, env))
      t.match([named(report, 'public-url'), named(report, 'proxy')], [{ status: 'ok' }, { status: 'ok' }])
    }
  })
})

t.test('latchkey doctor · the mail server', async (t) => {
  const from = { MAIL_FROM: 'login@example.com' }
  await names(t, install(t, { ...from, SMTP_URL: `smtp://bob:hunter2@127.0.0.1:${await freePort()}?tls=off` }), 'mail-server', 'failure', /^the mail server 127\.0\.0\.1:\d+ cannot be reached: connection refused$/)
  const rude = createServer((socket) => socket.on('error', () => {}).end('554 go away\r\n')).listen(0, '127.0.0.1')
  await once(rude, 'listening')
  t.teardown(() => rude.close())
  const { port } = Object(rude.address())
  t.match(await checkMailServer(`smtp://127.0.0.1:${port}`), { status: 'failure', message: 'does not greet with 220' })
  for (const host of ['127.0.0.1', 'localhost']) t.match(await checkMailServer(`smtps://${host}:${port}`), { status: 'failure', message: /cannot be reached: / })
  t.match(await checkMailServer((await startSilentServer(t)).url, 50), { status: 'failure', message: 'no greeting within 0.05 s' })
  t.match(await checkMailServer('smtp://mail.invalid'), { status: 'failure', message: /^the mail server mail\.invalid:587 cannot be reached/ })
})

t.test('latchkey doctor · Node, the driver', async (t) => {
  const at = (date: string) => Date.parse(date)
  t.match(checkNode('22.12.0', '12.11.1', at('2026-11-26')), { status: 'ok', message: 'Node 22.12.0 gets security fixes until 2027-04-30' })
  t.match(checkNode('20.20.2', undefined, at('2026-11-26')), { status: 'warning', message: 'no security fixes since 2026-04-30' })
  t.match(checkNode('18.0.0', undefined, at('2026-11-26')), { status: 'warning' })
  t.match(checkNode('26.0.0', undefined, at('2026-11-26')), { status: 'ok', message: 'Node 26.0.0' })
  t.match(checkNode('24.1.0', '12.11.1', at('2026-11-26')), { status: 'failure', message: 'aborts the process' })
  t.match(checkNode('24.1.0', '13.0.0', at('2026-11-26')), { status: 'ok' })
  t.match(checkNode('24.1.0', undefined, at('2026-11-26')), { status: 'ok' })
  t.match(await checkDriver('sqlite://', { node: '24.1.0' }), { status: 'skipped', message: 'the driver would abort the process on Node 24.1.0' })
  t.match(await checkDriver('sqlite://', { load: async () => { throw new Error('it was not built') } }), { status: 'failure', message: 'it was not built' })

  const { node } = process.versions
  t.teardown(() => Object.defineProperty(process.versions, 'node', { value: node }))
  Object.defineProperty(process.versions, 'node', { value: '24.1.0' })
  const report = await names(t, install(t), 'node', 'failure', 'aborts the process')
  t.same(namesOf(report, 'skipped'), ['mail-server', 'driver', 'database'])
})

t.test('latchkey doctor · a check that never ends, or throws → failure', async (t) => {
  t.match(await runCheck({ name: 'x', run: async () => new Promise(() => {}) }, undefined, 20), { name: 'x', status: 'failure', message: 'this cannot be checked: no answer within 0.02 s', advice: /\w/ })
  t.same([worstOf([{ status: 'ok' }, { status: 'skipped' }]), worstOf([{ status: 'warning' }, { status: 'failure' }]), worstOf([{ status: 'ok' }, { status: 'warning' }])], ['ok', 'failure', 'warning'])
  t.match(await runCheck({ name: 'x', run: () => { throw new Error('one\ntwo') } }, undefined), { status: 'failure', message: 'this cannot be checked: one' })
})

t.test('latchkey doctor · the speed of hashes', async (t) => {
  t.match(rateSpeed(1.25, 1_000), { status: 'warning', message: /^a password hash takes 1\.3 ms, which is 1000 logins a second: too fast$/ })
  t.match(rateSpeed(30, 60), { status: 'ok', message: 'a password hash takes 30 ms, which is 60 logins a second' })
  t.match(rateSpeed(800, 1.25), { status: 'warning', message: /800 ms, which is 1\.3 logins a second: users wait/ })
})

t.test('latchkey doctor · a SQLite database that cannot be read', async (t) => {
  const inside = ['schema', 'integrity', 'foreign-keys', 'sequences', 'journal-mode', 'durability', 'admins', 'second-factors', 'sealed-secrets', 'clock', 'cleanup']
  const ofFile = ['write-ahead-log', 'file-access', 'disk-space', 'reserve', 'backup']

  t.test('missing → failure, and it is not created', async (t) => {
    const line = install(t)
    rmSync(line.file)
    const report = await names(t, line, 'database', 'failure', `there is no database ${line.file}`)
    t.same(namesOf(report, 'skipped'), ['mail-server', ...inside, ...ofFile])
    t.notOk(existsSync(line.file))
  })

  t.test('in memory → warning', async (t) => {
    const report = await names(t, commandLine(t, { DATABASE_URL: 'sqlite://' }), 'database', 'warning', 'everything is lost')
    t.same(namesOf(report, 'skipped'), ['mail-server', ...inside, ...ofFile])
  })

  t.test('a text, a truncated file, another program\'s, a folder → failure; its file is examined', async (t) => {
    const fault = async (work: (file: string) => void, message: RegExp | string) => {
      const line = install(t)
      work(line.file)
      const before = contentOf(line.folder)
      const report = await names(t, line, 'database', 'failure', message)
      t.same(namesOf(report, 'skipped'), ['mail-server', ...inside])
      t.match(named(report, 'backup'), { status: 'ok' }, 'which to restore')
      t.same(contentOf(line.folder), before)
    }
    await fault((file) => writeFileSync(file, 'Dear diary, '.repeat(1_000)), 'file is not a database')
    await fault((file) => truncateSync(file, 20_000), 'malformed')
    await fault((file) => {
      rmSync(file)
      edit(file, 'create table cakes (name text)')
      chmodSync(file, 0o600)
    }, 'it is not a database of Latchkey')
    // Too large for a copy in memory.
    const large = install(t)
    truncateSync(large.file, 300 * 1_048_576)
    await names(t, large, 'database', 'failure', 'it is too large to be examined while no server has it open')
    const line = install(t)
    rmSync(line.file)
    mkdirSync(line.file)
    await names(t, line, 'database', 'failure', 'it is not a regular file')
  })

  t.test('-wal without -shm → failure that says so, and -shm is not created', async (t) => {
    const line = install(t)
    writeFileSync(`${line.file}-wal`, '', { mode: 0o600 })
    await names(t, line, 'database', 'failure', 'only one of the two files')
    t.notOk(existsSync(`${line.file}-shm`))
  })
})

t.test('latchkey doctor · a SQLite database with a fault', async (t) => {
  /** Has doctor name one fault of a healthy installation. */
  const fault = async (work: (line: CommandLine) => void, name: string, status: 'warning' | 'failure', message: RegExp | string, others: string[] = []) => {
    const line = install(t)
    work(line)
    const before = contentOf(line.folder)
    const report = await names(t, line, name, status, message, others)
    t.same(contentOf(line.folder), before, `${name}: not a byte is written`)
    return report
  }
  const sql = (...statements: string[]) => ({ file }: CommandLine) => edit(file, ...statements)

  t.test('schema · newer → failure; pending migrations → warning', async () => {
    await fault(sql("insert into __drizzle_migrations (hash, created_at) values ('x', 9e15)"), 'schema', 'failure', 'a newer version of Latchkey')
    await fault(sql('delete from __drizzle_migrations where created_at = (select max(created_at) from __drizzle_migrations)'), 'schema', 'warning', 'migrations are pending: 1')
    const report = await fault(sql('delete from __drizzle_migrations where created_at = (select max(created_at) from __drizzle_migrations)', 'drop table second_factors', 'alter table users drop column second_factor_at'), 'schema', 'warning', 'migrations are pending: 1')
    t.same(report.checks.filter(({ message }) => message === 'migrations are pending: 1').map(({ name, status }) => [name, status]), [['schema', 'warning'], ['second-factors', 'skipped'], ['sealed-secrets', 'skipped']])
    t.match(named(report, 'admins'), { status: 'ok' })
  })

  t.test('a column is missing, although no migration is pending → failure of its check', async () => {
    await fault(sql('alter table users drop column second_factor_at'), 'second-factors', 'failure', 'this cannot be checked: no such column')
  })

  t.test('integrity · a damaged page → failure', async (t) => {
    await fault(({ file }) => {
      const client = new Database(file)
      const page = Number(client.prepare("select rootpage from sqlite_schema where name = 'users_username_key_unique'").pluck().get())
      client.close()
      const bytes = readFileSync(file)
      writeFileSync(file, bytes.fill(0xff, (page - 1) * 4_096, page * 4_096))
    }, 'integrity', 'failure', 'the database is damaged')
    const client = new Database(healthy.file, { readonly: true })
    for (const check of [checkPages, checkForeignKeys]) t.match(check(client, 1), { status: 'warning', message: 'take too long to be examined' })
    client.close()
    const failing = { pragma: (text: string) => { if (text.startsWith('quick_check')) throw new Error('malformed'); return 1 } }
    t.match(checkPages(failing), { status: 'failure', message: 'the database is damaged: "malformed"' })
  })

  t.test('foreign keys, sequences, journal mode', async () => {
    await fault(sql('pragma foreign_keys = off', "insert into user_roles values (99, 'admin'), (98, 'admin')"), 'foreign-keys', 'failure', 'rows refer to rows that do not exist: 2 in user_roles')
    await fault(sql("delete from sqlite_sequence where name = 'users'", "insert into events (id, time, kind, outcome, source) values (900, 1e15, 'x', 'x', 'cli')", 'update events set time = (select min(created_at) from users)', "update sqlite_sequence set seq = 5 where name = 'events'"), 'sequences', 'failure', 'behind the rows of users and events')
    await fault(sql('pragma journal_mode = delete'), 'journal-mode', 'warning', 'not in WAL mode')
  })

  t.test('durability · a build that ignores synchronous → failure', async (t) => {
    t.match(checkDurability({ pragma: () => 0 }), { status: 'failure', message: 'does not wait for the disk' })
  })

  t.test('write-ahead-log · large → warning', async (t) => {
    const line = install(t)
    const client = new Database(line.file)
    client.exec("insert into roles values ('x', 'x')")
    truncateSync(`${line.file}-wal`, 65 * 1_048_576)
    await names(t, line, 'write-ahead-log', 'warning', '-wal has 65 MiB')
    client.close()
  })

  t.test('file-access · modes, owner, folder → failure', async (t) => {
    await fault(({ file }) => chmodSync(file, 0o644), 'file-access', 'failure', 'other users can read or change')
    await fault(({ folder }) => chmodSync(folder, 0o777), 'file-access', 'failure', 'can be written to by everybody')
    const { file } = install(t)
    symlinkSync(healthy.file, `${file}-wal`)
    t.match(checkAccess(file, process.geteuid?.()), { status: 'failure', message: '-wal is not a regular file' })
    rmSync(`${file}-wal`)
    chmodSync(file, 0o666)
    t.match(checkAccess(file, undefined), { status: 'ok' }, 'Windows')
  })

  t.test('file-access · another owner → failure', { skip: isRoot ? false : 'only root can give files away' }, async (t) => {
    const { file } = install(t)
    writeFileSync(`${file}-wal`, '', { mode: 0o600 })
    chownSync(file, stranger, stranger)
    t.match(checkAccess(file, 0), { status: 'failure', message: '-wal does not belong to the owner of' })
    chownSync(file, 4_242, 4_242)
    t.match(checkAccess(file, stranger), { status: 'failure', message: 'belongs to another user' })
  })

  t.test('disk-space, reserve', async (t) => {
    await fault(({ file }) => rmSync(`${file}-reserve`), 'reserve', 'warning', 'nothing is reserved')
    fillDisks(t)
    await fault(() => {}, 'disk-space', 'failure', 'signups are refused')
  })

  t.test('admins · none, disabled, without a second factor → warning', async () => {
    await fault(sql('delete from user_roles'), 'admins', 'warning', 'there is no admin')
    await fault(sql('update users set disabled_at = 1'), 'admins', 'warning', 'every admin is disabled')
    await fault(sql('update users set second_factor_at = null', 'delete from second_factors'), 'second-factors', 'warning', '1 admin without a second factor')
  })

  t.test('sealed-secrets · another key → failure with the number; the previous key opens them', async (t) => {
    const sealed = createSealing(otherKey).seal(createTotpSecret())
    const line = install(t)
    edit(line.file, 'pragma foreign_keys = off', "insert into users (username, username_key, password_hash, created_at, updated_at) values ('a', 'a', '!', 1, 1), ('b', 'b', '!', 1, 1)", `insert into second_factors values (2, '${sealed}', 0), (3, 'v1.nonsense', 0)`)
    await names(t, line, 'sealed-secrets', 'failure', '2 secrets of second factors cannot be read')
    edit(line.file, 'delete from second_factors where user_id = 3')
    line.settings.SECRET_KEY_PREVIOUS = otherKey
    t.match(named(await reportOf(t, line), 'sealed-secrets'), { status: 'ok', message: '2 secrets of second factors can be read, 1 of them only with SECRET_KEY_PREVIOUS' })
  })

  t.test('clock · behind the newest row → failure', async () => {
    await fault(sql(`update users set created_at = ${Date.now() + 2 * dayMs}`), 'clock', 'failure', /^the clock shows 20\S+Z, but the newest row is of 20\S+Z$/)
  })

  t.test('cleanup · rows that expired long ago → warning', async () => {
    const tokens = (ids: string[]) => `insert into tokens (id, user_id, description, created_at, expires_at) values ${ids.map((id) => `('${id}', 1, 'x', 1, ${Date.now() - 8 * dayMs})`).join()}`
    await fault(sql(tokens(['a'])), 'cleanup', 'warning', '1 row expired more than a week ago and was not deleted')
    await fault(sql(tokens(['a', 'b'])), 'cleanup', 'warning', '2 rows expired more than a week ago and were not deleted')
    await fault(sql(`insert into events (time, kind, outcome, source) values (${Date.now() - 38 * dayMs}, 'x', 'x', 'cli')`), 'cleanup', 'warning', '1 row')
  })

  t.test('backup · none, an old one → warning; next to the database it counts too', async (t) => {
    const eightDaysAgo = new Date(Date.now() - 8.5 * dayMs)
    await fault(({ folder }) => utimesSync(join(folder, 'backups/newest.sqlite'), eightDaysAgo, eightDaysAgo), 'backup', 'warning', /newest\.sqlite, is 8 days old/)
    const none = ({ folder }: CommandLine) => rmSync(join(folder, 'backups'), { recursive: true })
    await fault(none, 'backup', 'warning', 'there is no backup in')
    await fault((line) => {
      none(line)
      // What is no backup: what a restore keeps, a database in use, another program's, a text.
      copyFileSync(healthy.backup, `${line.file}-before-restore`)
      copyFileSync(healthy.backup, join(line.folder, 'x.sqlite.1.part'))
      copyFileSync(healthy.file, join(line.folder, 'in-use.sqlite'))
      edit(join(line.folder, 'foreign.sqlite'), 'create table cakes (name text)')
      writeFileSync(join(line.folder, 'notes.txt'), 'Dear diary')
    }, 'backup', 'warning', 'there is no backup in')
    const line = install(t)
    none(line)
    copyFileSync(healthy.backup, join(line.folder, 'mine.sqlite'))
    t.match(named(await reportOf(t, line), 'backup'), { status: 'ok', message: /mine\.sqlite, is 0 days old/ })
  })
})

t.test('latchkey doctor · PostgreSQL', async (t) => {
  const statements = [
    "insert into latchkey.users (username, username_key, password_hash, created_at, updated_at, second_factor_at) values ('root', 'root', '!', now(), now(), now())",
    "insert into latchkey.user_roles select id, 'admin' from latchkey.users",
    `insert into latchkey.second_factors select id, '${createSealing(secretKey).seal(createTotpSecret())}', 0 from latchkey.users`
  ]
  const installPostgres = async (t: Test, ...more: string[]) => {
    const url = await createPostgres(t)
    await withClient(url, (client) => client.query([...statements, ...more].join(';')))
    return { ...commandLine(t, { DATABASE_URL: url }), url }
  }
  const fault = async (t: Test, statement: string, name: string, status: 'warning' | 'failure', message: RegExp | string) => names(t, await installPostgres(t, statement), name, status, message)

  t.test('healthy → exit code 0', async (t) => {
    const line = await installPostgres(t)
    const report = await reportOf(t, line)
    t.match(report, { code: 0, err: '' })
    t.same(namesOf(report, 'failure'), [])
    t.same(namesOf(report, 'warning').filter(ofThisMachine), [])
    t.same(namesOf(report, 'skipped'), ['mail-server', 'backup'])
    t.match(named(report, 'backup'), { message: /pg_dump/ })
    t.match(named(report, 'database'), { message: /^postgres:\/\/127\.0\.0\.1:\d+\/\w+ answers$/ })
    t.match(named(report, 'sealed-secrets'), { message: '1 secret of second factors' })
    line.settings.DATABASE_PREPARE = 'off'
    t.match(await reportOf(t, line), { code: 0 })
  })

  t.test('schema · newer, pending; a missing column breaks no other check', async (t) => {
    await fault(t, "insert into drizzle.latchkey_migrations (hash, created_at) values ('x', 9000000000000000)", 'schema', 'failure', 'a newer version of Latchkey')
    const older = 'delete from drizzle.latchkey_migrations where created_at = (select max(created_at) from drizzle.latchkey_migrations); drop table latchkey.second_factors; alter table latchkey.users drop column second_factor_at'
    const report = await fault(t, older, 'schema', 'warning', 'migrations are pending: 1')
    t.same(report.checks.filter(({ message }) => message === 'migrations are pending: 1').map(({ name }) => name), ['schema', 'privileges', 'second-factors', 'sealed-secrets'])
    t.match(named(report, 'clock'), { status: 'ok' })
  })

  t.test('foreign keys, rights, clocks, rows', async (t) => {
    await fault(t, 'alter table latchkey.tokens drop constraint tokens_user_id_users_id_fk; alter table latchkey.tokens add constraint tokens_user_id_users_id_fk foreign key (user_id) references latchkey.users (id) on delete cascade not valid', 'foreign-keys', 'failure', 'tokens_user_id_users_id_fk')
    await fault(t, 'update latchkey.users set disabled_at = now()', 'admins', 'warning', 'every admin is disabled')
    await fault(t, "update latchkey.users set created_at = now() + interval '2 days'", 'clock', 'failure', 'the clock shows')
    await fault(t, `update latchkey.second_factors set sealed_secret = '${createSealing(otherKey).seal(createTotpSecret())}'`, 'sealed-secrets', 'failure', '1 secret of second factors cannot be read')

    const role = newName()
    const line = await installPostgres(t, `create role ${role} login password 'hunter2'`, `grant usage on schema latchkey, drizzle to ${role}`, `grant select on all tables in schema latchkey, drizzle to ${role}`, `grant usage, select on all sequences in schema latchkey to ${role}`, `grant insert, update, delete on all tables in schema latchkey to ${role}`, `revoke delete on latchkey.tokens from ${role}`)
    t.teardown(() => runStatement(line.url, `drop owned by ${role}; drop role ${role}`))
    line.settings.DATABASE_URL = Object.assign(new URL(line.url), { username: role, password: 'hunter2' }).href
    await names(t, line, 'privileges', 'failure', 'the role lacks delete on latchkey.tokens, update on latchkey.events_id_seq, update on latchkey.users_id_seq')

    const { now } = Date
    t.teardown(() => { Date.now = now })
    Date.now = () => now() + 60_000
    await fault(t, 'select 1', 'database-clock', 'warning', /^the clocks .* are 60 s apart$/)
    Date.now = now
    t.match(checkVersion(100_021), { status: 'failure', message: 'PostgreSQL 10 is too old' })
  })

  t.test('no server, a wrong password, no tables, another encoding or DateStyle → failure', async (t) => {
    const url = await createPostgres(t, { isEmpty: true })
    const failing = async (url: string, message: RegExp | string, env = {}) => {
      const report = await names(t, commandLine(t, { DATABASE_URL: url, ...env }), 'database', 'failure', message)
      t.equal(namesOf(report, 'skipped').length, 12)
      return report
    }
    await failing(url, 'it has no Latchkey in it')
    await failing(Object.assign(new URL(url), { port: String(await freePort()) }).href, /ECONNREFUSED/)
    await failing(Object.assign(new URL(url), { password: 'hunter2' }).href, 'password authentication failed')
    const name = newName()
    await runStatement(url, `create database ${name} template template0 encoding SQL_ASCII`)
    t.teardown(() => runStatement(url, `drop database ${name} with (force)`))
    await failing(on(url, name), 'its encoding must be UTF8')
    await runStatement(url, `alter database ${new URL(url).pathname.slice(1)} set datestyle = 'SQL, DMY'`)
    await failing(url, 'its DateStyle must be ISO', { DATABASE_PREPARE: 'off' })
  })
})
