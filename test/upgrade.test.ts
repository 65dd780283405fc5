import { randomUUID } from 'node:crypto'
import { copyFileSync, cpSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { drizzle } from 'drizzle-orm/node-postgres'
import { migrate } from 'drizzle-orm/node-postgres/migrator'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { issuePasswordReset } from '../src/plugins/codes/password-reset.js'
import { servicesOf } from '../src/services.js'
import { commandLine } from './command-line.js'
import { databases, withClient } from './databases.js'
import { as, bob, build, logIn, needLogin, signToken, signUp, temporaryFolder } from './helper.js'

// The fixtures were made by the server and the command line of the version before accounts could
// be disabled, with its clock at 06:00 of that day: the users 1 and 2, and 3, who was deleted; a
// login of each, a personal access token and a login that was revoked, both of bob; the role
// editor, which bob has; two failed logins of bob.
const fixtures = join(import.meta.dirname, 'fixtures')
const { time, secretKey, users, tokens } = JSON.parse(readFileSync(join(fixtures, 'latchkey-before-accounts.json'), 'utf8'))
/** A clock inside of the lifetimes of the tokens. */
const now = () => Date.parse(time)

/** Whatever that version could do, and what is new, works with its accounts. */
async function checkUpgraded (t: Test, app: FastifyInstance): Promise<void> {
  const services = servicesOf(app)
  for (const token of [tokens.alice, tokens.bob, tokens.personal]) t.equal((await needLogin(app, token)).statusCode, 200)
  t.match((await needLogin(app, tokens.revoked)).json(), { code: 'TOKEN_REVOKED' })
  t.equal((await app.inject({ url: '/admin', headers: { authorization: tokens.alice } })).statusCode, 200)
  t.equal((await app.inject({ url: '/admin', headers: { authorization: tokens.bob } })).statusCode, 403)
  t.same(await services.roles.ofUser(2), ['editor'])
  t.match((await as(app, tokens.alice)('GET', '/me')).json(), { id: 1, username: 'Alice', email: 'Alice@Example.com', email_verified: false })
  for (const account of [users.alice, users.bob, { ...users.alice, username: 'alice@example.COM' }]) t.equal((await logIn(app, account)).statusCode, 200)
  t.match(await services.store.db.select().from(services.store.tables.users), [
    { id: 1, disabledAt: null, emailVerifiedAt: null },
    { id: 2, disabledAt: null, emailVerifiedAt: null }
  ])
  const issued = await issuePasswordReset(services, 2)
  t.match(await services.codes.consume('password_reset', String(issued?.code)), { userId: 2 })
  t.equal((await signUp(app, { ...bob, username: 'dave' })).json().user.id, 4, 'the id of a deleted user does not return')
}

/** The statement with which that version creates an account. */
const insertUser = (table: string, id: number, time: string) =>
  `insert into ${table} (id, username, username_key, email, email_key, password_hash, created_at, updated_at) values (${id}, 'erin', 'erin', null, null, '', ${time}, ${time})`

t.test('a SQLite database of the version before · tokens, logins, roles and events are there, the new columns are null', async (t) => {
  const file = join(temporaryFolder(t), 'latchkey.sqlite')
  copyFileSync(join(fixtures, 'latchkey-before-accounts.sqlite'), file)
  const app = await build(t, { DATABASE_URL: `sqlite:///${file}`, SECRET_KEY: secretKey, LOGIN_FAILURES_PER_ACCOUNT: '5' }, { now })
  const { audit, store, loginFailures } = servicesOf(app)
  const kinds = (await audit.list({}, 100)).map(({ kind }) => kind)
  t.equal(kinds.length, 15)
  for (const kind of ['signup', 'login', 'logout', 'token_creation', 'role_change', 'login_failure', 'deletion']) t.ok(kinds.includes(kind as typeof kinds[number]), kind)
  const { usernameKey } = store.tables.loginFailures
  t.same(await store.db.select({ usernameKey }).from(store.tables.loginFailures), [{ usernameKey: 'bob' }])
  await checkUpgraded(t, app)
  t.equal(await loginFailures.reset('bob'), false, 'the login of bob has ended them')
  await databases[0].execute(store, insertUser('users', 9, '0'))
  t.match(await servicesOf(app).users.findById(9), { username: 'erin', emailVerified: false })
})

t.test('a PostgreSQL database of the version before · tokens work, the new columns are null', async (t) => {
  const url = await databases[1].create(t, { isEmpty: true })
  const migrationsFolder = join(temporaryFolder(t), 'migrations')
  cpSync(join(import.meta.dirname, '../src/database/postgres/migrations'), migrationsFolder, { recursive: true })
  const journalFile = join(migrationsFolder, 'meta/_journal.json')
  const journal = JSON.parse(readFileSync(journalFile, 'utf8'))
  const entries: Array<{ tag: string }> = journal.entries
  writeFileSync(journalFile, JSON.stringify({ ...journal, entries: entries.slice(0, 1 + entries.findIndex(({ tag }) => tag === '0006_signing_keys')) }))
  const jti = randomUUID()
  await withClient(url, async (client) => {
    await migrate(drizzle(client), { migrationsFolder, migrationsSchema: 'drizzle', migrationsTable: 'latchkey_migrations' })
    const { rows } = await client.query("select column_name from information_schema.columns where table_schema = 'latchkey' and column_name = 'disabled_at'")
    t.same(rows, [])
    await client.query(insertUser('latchkey.users', 7, 'now()'))
    await client.query("insert into latchkey.tokens (id, user_id, kind, description, created_at, expires_at) values ($1, 7, 'personal', 'x', now(), now() + interval '1 hour')", [jti])
  })
  const app = await build(t, { DATABASE_URL: url })
  const seconds = Math.floor(Date.now() / 1_000)
  t.equal((await needLogin(app, signToken({ user_id: 7, jti, iat: seconds, exp: seconds + 3_600 }))).statusCode, 200)
  const { store, users: { findById }, codes } = servicesOf(app)
  t.match(await findById(7), { username: 'erin', email: null, emailVerified: false })
  t.match(await store.db.select().from(store.tables.users), [{ id: 7, disabledAt: null, emailVerifiedAt: null }])
  t.ok(await codes.issue({ kind: 'password_reset', userId: 7, lifetimeSeconds: 60 }))
  await servicesOf(app).users.delete(7)
  await databases[1].execute(store, insertUser('users', 9, 'now()'))
  t.match(await findById(9), { username: 'erin', emailVerified: false }, 'a server of the version before can still write')
})

for (const database of databases) {
  t.test(`latchkey import · an export of version 1 · ${database.name} → accounts, roles and tokens are the same`, async (t) => {
    const { settings, latchkey } = commandLine(t, { DATABASE_URL: await database.create(t, { isShared: true, isEmpty: true }), SECRET_KEY: secretKey })
    const file = join(fixtures, 'export-version-1.ndjson')
    t.match(await latchkey(['import', file]), { code: 0, out: 'imported 2 users, 2 roles and 3 tokens\n', err: '' })
    await checkUpgraded(t, await build(t, settings, { now }))

    const again = commandLine(t, { DATABASE_URL: await database.create(t, { isShared: true, isEmpty: true }) })
    await again.latchkey(['import', file])
    const before = readFileSync(file, 'utf8').trimEnd().split('\n').map((line) => JSON.parse(line))
    const after = (await again.latchkey(['export'])).out.trimEnd().split('\n').map((line) => JSON.parse(line))
    // An export has no token that has expired since.
    const withoutTokens = (records: object[]) => records.map((record) => 'tokens' in record ? { ...record, tokens: [] } : record)
    t.same(withoutTokens(after), withoutTokens(before.map((record) => ({ ...record, ...record.type === 'export' && { version: 2 }, ...record.type === 'user' && { disabled_at: null, email_verified_at: null, second_factor: null } }))))
  })
}
