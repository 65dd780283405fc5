import t, { type Test } from 'tap'
import { createNoPassword, isNoPassword } from '../src/plugins/passwords/stored-hash.js'
import { servicesOf } from '../src/services.js'
import { commandLine, refused } from './command-line.js'
import { databases } from './databases.js'
import { bob, build, logIn, needLogin, signUp, tokenOf } from './helper.js'

const alice = { username: 'Alice', email: 'alice@example.com', password: 'another horse battery staple' }
const dayMs = 86_400_000

for (const database of databases) {
  t.test(database.name, async (t) => {
    /** The command line and a server on a database of their own. */
    const newInstallation = async (t: Test, env: Record<string, string> = {}) => {
      const { settings, latchkey } = commandLine(t, { DATABASE_URL: await database.create(t, { isShared: true }), ...env })
      const app = await build(t, settings)
      const services = servicesOf(app)
      const { users } = services.store.tables
      return {
        latchkey,
        app,
        services,
        json: async (...args: string[]) => JSON.parse((await latchkey([...args, '--json'])).out),
        /** The kinds of the events that commands have recorded: those of a server are written later. */
        kinds: async () => (await latchkey(['events', '--json'])).out.trimEnd().split('\n').map((line) => JSON.parse(line)).flatMap(({ source, kind }) => source === 'cli' ? [kind] : []),
        rowOf: async (username: string) => (await services.store.db.select().from(users)).find((row) => row.username === username),
        /** A signup that takes a name or an email in the moment in which a command gives it to somebody. */
        takeConcurrently: (column: 'username_key' | 'email_key', value: string) => database.addTrigger(services.store, 'before update on users',
          `insert into users (username, username_key, ${column === 'email_key' ? 'email_key, ' : ''}password_hash, created_at, updated_at) values ('x', ${column === 'email_key' ? "'x', " : ''}'${value}', '', new.created_at, new.created_at)`,
          `new.${column} = '${value}'`)
      }
    }

    t.test('latchkey user reset · without PUBLIC_URL → a code for 24 hours, and the request that uses it; an older one is dead', async (t) => {
      const { latchkey, app, services, json, kinds } = await newInstallation(t)
      await signUp(app)
      const { code, out, err } = await latchkey(['user', 'reset', 'BOB'])
      t.match({ code, err }, { code: 0, err: '' })
      const [, until = '', first = ''] = /^user bob can set a new password once, until (\S+), with the code ([0-9A-Z]{24}):\nPUT \/api\/v1\/password-reset \{"code":"\2","new_password":"…"\}\n$/.exec(out) ?? []
      t.ok(Math.abs(Date.parse(until) - Date.now() - dayMs) < 60_000, out)
      t.match(await services.codes.find('password_reset', first), { userId: 1 })
      const second = await json('user', 'reset', 'bob', '--expires-in', '60')
      t.match(second, { code: /^[0-9A-Z]{24}$/, url: null, expires_at: String })
      t.ok(Date.parse(second.expires_at) < Date.now() + dayMs / 2)
      t.equal(await services.codes.find('password_reset', first), undefined)
      t.ok(await services.codes.consume('password_reset', second.code, 1))
      t.equal((await logIn(app)).statusCode, 200, 'the password is the old one until then')
      t.equal((await kinds()).filter((kind) => kind === 'reset_request').length, 2)
      t.notOk((await latchkey(['events', '--json'])).out.includes(second.code))
      for (const expiresIn of ['59', '604801', 'x']) t.match(await latchkey(['user', 'reset', 'bob', `--expires-in=${expiresIn}`]), { code: 2, out: '' })
    })

    t.test('latchkey user reset · with PUBLIC_URL → a link', async (t) => {
      const { latchkey, app, json } = await newInstallation(t, { PUBLIC_URL: 'https://auth.example.com/' })
      await signUp(app)
      t.match(await latchkey(['user', 'reset', 'bob']), { code: 0, out: /^user bob can set a new password once, until \S+, at\nhttps:\/\/auth\.example\.com\/ui\/reset#[0-9A-Z]{24}\n$/, err: '' })
      const { code, url } = await json('user', 'reset', 'bob')
      t.equal(url, `https://auth.example.com/ui/reset#${code}`)
    })

    t.test('latchkey user reset · the user is deleted concurrently → one line, exit code 1', async (t) => {
      const { latchkey, app, services } = await newInstallation(t)
      await signUp(app)
      await latchkey(['user', 'reset', 'bob'])
      await database.addTrigger(services.store, 'after delete on codes', 'delete from users where id = old.user_id', 'old.user_id is not null')
      refused(t, await latchkey(['user', 'reset', 'bob']), 'there is no user bob')
    })

    t.test('latchkey user create --no-password → an account without a password, and the code to set one', async (t) => {
      const { latchkey, app, services, json, kinds, rowOf } = await newInstallation(t)
      const { code, out, err } = await latchkey(['user', 'create', 'bob', '--no-password'])
      t.match({ code, out, err }, { code: 0, out: /^user bob was created with the id 1\nuser bob can set a new password once, until \S+, with the code [0-9A-Z]{24}:\nPUT .*\n$/, err: '' })
      const created = await json('user', 'create', 'carol', '--no-password', '--admin', '--email', 'carol@example.com')
      t.match(created, { id: 2, username: 'carol', email: 'carol@example.com', email_verified: false, second_factor: false, disabled_at: null, roles: ['admin'], code: String, url: null, expires_at: String })
      t.match(await services.codes.find('password_reset', created.code), { userId: 2 })
      const hashes = [(await rowOf('bob'))?.passwordHash, (await rowOf('carol'))?.passwordHash].map(String)
      t.ok(hashes.every(isNoPassword))
      t.not(hashes[0], hashes[1])
      for (const password of ['', hashes[0], bob.password]) t.match((await logIn(app, { username: 'bob', password })).statusCode, /^4(?:01|22)$/)
      t.same(await kinds(), ['user_creation', 'reset_request', 'user_creation', 'role_change', 'reset_request'])
      t.match(await latchkey(['user', 'create', 'dave', '--no-password', '--password-stdin'], bob.password), { code: 2, out: '' })
      refused(t, await latchkey(['user', 'create', 'BOB', '--no-password']), 'the username "BOB" is already taken')
    })

    t.test('latchkey user disable, enable · tokens are revoked at once, and login is refused until it is enabled; repeated → says so', async (t) => {
      const { latchkey, app, json, kinds } = await newInstallation(t)
      const token = await tokenOf(app)
      t.same(await latchkey(['user', 'disable', 'BOB']), { code: 0, out: 'user bob is disabled and logged out everywhere\n', err: '' })
      t.match((await needLogin(app, token)).json(), { code: 'TOKEN_REVOKED' })
      t.match((await logIn(app)).json(), { statusCode: 403, code: 'ACCOUNT_DISABLED' })
      refused(t, await latchkey(['token', 'create', 'bob', '--description', 'x']), /user bob/)
      const { disabled_at: disabledAt } = await json('user', 'show', 'bob')
      t.ok(Math.abs(Date.parse(disabledAt) - Date.now()) < 60_000)
      t.match(await latchkey(['user', 'disable', 'bob']), { code: 0, out: 'user bob was already disabled\n' })
      t.equal((await json('user', 'show', 'bob')).disabled_at, disabledAt)
      t.match(await latchkey(['user', 'enable', 'bob']), { code: 0, out: 'user bob is enabled\n' })
      t.match(await latchkey(['user', 'enable', 'bob']), { code: 0, out: 'user bob was not disabled\n' })
      t.equal((await logIn(app)).statusCode, 200)
      t.match((await needLogin(app, token)).json(), { code: 'TOKEN_REVOKED' }, 'a revoked token stays revoked')
      t.same((await kinds()).filter((kind) => kind.endsWith('abling')), ['disabling', 'enabling'])
    })

    t.test('latchkey user disable · the last enabled admin → rejected', async (t) => {
      const { latchkey, app, services } = await newInstallation(t)
      const token = await tokenOf(app)
      await signUp(app, alice)
      for (const name of ['bob', 'alice']) await latchkey(['role', 'grant', name, 'admin'])
      t.match(await latchkey(['user', 'disable', 'alice']), { code: 0 })
      refused(t, await latchkey(['user', 'disable', 'bob']), 'user bob is the last enabled admin: grant the role admin to another user first')
      t.equal((await needLogin(app, token)).statusCode, 200, 'and nothing is revoked')
      t.match(await latchkey(['user', 'disable', 'alice']), { code: 0, out: 'user Alice was already disabled\n' })
      await latchkey(['user', 'enable', 'alice'])
      const disabled = await Promise.all([1, 2].map((id) => services.users.disable(id)))
      t.same(disabled.sort(), [false, true], 'of two at once one')
      t.equal(await services.users.disable(3), false)
      t.equal(await services.users.enable(3), false)
    })

    t.test('latchkey user list, show · disabled accounts', async (t) => {
      const { latchkey, app, json } = await newInstallation(t)
      for (const username of ['bob', 'Bonnie', 'carol']) await signUp(app, { ...bob, username })
      t.equal((await latchkey(['user', 'list', '--disabled'])).out, 'there are no disabled users\n')
      for (const name of ['bonnie', 'carol']) await latchkey(['user', 'disable', name])
      t.match((await latchkey(['user', 'list'])).out, /^id +username +roles +email +disabled_at +created_at\n1 +bob +20\S+Z\n2 +Bonnie +20\S+Z +20\S+Z\n3 +carol +20\S+Z +20\S+Z\n$/)
      t.match(await json('user', 'list'), [{ id: 1, disabled_at: null }, { id: 2, disabled_at: /Z$/ }, { id: 3, disabled_at: /Z$/ }])
      t.match(await json('user', 'list', '--disabled'), [{ username: 'Bonnie' }, { username: 'carol' }])
      t.match(await json('user', 'list', '--disabled', '--search', 'BO', '--limit', '9'), [{ username: 'Bonnie' }])
      t.equal((await json('user', 'list', '--disabled', '--search', 'BO')).length, 1)
      t.equal((await latchkey(['user', 'list', '--disabled', '--search', 'x'])).out, 'there are no disabled users whose username begins with that\n')
      t.match((await latchkey(['user', 'show', 'bob'])).out, /\nemail_verified: false\nhas_password: true\nsecond_factor: false\ndisabled_at: \ncreated_at: /)
      t.match((await latchkey(['user', 'show', 'carol'])).out, /\ndisabled_at: 20\S+Z\n/)
    })

    t.test('latchkey user rename → logs in by the new name, tokens work, the failures of the new name are deleted', async (t) => {
      const { latchkey, app, services, json, kinds } = await newInstallation(t, { LOGIN_FAILURES_PER_ACCOUNT: '5' })
      const token = await tokenOf(app)
      await signUp(app, alice)
      await logIn(app, { ...bob, username: 'robert' })
      t.same(await latchkey(['user', 'rename', 'bob', 'Robert']), { code: 0, out: 'user bob is now Robert\n', err: '' })
      t.equal(await services.loginFailures.reset('robert'), false)
      t.equal((await needLogin(app, token)).statusCode, 200)
      t.equal((await logIn(app, { ...bob, username: 'ROBERT' })).statusCode, 200)
      t.match((await logIn(app)).json(), { code: 'USERNAME_UNKNOWN' })
      t.match(await latchkey(['user', 'rename', 'robert', 'ROBERT']), { code: 0, out: 'user Robert is now ROBERT\n' }, 'its own name in another case')
      t.match(await json('user', 'show', 'robert'), { id: 1, username: 'ROBERT' })
      t.equal((await kinds()).filter((kind) => kind === 'username_change').length, 2)

      refused(t, await latchkey(['user', 'rename', 'robert', 'ALICE']), 'the username "ALICE" is already taken')
      refused(t, await latchkey(['user', 'rename', 'robert', '']), 'the username is empty')
      refused(t, await latchkey(['user', 'rename', 'robert', 'b b']), 'the username may only contain')
      refused(t, await latchkey(['user', 'rename', 'robert', '..']), 'the username must not be . or ..')
      refused(t, await latchkey(['user', 'rename', '--', 'robert', '-x']), 'the username must not begin with -')
      await t.rejects(services.users.rename(1, '-x'), TypeError)
      await t.rejects(services.users.rename(1, 'b b'), TypeError)
      t.equal(await services.users.rename(9, 'nobody'), false)
      t.match((await signUp(app, { ...bob, email: 'bob@example.com' })).json(), { user: { id: 3 } }, 'the old name is free')
      refused(t, await latchkey(['user', 'rename', 'robert', 'BOB@example.com']), 'the email "BOB@example.com" is already signed up')
    })

    t.test('latchkey user rename · name taken concurrently, fault → one line; stack', async (t) => {
      const { latchkey, app, services, takeConcurrently, rowOf } = await newInstallation(t)
      await signUp(app)
      await takeConcurrently('username_key', 'gina')
      refused(t, await latchkey(['user', 'rename', 'bob', 'Gina']), 'the username "Gina" is already taken')
      t.match(await rowOf('bob'), { id: 1, usernameKey: 'bob' })
      await database.removeTriggers(services.store, 'users')
      await database.addTrigger(services.store, 'before update on users', database.fault('a fault'))
      t.match(await latchkey(['user', 'rename', 'bob', 'gina']), { code: 1, out: '', err: /a fault/ })
    })

    t.test('latchkey user set-email → unverified, with --verified verified; --none removes it', async (t) => {
      const { latchkey, app, json, kinds, rowOf } = await newInstallation(t)
      await signUp(app)
      await signUp(app, alice)
      t.same(await latchkey(['user', 'set-email', 'BOB', 'Bob@Example.com']), { code: 0, out: 'user bob has the email Bob@Example.com\n', err: '' })
      t.match(await rowOf('bob'), { email: 'Bob@Example.com', emailKey: 'bob@example.com', emailVerifiedAt: null })
      t.match(await latchkey(['user', 'set-email', 'bob', 'bob@example.com', '--verified']), { code: 0, out: 'user bob has the email bob@example.com, verified\n' })
      t.match(await json('user', 'show', 'bob'), { email: 'bob@example.com', email_verified: true })
      t.equal((await logIn(app, { ...bob, username: 'bob@example.com' })).statusCode, 200)
      t.match(await latchkey(['user', 'set-email', 'bob', 'bob@example.org']), { code: 0 })
      t.match(await rowOf('bob'), { email: 'bob@example.org', emailVerifiedAt: null }, 'another address is unverified again')
      t.match(await latchkey(['user', 'set-email', 'bob', '--none']), { code: 0, out: 'user bob has no email\n' })
      t.match(await rowOf('bob'), { email: null, emailKey: null, emailVerifiedAt: null })
      t.match(await latchkey(['user', 'set-email', 'bob', '--none']), { code: 0 })
      t.equal((await kinds()).filter((kind) => kind === 'email_change').length, 5)

      refused(t, await latchkey(['user', 'set-email', 'bob', 'ALICE@example.com']), 'the email "ALICE@example.com" is already signed up')
      refused(t, await latchkey(['user', 'set-email', 'bob', 'nowhere']), 'the email must be one address')
      refused(t, await latchkey(['user', 'set-email', 'bob', 'a@example.com,b@example.com']), 'the email must be one address')
      refused(t, await latchkey(['user', 'set-email', 'bob', '']), 'the email is empty')
      refused(t, await latchkey(['user', 'set-email', 'bob', '--none', '--verified']), '--verified needs an address')
      for (const args of [[], ['bob@example.com', '--none']]) refused(t, await latchkey(['user', 'set-email', 'bob', ...args]), 'give either an address or --none')
    })

    t.test('latchkey user set-email · another address → the codes of the account are dead; the same → they are not', async (t) => {
      const { latchkey, app, services } = await newInstallation(t)
      await signUp(app, alice)
      await signUp(app)
      const issue = async (kind: 'password_reset' | 'email_verification', userId: number) => String((await services.codes.issue({ kind, userId, lifetimeSeconds: 60 }))?.code)
      const codes = async () => [['password_reset', await issue('password_reset', 1)], ['email_verification', await issue('email_verification', 1)]] as const
      const areDead = async (codes: ReadonlyArray<readonly ['password_reset' | 'email_verification', string]>) => Promise.all(codes.map(async ([kind, code]) => await services.codes.find(kind, code) === undefined))
      const [before, bobs] = [await codes(), await issue('password_reset', 2)]
      await latchkey(['user', 'set-email', 'alice', alice.email, '--verified'])
      t.same(await areDead(before), [false, false])
      for (const address of ['other@example.com', '--none', alice.email]) {
        const present = await codes()
        t.match(await latchkey(['user', 'set-email', 'alice', address]), { code: 0 })
        t.same(await areDead(present), [true, true], address)
      }
      await latchkey(['user', 'set-email', 'bob', 'bob@example.com'])
      const later = await codes()
      refused(t, await latchkey(['user', 'set-email', 'alice', 'bob@example.com']), 'already signed up')
      t.same(await areDead([...later, ['password_reset', bobs]]), [false, false, true], 'nothing changes where it is taken')
    })

    t.test('latchkey user set-email · address taken concurrently, fault → one line; stack', async (t) => {
      const { latchkey, app, services, takeConcurrently, rowOf } = await newInstallation(t)
      await signUp(app)
      await takeConcurrently('email_key', 'gina@example.com')
      refused(t, await latchkey(['user', 'set-email', 'bob', 'Gina@example.com']), 'the email "Gina@example.com" is already signed up')
      t.match(await rowOf('bob'), { email: null })
      await database.removeTriggers(services.store, 'users')
      await database.addTrigger(services.store, 'before update on users', database.fault('a fault'))
      t.match(await latchkey(['user', 'set-email', 'bob', 'gina@example.com']), { code: 1, out: '', err: /a fault/ })
    })

    t.test('latchkey user reset, disable, enable, rename, set-email · unknown user → one line, exit code 1', async (t) => {
      const { latchkey } = await newInstallation(t)
      for (const args of [['reset', 'nobody'], ['disable', 'nobody'], ['enable', 'nobody'], ['rename', 'nobody', 'somebody'], ['set-email', 'nobody', '--none']]) {
        refused(t, await latchkey(['user', ...args]), 'there is no user nobody')
      }
    })

    t.test('latchkey reset-db → deletes codes too, also those of invitations', async (t) => {
      const { latchkey, app, services } = await newInstallation(t)
      await signUp(app)
      await latchkey(['user', 'reset', 'bob'])
      const { row } = services.codes.prepare({ kind: 'invite', lifetimeSeconds: 60 })
      const { codes } = services.store.tables
      await services.store.db.insert(codes).values(row)
      t.match(await latchkey(['reset-db', '--yes']), { code: 0 })
      t.same(await services.store.db.select().from(codes), [])
    })

    t.test('latchkey export, import · disabled accounts, verified emails and accounts without a password → the same', async (t) => {
      const source = await newInstallation(t)
      await signUp(source.app, alice)
      await signUp(source.app)
      await source.latchkey(['user', 'create', 'carol', '--no-password'])
      await source.latchkey(['user', 'set-email', 'alice', alice.email, '--verified'])
      await source.latchkey(['user', 'disable', 'bob'])
      const { out } = await source.latchkey(['export'])
      const [header, , ...records] = out.trimEnd().split('\n').map((line) => JSON.parse(line))
      t.match(header, { type: 'export', version: 2 })
      t.match(records, [
        { username: 'Alice', password_hash: /^\$argon2id/, disabled_at: null, email_verified_at: /Z$/ },
        { username: 'bob', password_hash: /^\$argon2id/, disabled_at: /Z$/, email_verified_at: null },
        { username: 'carol', password_hash: null, disabled_at: null, email_verified_at: null },
        { type: 'end', users: 3, roles: 1 }
      ])
      t.notOk(out.includes('code'), 'codes are not exported')

      const target = await newInstallation(t)
      t.match(await target.latchkey(['import'], out), { code: 0, out: 'imported 3 users, 1 role and 0 tokens; 1 of them without a password\n', err: '' })
      t.equal((await target.latchkey(['export'])).out, out)
      t.match((await logIn(target.app)).json(), { code: 'ACCOUNT_DISABLED' })
      t.equal((await logIn(target.app, alice)).statusCode, 200)
      t.not((await target.rowOf('carol'))?.passwordHash, (await source.rowOf('carol'))?.passwordHash)
      t.equal((await logIn(target.app, { ...bob, username: 'carol' })).statusCode, 401)
      t.match(await target.json('user', 'reset', 'carol'), { code: String })
    })

    t.test('latchkey import · records of other systems → may be disabled and verified', async (t) => {
      const { latchkey, app, json } = await newInstallation(t)
      await signUp(app)
      const lines = (...records: object[]) => records.map((record) => JSON.stringify(record)).join('\n')
      const [, , hash] = (await latchkey(['export'])).out.split('\n').map((line) => line === '' ? {} : JSON.parse(line).password_hash)
      const record = { type: 'user', username: 'dave', password_hash: hash }
      for (const [wrong, problem] of [
        [{ password_hash: 7 }, 'password_hash is missing or invalid'],
        [{ password_hash: createNoPassword() }, 'the password_hash has an unknown format'],
        [{ disabled_at: 'yesterday' }, 'disabled_at is missing or invalid'],
        [{ disabled_at: '2026-02-30T00:00:00Z' }, 'a date or time does not exist'],
        [{ email: 'dave@example.com', email_verified_at: '2026-02-30T00:00:00Z' }, 'a date or time does not exist'],
        [{ email_verified_at: '2026-02-20T00:00:00Z' }, 'email_verified_at needs an email']
      ] as const) refused(t, await latchkey(['import'], lines({ ...record, ...wrong })), `latchkey: line 1: ${problem}`)
      refused(t, await latchkey(['import'], lines({ type: 'export', version: 2 }, { ...record, password_hash: 7 })), 'line 2: password_hash is missing or invalid')
      t.match(await latchkey(['import'], lines({ ...record, email: 'dave@example.com', disabled_at: '2026-11-20T01:02:03+01:00', email_verified_at: '2026-11-20T00:00:00Z' })), { code: 0 })
      t.match(await json('user', 'show', 'dave'), { email_verified: true, disabled_at: '2026-11-20T00:02:03.000Z' })
    })
  })
}
