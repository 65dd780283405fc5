import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import Database from 'better-sqlite3'
import t, { type Test } from 'tap'
import { servicesOf } from '../src/services.js'
import { commandLine, refused } from './command-line.js'
import { databases } from './databases.js'
import { bob, build, builtProgram, logIn, needLogin, secretKey, signUp, startServer, temporaryFolder, tokenOf } from './helper.js'

const password = bob.password

for (const database of databases) {
  t.test(database.name, async (t) => {
    const newCommandLine = async (t: Test, options = {}) => commandLine(t, { DATABASE_URL: await database.create(t, { isShared: true, ...options }) })

    t.test('latchkey user', async (t) => {
      const { settings, latchkey } = await newCommandLine(t)
      const app = async () => build(t, settings)

      t.test('latchkey user create · valid account → it can log in; --json prints it', async (t) => {
        const plain = await latchkey(['user', 'create', 'bob', '--password-stdin'], `${password}\n`)
        t.same(plain, { code: 0, out: 'user bob was created with the id 1\n', err: '' })
        const admin = await latchkey(['user', 'create', 'Alice', '--email', 'alice@example.com', '--admin', '--password-stdin', '--json'], password)
        t.match(JSON.parse(admin.out), { id: 2, username: 'Alice', email: 'alice@example.com', disabled_at: null, created_at: String, roles: ['admin'] })
        t.equal((await logIn(await app())).statusCode, 200)
        const token = (await logIn(await app(), { username: 'alice', password })).json().token
        t.equal((await (await app()).inject({ url: '/admin', headers: { authorization: token } })).statusCode, 200)
        t.match(await latchkey(['user', 'create', 'carol', '--admin', '--password-stdin'], password), { out: 'user carol was created with the id 3 and the role admin\n' })
      })

      t.test('latchkey user create · username or email taken, invalid input → one line, exit code 1', async (t) => {
        const create = (...args: string[]) => latchkey(['user', 'create', ...args, '--password-stdin'], `${password}\n`)
        refused(t, await create('BOB'), 'the username "BOB" is already taken')
        refused(t, await create('dave', '--email', 'ALICE@example.com'), 'the email "ALICE@example.com" is already signed up')
        refused(t, await create('d ve'), 'the username may only contain')
        refused(t, await create(''), 'the username is empty')
        refused(t, await create('..'), 'the username must not be . or ..')
        refused(t, await latchkey(['user', 'create', '--password-stdin', '--', '-x'], password), 'the username must not begin with -')
        t.match(await create('-x'), { code: 2, out: '' })
        refused(t, await create('dave', '--email', 'nowhere'), 'the email must be one address')
        for (const [input, line] of [['short\n', 'the password must be at least 8'], ['password1\n', 'most common'], ['dave_dave\n', 'must not be the username'], ['correct\0horse\n', 'must not contain NUL'], ['', 'at least 8']] as const) {
          refused(t, await latchkey(['user', 'create', 'dave_dave', '--password-stdin'], input), line)
        }
      })

      t.test('latchkey user create · username taken concurrently → one line, exit code 1', async (t) => {
        const { store } = servicesOf(await app())
        await database.addTrigger(store, 'before insert on users', "insert into users (username, username_key, password_hash, created_at, updated_at) values ('Gina', 'gina', '', new.created_at, new.created_at)", "new.username = 'gina'")
        refused(t, await latchkey(['user', 'create', 'gina', '--password-stdin'], password), 'the username "gina" is already taken')
        await database.execute(store, "delete from users where username = 'Gina'")
      })

      t.test('latchkey user create · on a terminal → asks for the password twice, without showing it', async (t) => {
        const answer = await latchkey(['user', 'create', 'erin'], `${password}\n${password}\n`, true)
        t.match(answer, { code: 0, out: /^user erin was created with the id \d\n$/, err: /New password: [\s\S]*Repeat the password: / })
        t.notOk(answer.err.includes(password))
        t.match(await latchkey(['user', 'create', 'frank'], `${password}\n${password}!\n`, true), { code: 1, out: '', err: /latchkey: the two passwords differ\n$/ })
        for (const key of ['\u0003', '\u0004']) t.match(await latchkey(['user', 'create', 'frank'], `${key}\n`, true), { code: 1, err: /latchkey: cancelled\n$/ })
        refused(t, await latchkey(['user', 'create', 'frank']), 'use --password-stdin')
      })

      t.test('latchkey user list, show · as text and as JSON, without hashes', async (t) => {
        const list = await latchkey(['user', 'list'])
        t.match(list.out, /^id +username +roles +email +disabled_at +created_at\n1 +bob +20\d\d-.*Z\n2 +Alice +admin +alice@example\.com +20.*Z\n/)
        t.notMatch(list.out, /argon2|hash/)
        t.match(JSON.parse((await latchkey(['user', 'list', '--json'])).out), [{ id: 1, username: 'bob', email: null, roles: [] }, { username: 'Alice', roles: ['admin'] }])
        t.match(JSON.parse((await latchkey(['user', 'list', '--search', 'AL', '--limit', '5', '--json'])).out), [{ id: 2, username: 'Alice', roles: ['admin'] }])
        t.match((await latchkey(['user', 'show', 'BOB'])).out, /^id: 1\nusername: bob\nemail: \nemail_verified: false\nhas_password: true\nsecond_factor: false\ndisabled_at: \ncreated_at: .*\nroles: \ntokens: 1\n$/)
        t.match(JSON.parse((await latchkey(['user', 'show', 'alice', '--json'])).out), { id: 2, roles: ['admin'], tokens: 1 })
      })

      t.test('latchkey user logout, set-password · a running server → tokens are revoked at once', async (t) => {
        const server = await app()
        const token = await tokenOf(server)
        t.match(await latchkey(['user', 'logout', 'bob']), { code: 0, out: 'user bob is logged out everywhere\n' })
        t.match((await needLogin(server, token)).json(), { code: 'TOKEN_REVOKED' })
        const another = (await logIn(server)).json().token
        t.match(await latchkey(['user', 'set-password', 'bob', '--password-stdin'], 'incorrect donkey charger clip\n'), { code: 0, out: 'user bob has a new password and is logged out everywhere\n' })
        t.match((await needLogin(server, another)).json(), { code: 'TOKEN_REVOKED' })
        t.equal((await logIn(server)).statusCode, 401)
        t.equal((await logIn(server, { ...bob, password: 'incorrect donkey charger clip' })).statusCode, 200)
        refused(t, await latchkey(['user', 'set-password', 'bob', '--password-stdin'], 'short'), 'at least 8')
        refused(t, await latchkey(['user', 'set-password', 'bob', '--password-stdin'], 'correct\0horse\n'), 'the password must not contain NUL')
      })

      t.test('latchkey user delete · user, admin → deleted; last admin → rejected', async (t) => {
        t.match(await latchkey(['user', 'delete', 'bob', '--yes']), { code: 0, out: 'user bob was deleted\n' })
        t.match(await latchkey(['user', 'delete', 'carol', '--yes']), { code: 0 })
        refused(t, await latchkey(['user', 'delete', 'alice']), 'user Alice is the last admin')
      })

      t.test('latchkey user, role, token, events · unknown user → one line, exit code 1', async (t) => {
        for (const args of [['user', 'show'], ['user', 'delete'], ['user', 'logout'], ['user', 'unlock'], ['events', '--user'], ['user', 'set-password', '--password-stdin'], ['role', 'grant', 'nobody', 'admin'], ['token', 'create', '--description', 'x']]) {
          refused(t, await latchkey(args.includes('nobody') ? args : [...args, 'nobody']), 'there is no user nobody')
        }
        refused(t, await latchkey(['user', 'show', 'no\nbody\u001b[31m']), 'there is no user "no\\u{a}body\\u{1b}[31m"')
      })
    })

    t.test('latchkey role create, list, grant, revoke, delete', async (t) => {
      const { settings, latchkey } = await newCommandLine(t)
      t.match(await latchkey(['role', 'create', 'editor', '--description', 'May change articles.']), { code: 0, out: 'role editor was created\n' }, 'on a database that is not there yet')
      t.same(JSON.parse((await latchkey(['role', 'create', 'author', '--description', 'x', '--json'])).out), { name: 'author', description: 'x' })
      refused(t, await latchkey(['role', 'create', 'editor', '--description', 'x']), 'the role editor already exists')
      refused(t, await latchkey(['role', 'create', 'Editor', '--description', 'x']), 'the role name may only contain')
      refused(t, await latchkey(['role', 'create', '', '--description', 'x']), 'the role name is empty')
      refused(t, await latchkey(['role', 'create', 'reader', '--description', '']), 'the description is empty')
      t.equal((await latchkey(['role', 'list'])).out, 'name    description\nadmin   May do everything.\nauthor  x\neditor  May change articles.\n')
      t.equal(JSON.parse((await latchkey(['role', 'list', '--json'])).out).length, 3)

      const app = await build(t, settings)
      await signUp(app)
      const roles = () => servicesOf(app).roles.ofUser(1)
      t.match(await latchkey(['role', 'grant', 'BOB', 'editor']), { code: 0, out: 'user bob has the role editor\n' })
      await latchkey(['role', 'grant', 'bob', 'admin'])
      t.same(await roles(), ['admin', 'editor'])
      t.match(await latchkey(['role', 'revoke', 'bob', 'editor']), { code: 0, out: 'user bob does not have the role editor\n' })
      refused(t, await latchkey(['role', 'revoke', 'bob', 'admin']), 'user bob is the last admin')
      t.same(await roles(), ['admin'])
      refused(t, await latchkey(['role', 'grant', 'bob', 'nothing']), 'there is no role nothing')
      refused(t, await latchkey(['role', 'revoke', 'bob', 'nothing']), 'there is no role nothing')
      t.match(await latchkey(['role', 'delete', 'author']), { code: 0, out: 'role author was deleted\n' })
      refused(t, await latchkey(['role', 'delete', 'author']), 'there is no role author')
      refused(t, await latchkey(['role', 'delete', 'admin']), 'the role admin cannot be deleted')
    })

    t.test('latchkey invite create, list, delete', async (t) => {
      const { settings, latchkey } = await newCommandLine(t)
      const app = await build(t, { ...settings, SIGNUP: 'invite' })
      await servicesOf(app).roles.create({ name: 'editor', description: 'x' })
      await servicesOf(app).users.create({ username: 'alice', email: 'alice@example.com', passwordHash: '' })
      t.equal((await latchkey(['invite', 'list'])).out, 'there are no open invitations\n')
      const { code, out } = await latchkey(['invite', 'create', '--email', 'bob@example.com', '--role', 'editor', '--role', 'admin'])
      const [invite = ''] = out.split('\n')
      t.same({ code, out }, { code: 0, out: `${invite}\nto sign up: POST /api/v1/signup with "invite": "${invite}"\n` })
      settings.PUBLIC_URL = 'https://login.example.com'
      const record = JSON.parse((await latchkey(['invite', 'create', '--expires-in', '60', '--json'])).out)
      t.match(record, { id: /^[\w-]{43}$/, code: String, url: `https://login.example.com/ui/signup#${record.code}`, expires_at: String })
      t.match(await latchkey(['invite', 'create']), { code: 0, out: /^https:\/\/login\.example\.com\/ui\/signup#(\w+)\nto sign up: POST \/api\/v1\/signup with "invite": "\1"\n$/ })

      const list = JSON.parse((await latchkey(['invite', 'list', '--json'])).out)
      t.match(list, [{ roles: [] }, { id: record.id, email: null, roles: [], expires_at: record.expires_at }, { email: 'bob@example.com', roles: ['admin', 'editor'], created_at: String }])
      t.match((await latchkey(['invite', 'list'])).out, /^id +email +roles +created_at +expires_at\n[^]*bob@example\.com +admin, editor +20/)
      t.match(await latchkey(['invite', 'delete', '--', record.id]), { code: 0, out: `the invitation ${record.id} was deleted\n` })
      refused(t, await latchkey(['invite', 'delete', '--', record.id]), `there is no invitation ${record.id}`)
      t.match((await signUp(app, { ...bob, invite: record.code })).json(), { code: 'CODE_INVALID' })
      t.match((await signUp(app, { ...bob, invite })).json(), { user: { email: 'bob@example.com', email_verified: true } })
      t.same(await servicesOf(app).roles.ofUser(2), ['admin', 'editor'])
      const { events } = (await app.inject({ url: '/api/v1/events?kind=invitation', headers: { authorization: (await logIn(app)).json().token } })).json()
      t.match(events[0], { detail: `deleted ${record.id}`, source: 'cli', actor_id: null })
      t.equal(events.length, 4)

      refused(t, await latchkey(['invite', 'create', '--email', 'nowhere']), 'the email must be one address')
      refused(t, await latchkey(['invite', 'create', '--email', 'ALICE@example.com']), 'the email "ALICE@example.com" is already signed up')
      refused(t, await latchkey(['invite', 'create', '--role', 'nothing']), 'there is no role nothing')
      for (const expiresIn of ['59', '2592001', '7d', '']) t.match(await latchkey(['invite', 'create', `--expires-in=${expiresIn}`]), { code: 2, out: '' })
      const { codes, store } = servicesOf(app)
      await store.db.insert(store.tables.codes).values(Array.from({ length: 999 }, () => codes.prepare({ kind: 'invite', data: { email: null, roles: [] }, lifetimeSeconds: 600 }).row))
      refused(t, await latchkey(['invite', 'create']), 'there are too many open invitations: delete one first')
      await latchkey(['reset-db', '--yes'])
      t.equal((await latchkey(['invite', 'list', '--json'])).out, '[]\n')
    })

    t.test('latchkey token create · valid → the token; invalid → one line; limit reached → rejected', async (t) => {
      const { settings, latchkey } = await newCommandLine(t)
      const app = await build(t, settings)
      await signUp(app)
      const { code, out } = await latchkey(['token', 'create', 'bob', '--description', 'backup script'])
      t.equal(code, 0)
      t.equal((await needLogin(app, out.trim())).statusCode, 200)
      const record = JSON.parse((await latchkey(['token', 'create', 'bob', '--description', 'x', '--expires-in', '60', '--json'])).out)
      t.match(record, { id: String, description: 'x', created_at: String, expires_at: String, token: String })
      t.equal(Date.parse(record.expires_at) - Date.parse(record.created_at), 60_000)
      for (const expiresIn of ['0', '-1', '31536001', '30d', '1e3', '']) t.match(await latchkey(['token', 'create', 'bob', '--description', 'x', `--expires-in=${expiresIn}`]), { code: 2, out: '' })
      t.match(await latchkey(['token', 'create', 'bob']), { code: 2, err: /required option '--description/ })
      refused(t, await latchkey(['token', 'create', 'bob', '--description', 'two\nlines']), 'the description must be one line')
      for (let i = 2; i < 99; i++) await servicesOf(app).accessTokens.issue({ userId: 1, kind: 'personal', description: 'x' })
      refused(t, await latchkey(['token', 'create', 'bob', '--description', 'x']), 'too many access tokens')
    })

    t.test('-- · usernames and files that begin with - can be named', async (t) => {
      const { folder, settings, latchkey } = await newCommandLine(t)
      const app = await build(t, settings)
      const { users } = servicesOf(app).store.tables
      const add = (username: string) => servicesOf(app).store.db.insert(users).values({ username, usernameKey: username, passwordHash: '', createdAt: new Date(), updatedAt: new Date() })
      await Promise.all(['--help', '-h', '--'].map(add))
      await servicesOf(app).roles.create({ name: 'editor', description: 'x' })
      for (const name of ['-h', '--']) t.match(await latchkey(['user', 'delete', '--yes', '--', name]), { code: 0, out: `user ${name} was deleted` })
      for (const [args, out, input] of [
        [['user', 'show', '--json', '--', '--help'], '"username":"--help"'],
        [['user', 'set-password', '--password-stdin', '--', '--help'], 'user --help has a new password', password],
        [['user', 'logout', '--', '--help'], 'user --help is logged out everywhere'],
        [['user', 'unlock', '--', '--help'], 'user --help has no failed logins'],
        [['role', 'grant', '--', '--help', 'editor'], 'user --help has the role editor'],
        [['role', 'revoke', '--', '--help', 'editor'], 'user --help does not have the role editor'],
        [['token', 'create', '--description', 'x', '--', '--help'], /^\S+\.\S+\.\S+\n$/],
        [['events', '--user=--help'], '--help'],
        [['user', 'delete', '--yes', '--', '--help'], 'user --help was deleted']
      ] as const) t.match(await latchkey([...args], input), { code: 0, out, err: '' }, args.join(' '))
      refused(t, await latchkey(['role', 'create', '--description', 'x', '--', '--help']), 'the role name may only contain')
      refused(t, await latchkey(['role', 'delete', '--', '--help']), 'there is no role --help')
      t.match(await latchkey(['user', 'show', '--', 'bob', '--help']), { code: 2, out: '' }, 'one name too many')

      const home = process.cwd()
      t.teardown(() => process.chdir(home))
      process.chdir(folder)
      t.match(await latchkey(['export', '--', '--help']), { code: 0, out: 'exported to --help: keep this file secret, it contains password hashes\n' })
      t.match(await latchkey(['import', '--', '--help']), { code: 0, out: 'imported 0 users, 2 roles and 0 tokens\n' })
    })

    t.test('latchkey migrate, reset-db, secret', async (t) => {
      const { settings, latchkey } = await newCommandLine(t, { isEmpty: true })
      refused(t, await latchkey(['reset-db', '--yes']), /there is no database|it has no Latchkey in it/)
      t.same(await latchkey(['migrate']), { code: 0, out: 'the database is up to date\n', err: '' })
      t.match(await latchkey(['migrate']), { code: 0 }, 'as often as one likes')
      t.equal((await latchkey(['user', 'list'])).out, 'there are no users\n')

      const app = await build(t, settings)
      const token = await tokenOf(app)
      await latchkey(['role', 'create', 'editor', '--description', 'x'])
      t.match(await latchkey(['reset-db'], 'no\n', true), { code: 1, err: /Delete 1 account in (?:sqlite|postgres):\/\/[^@]*\?[\s\S]*latchkey: nothing was deleted\n$/ })
      refused(t, await latchkey(['reset-db']), 'use --yes')
      t.equal((await needLogin(app, token)).statusCode, 200)
      t.match(await latchkey(['reset-db'], 'yes\n', true), { code: 0, out: 'the database is empty\n' })
      t.match((await needLogin(app, token)).json(), { code: 'USER_NOT_FOUND' })
      t.same((await servicesOf(app).roles.list()).map(({ name }) => name), ['admin'])
      t.equal((await signUp(app)).json().user.id, 2, 'ids never return')
      t.match(await latchkey(['reset-db', '--yes']), { code: 0 })

      const secrets = await Promise.all([latchkey(['secret']), latchkey(['secret'])])
      for (const { code, out } of secrets) t.match({ code, out }, { code: 0, out: /^[\w-]{64}\n$/ })
      t.not(secrets[0].out, secrets[1].out)
    })
  })
}

t.test('no database, no key, invalid settings, locked database → one line, exit code 1', async (t) => {
  const missing = commandLine(t)
  for (const args of [['user', 'list'], ['user', 'show', 'bob'], ['role', 'grant', 'bob', 'admin'], ['token', 'create', 'bob', '--description', 'x']]) {
    refused(t, await missing.latchkey(args), `there is no database ${missing.file}`)
  }
  t.notOk(existsSync(missing.file), 'a mistaken address makes no database')

  const garbage = commandLine(t)
  writeFileSync(garbage.file, 'garbage '.repeat(100))
  refused(t, await garbage.latchkey(['user', 'list']), 'file is not a database')

  const keyless = commandLine(t)
  delete keyless.settings.SECRET_KEY
  const dotEnv = join(keyless.folder, '.env')
  refused(t, await keyless.latchkey(['role', 'list']), `there is no database ${keyless.file}`)
  t.notOk(existsSync(dotEnv), 'and no key')
  t.match(await keyless.latchkey(['migrate']), { code: 0, err: '' })
  t.notOk(existsSync(dotEnv), 'a command makes no key')
  t.match(await keyless.latchkey(['user', 'list']), { code: 0, err: '' })
  refused(t, await keyless.latchkey(['token', 'create', 'bob', '--description', 'x']), 'SECRET_KEY is not set: set it to the key of the server')
  t.notOk(existsSync(dotEnv))
  t.match(await commandLine(t, { PORT: 'http', SIGNUP: 'maybe' }).latchkey(['migrate']), { code: 1, out: '', err: /^latchkey: PORT must be .*\nlatchkey: SIGNUP must be .*\n$/ })

  const readable = commandLine(t)
  const readableDotEnv = join(readable.folder, '.env')
  writeFileSync(readableDotEnv, `SECRET_KEY=${secretKey}\n`, { mode: 0o644 })
  t.same(await readable.latchkey(['migrate']), { code: 0, out: 'the database is up to date\n', err: `latchkey: warning: other users of this machine can read or change ${readableDotEnv}, which contains SECRET_KEY: run chmod 600 ${readableDotEnv}\n` })

  const locked = commandLine(t)
  await locked.latchkey(['migrate'])
  const other = new Database(locked.file)
  other.exec('begin immediate')
  refused(t, await locked.latchkey(['role', 'create', 'editor', '--description', 'x']), 'the database is unavailable: database is locked')
  other.exec('rollback')
  other.exec("create trigger faults before insert on roles begin select raise(abort, 'a fault'); end")
  other.close()
  t.match(await locked.latchkey(['role', 'create', 'editor', '--description', 'x']), { code: 1, err: /^latchkey: SqliteError: a fault\n +at / })
})

t.test('--help → usage, exit code 0; misuse → exit code 2', async (t) => {
  const { latchkey } = commandLine(t)
  const commands = ['serve', 'migrate', 'reset-db', 'secret', 'user create', 'user list', 'user show', 'user delete', 'user set-password', 'user reset', 'user logout', 'user unlock', 'user disable', 'user enable', 'user rename', 'user set-email', 'unlock', 'events', 'role grant', 'role revoke', 'role list', 'role create', 'role delete', 'invite create', 'invite list', 'invite delete', 'backup', 'restore', 'doctor', 'token create']
  for (const command of ['', 'user', 'role', 'invite', 'token', ...commands]) {
    const { code, out, err } = await latchkey([...command.split(' ').filter(Boolean), '--help'])
    t.match({ code, out, err }, { code: 0, out: new RegExp(`^Usage: latchkey ?${command}`), err: '' }, command)
  }
  t.match(await latchkey(['--version']), { code: 0, out: /^\d+\.\d+\.\d+\n$/ })
  for (const args of [[], ['user'], ['nonsense'], ['user', 'create'], ['user', 'create', 'bob', 'password'], ['user', 'list', '--nonsense'], ['user', 'create', 'bob', '--password', password]]) {
    t.match(await latchkey(args), { code: 2, out: '' }, args.join(' '))
  }
})

t.test('latchkey serve · a process of its own, with latchkey user create in parallel', async (t) => {
  const folder = temporaryFolder(t)
  const server = startServer(t, folder, {}, '', ['cli.ts', 'serve'])
  const url = await server.listening
  const [program = '', ...args] = builtProgram('cli.ts')
  const child = spawn(program, [...args, 'user', 'create', 'bob', '--password-stdin'], {
    cwd: folder,
    env: { ...process.env, SECRET_KEY: secretKey },
    stdio: ['pipe', 'pipe', 'inherit']
  })
  child.stdin.end(`${password}\n`)
  const [out, [code]] = await Promise.all([text(child.stdout), once(child, 'exit')])
  t.same({ out, code }, { out: 'user bob was created with the id 1\n', code: 0 })
  const answer = await fetch(`${url}/api/v1/login`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(bob) })
  t.equal(answer.status, 200)
  server.child.kill('SIGTERM')
  t.equal(await server.exited, 0)
})
