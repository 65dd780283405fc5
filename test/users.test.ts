import { setTimeout as delay } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { createClient } from '../src/client/index.js'
import { servicesOf } from '../src/services.js'
import { asUser } from '../src/testing.js'
import { databases } from './databases.js'
import { as, bob, buildOn, fillDisks, isLongRun, logIn, makeAdmin, needLogin, pairOn, signUp, temporaryFolder, tokenOf } from './helper.js'

const alice = { username: 'alice', password: 'another horse battery staple' }
const day = 86_400_000

/** Every route for admins, with a request for alice that succeeds. */
const routes = [
  ['GET', '/users'], ['POST', '/users', { username: 'carol' }], ['GET', '/users/alice'], ['PUT', '/users/alice/disabled'], ['DELETE', '/users/alice/disabled'],
  ['GET', '/users/alice/tokens'], ['DELETE', '/users/alice/tokens'], ['DELETE', '/users/alice/failures'], ['POST', '/users/alice/password-reset', {}], ['DELETE', '/users/alice']
] as const

/** Those that write. */
const writes = routes.filter(([method]) => method !== 'GET')

const usernames = (response: { json: () => { users: Array<{ username: string }> } }) => response.json().users.map(({ username }) => username)

/** All events, oldest first, as short texts: kind, detail, the user, and the actor if there is one. */
async function eventsOf (app: FastifyInstance): Promise<string[]> {
  const events = await servicesOf(app).audit.list({}, 200)
  return events.reverse().map(({ kind, detail, userId, actorId }) => [kind, detail, userId, actorId === null ? null : `by ${actorId}`].filter((part) => part !== null).join(' '))
}

for (const database of databases) {
  t.test(database.name, async (t) => {
    const build = buildOn(database)
    const pair = pairOn(database)

    /** A server with bob, who is an admin, and alice. */
    const setUp = async (t: Test, env = {}, options = {}) => {
      const app = await build(t, env, options)
      const token = await tokenOf(app)
      await makeAdmin(app, 'bob')
      const aliceToken = await tokenOf(app, alice)
      return { app, token, admin: as(app, token), aliceToken, user: as(app, aliceToken) }
    }

    /** Adds accounts by one statement each 500, without a hash. */
    const addUsers = async (app: FastifyInstance, names: string[]) => {
      const { db, tables: { users } } = servicesOf(app).store
      for (let i = 0; i < names.length; i += 500) {
        await db.insert(users).values(names.slice(i, i + 500).map((username) => ({ username, usernameKey: username.toLowerCase(), passwordHash: '', createdAt: new Date(), updatedAt: new Date() })))
      }
    }

    t.test('every route · not an admin → 403 ROLE_REQUIRED; no token → 400 AUTHORIZATION_MISSING; unknown user → 404 USER_UNKNOWN', async (t) => {
      const { app, admin, user } = await setUp(t)
      for (const [method, url, payload] of routes) {
        t.match((await user(method, url, payload)).json(), { statusCode: 403, code: 'ROLE_REQUIRED' }, `${method} ${url}`)
        t.match((await app.inject({ method, url: `/api/v1${url}`, payload })).json(), { statusCode: 400, code: 'AUTHORIZATION_MISSING' }, `${method} ${url}`)
        if (!url.includes('alice')) continue
        for (const name of ['nobody', 'b%20b', '%00', 'x'.repeat(190)]) t.match((await admin(method, url.replace('alice', name), payload)).json(), { statusCode: 404, code: 'USER_UNKNOWN' }, `${method} ${name}`)
      }
    })

    t.test('every route that writes · the admin is demoted, or the token revoked, in flight → 403 or 401, nothing happens', async (t) => {
      const { app, user } = await setUp(t, { LOGIN_FAILURES_PER_ACCOUNT: '5' })
      await asUser(app, 'root', { roles: ['admin'] })
      const { store, users, roles, tokens, codes } = servicesOf(app)
      const { find } = users
      const { has } = roles
      await roles.create({ name: 'editor', description: 'x' })
      const state = async () => JSON.stringify([
        await store.db.select().from(store.tables.users).orderBy(store.tables.users.id), await store.db.select().from(store.tables.userRoles).orderBy(store.tables.userRoles.userId),
        await store.db.select().from(store.tables.codes), await store.db.select().from(store.tables.loginFailures)
      ])
      await logIn(app, { ...alice, password: 'wrong' })
      await codes.issue({ kind: 'password_reset', userId: 2, lifetimeSeconds: 60 })
      for (const isDisabled of [false, true]) {
        if (isDisabled) await users.disable(2)
        for (const [method, url, payload] of [...writes, ['POST', '/users', { username: 'alice', roles: ['editor'] }] as const]) {
          for (const takeAway of [() => roles.revoke(1, 'admin'), () => tokens.revokeAll(1)]) {
            const { token } = await asUser(app, 'bob', { roles: ['admin'] })
            const before = await state()
            const taken: unknown[] = []
            const inFlight = <Found>(look: (name: string) => Promise<Found>) => async (name: string) => {
              const found = await look(name)
              if (taken.length === 0) taken.push(await takeAway())
              return found
            }
            Object.assign(users, { find: inFlight(find) })
            Object.assign(roles, { has: inFlight(has) })
            const response = await as(app, token)(method, url, payload === undefined || !url.endsWith('/users') ? payload : { roles: ['editor'], ...payload })
            Object.assign(users, { find })
            Object.assign(roles, { has })
            const name = `${method} ${url} ${isDisabled}`
            t.match(response.json(), takeAway.toString().includes('revokeAll') ? { code: 'TOKEN_REVOKED' } : { code: 'ROLE_REQUIRED' }, name)
            await roles.grant(1, 'admin')
            t.equal(await state(), before, name)
          }
        }
        if (!isDisabled) t.equal((await user('GET', '/me')).statusCode, 200, 'alice is still logged in')
      }
    })

    t.test('POST /api/v1/users · 201 → an account without a password, its roles, and a code that is shown once', async (t) => {
      const { app, admin } = await setUp(t, { PUBLIC_URL: 'https://login.example.com/auth/' }, { now: () => Date.UTC(2026, 10, 23, 20, 44) })
      for (const name of ['editor', 'author']) await servicesOf(app).roles.create({ name, description: 'x' })
      const response = await admin('POST', '/users', { username: 'Carol', email: 'Carol@example.com', roles: ['editor', 'author', 'editor'], id: 77, password_hash: 'x', is_admin: true, password: 'a password', email_verified: true, created_at: 'x' })
      t.equal(response.statusCode, 201)
      t.equal(response.headers['cache-control'], 'no-store')
      const { code, ...body } = response.json()
      t.match(code, /^[0-9A-Z]{24}$/)
      t.same(body, {
        user: { id: 3, username: 'Carol', email: 'Carol@example.com', email_verified: false, created_at: '2026-11-23T20:44:00.000Z', second_factor: false, disabled_at: null, roles: ['author', 'editor'] },
        url: `https://login.example.com/auth/ui/reset#${code}`,
        expires_at: '2026-11-24T20:44:00.000Z'
      })
      t.match(await servicesOf(app).codes.find('password_reset', code), { userId: 3, kind: 'password_reset' })
      for (const password of ['a password', '', bob.password]) t.not((await logIn(app, { username: 'carol', password })).statusCode, 200, 'nobody can log in yet')
      t.match((await eventsOf(app)).join('\n'), 'user_creation 3 by 1\nrole_change granted author 3 by 1\nrole_change granted editor 3 by 1')
      const hash = String((await servicesOf(app).codes.find('password_reset', code))?.hash)
      for (const url of ['/users', '/users/carol', '/users/carol/tokens', '/events']) {
        const { body: seen } = await admin('GET', url)
        t.notOk(seen.includes(code) || seen.includes(hash), url)
      }
      t.match((await admin('POST', '/users', { username: 'dave', email: null })).json(), { user: { username: 'dave', email: null, roles: [] } })
      t.match((await admin('POST', '/users', { username: 'Grace@example.com' })).json(), { user: { username: 'Grace@example.com', email: 'Grace@example.com' } })
    })

    t.test('POST /api/v1/users · taken, invalid, unknown role → 409, 422, 404; nothing is given to the account that is there', async (t) => {
      const { app, admin } = await setUp(t)
      await servicesOf(app).roles.create({ name: 'editor', description: 'x' })
      await signUp(app, { ...bob, username: 'carol', email: 'carol@example.com' })
      const { db, tables: { codes, userRoles, users } } = servicesOf(app).store
      const state = async () => [await db.$count(users), await db.$count(userRoles), await db.$count(codes)]
      const before = await state()
      for (const [payload, expected] of [
        [{ username: 'ALICE', roles: ['admin', 'editor'] }, { statusCode: 409, code: 'USERNAME_TAKEN' }],
        [{ username: 'alice', email: 'carol@example.com', roles: ['editor'] }, { statusCode: 409, code: 'USERNAME_TAKEN' }],
        [{ username: 'dave', email: 'CAROL@example.com', roles: ['editor'] }, { statusCode: 409, code: 'EMAIL_TAKEN' }],
        [{ username: 'dave', roles: ['editor', 'nothing'] }, { statusCode: 404, code: 'ROLE_NOT_FOUND' }],
        [{ username: 'dave', roles: ['No\0Role'] }, { statusCode: 404, code: 'ROLE_NOT_FOUND' }],
        [{}, { statusCode: 422, message: 'username is empty' }],
        [{ username: '-x' }, { statusCode: 422, message: 'username must not begin with -' }],
        [{ username: ['x'] }, { statusCode: 422, message: 'username must be a string' }],
        [{ username: 'grace@example.com', email: 'dave@example.com' }, { statusCode: 422, message: 'username must be the email of the account if it contains @' }],
        [{ username: '@dave' }, { statusCode: 422, message: 'username must be the email of the account if it contains @' }],
        [{ username: 'carol@example.com' }, { statusCode: 409, code: 'EMAIL_TAKEN' }],
        [{ username: 'dave', email: '' }, { statusCode: 422, message: 'email is empty' }],
        [{ username: 'dave', email: 'x'.repeat(300) }, { statusCode: 422 }],
        [{ username: 'dave', roles: 'editor' }, { statusCode: 422, message: 'roles must be a list' }],
        [{ username: 'dave', roles: [5] }, { statusCode: 422, message: 'roles.0 must be a string' }],
        [{ username: 'dave', roles: Array.from({ length: 101 }, () => 'editor') }, { statusCode: 422 }]
      ] as const) t.match((await admin('POST', '/users', payload)).json(), expected, JSON.stringify(payload))
      t.same(await state(), before)
    })

    t.test('POST /api/v1/users · role deleted concurrently → 404; the database fails half-way → 500, nothing is left', async (t) => {
      const { app, admin } = await setUp(t)
      const { roles, store, users } = servicesOf(app)
      await roles.create({ name: 'editor', description: 'x' })
      const { has } = roles
      Object.assign(roles, {
        async has (name: string) {
          const found = await has(name)
          await roles.delete(name)
          return found
        }
      })
      t.match((await admin('POST', '/users', { username: 'carol', roles: ['editor'] })).json(), { statusCode: 404, code: 'ROLE_NOT_FOUND' })
      await database.addTrigger(store, 'before insert on codes', database.fault('a fault'))
      t.equal((await admin('POST', '/users', { username: 'carol' })).statusCode, 500)
      t.equal(await users.find('carol'), undefined)
    })

    t.test('POST /api/v1/users · 40 in parallel for one name, on two servers → one 201, 39 409; one code', async (t) => {
      const [here, there] = await pair(t)
      const { token } = await asUser(here, 'root', { roles: ['admin'] })
      const responses = await Promise.all(Array.from({ length: 40 }, (_, i) => as(i % 2 === 0 ? here : there, token)('POST', '/users', { username: i % 3 === 0 ? 'carol' : 'CAROL', roles: ['admin'] })))
      t.same(responses.map(({ statusCode }) => statusCode).sort(), [201, ...Array.from({ length: 39 }, () => 409)])
      t.equal(await servicesOf(here).store.db.$count(servicesOf(here).store.tables.codes), 1)
    })

    t.test('POST /api/v1/users · failed logins for the name from before it had an owner are forgotten', async (t) => {
      const { app, admin } = await setUp(t, { LOGIN_FAILURES_PER_ACCOUNT: '1' })
      for (let i = 0; i < 3; i++) await logIn(app, { username: 'Carol', password: 'wrong' })
      t.equal((await logIn(app, { username: 'carol', password: 'wrong' })).statusCode, 429)
      await admin('POST', '/users', { username: 'carol' })
      t.equal((await logIn(app, { username: 'carol', password: 'wrong' })).statusCode, 401)
    })

    t.test('GET /api/v1/users · search, email, role, disabled; all conditions hold', async (t) => {
      const { app, admin } = await setUp(t)
      await addUsers(app, ['Anna', 'ann.b', 'ann-c', 'Zoe', 'a_b', 'a+b', '.x', '0'])
      await signUp(app, { ...bob, username: 'mail', email: 'Mail@Example.com' })
      await servicesOf(app).roles.create({ name: 'editor', description: 'x' })
      for (const name of ['Zoe', 'ann.b', 'bob']) await servicesOf(app).roles.grant(Number((await servicesOf(app).users.find(name))?.id), 'editor')
      await servicesOf(app).users.disable(Number((await servicesOf(app).users.find('Anna'))?.id))
      await servicesOf(app).users.disable(Number((await servicesOf(app).users.find('zoe'))?.id))
      const list = async (query: Record<string, string>) => {
        const response = await admin('GET', `/users?${new URLSearchParams(query)}`)
        t.equal(response.statusCode, 200, JSON.stringify(query))
        return usernames(response)
      }
      t.same(await list({}), ['.x', '0', 'a+b', 'a_b', 'alice', 'ann-c', 'ann.b', 'Anna', 'bob', 'mail', 'Zoe'])
      t.same(await list({ search: '' }), await list({}))
      t.same(await list({ search: 'ANN' }), ['ann-c', 'ann.b', 'Anna'])
      t.same(await list({ search: 'ann.' }), ['ann.b'])
      t.same(await list({ search: 'a_' }), ['a_b'], 'no wildcard')
      t.same(await list({ search: 'a+' }), ['a+b'])
      t.same(await list({ search: '_' }), [])
      for (const search of ['%', '\\', '*', 'ann%', 'x'.repeat(65), 'x'.repeat(10_000), '\0', 'a\0', '\u212A', 'ä', ' ', "' or 1=1", '\uFFFF']) t.same(await list({ search }), [], JSON.stringify(search.slice(0, 10)))
      t.same(await list({ search: 'x'.repeat(64) }), [])
      t.same(await list({ email: 'MAIL@example.COM' }), ['mail'])
      for (const email of ['nobody@example.com', '', 'mail', '%', '\0', 'x'.repeat(10_000)]) t.same(await list({ email }), [], JSON.stringify(email.slice(0, 10)))
      t.same(await list({ role: 'editor' }), ['ann.b', 'bob', 'Zoe'])
      t.same(await list({ role: 'admin' }), ['bob'])
      for (const role of ['nothing', '', 'EDITOR', '\0', '%']) t.same(await list({ role }), [], JSON.stringify(role))
      t.same(await list({ disabled: 'true' }), ['Anna', 'Zoe'])
      t.same(await list({ disabled: 'false', search: 'a' }), ['a+b', 'a_b', 'alice', 'ann-c', 'ann.b'])
      t.same(await list({ disabled: 'true', role: 'editor', search: 'z' }), ['Zoe'])
      t.same(await list({ role: 'editor', limit: '2' }), ['ann.b', 'bob'])
      t.match((await admin('GET', '/users?search=zoe')).json(), { users: [{ id: 6, username: 'Zoe', email: null, email_verified: false, disabled_at: /Z$/, roles: ['editor'] }], next_cursor: null })
      for (const query of ['limit=0', 'limit=101', 'limit=x', 'disabled=1', 'disabled=', 'disabled=TRUE', 'search=a&search=b', 'disabled=true&disabled=false']) t.match((await admin('GET', `/users?${query}`)).json(), { statusCode: 422, code: 'VALIDATION_FAILED' }, query)
      t.match((await admin('GET', '/users?disabled=no')).json(), { message: 'disabled must be true or false' })
    })

    t.test('GET /api/v1/users?role= · a role that many have → in the order of the usernames, page by page', async (t) => {
      const { app, admin } = await setUp(t)
      const names = Array.from({ length: 1_300 }, (_, i) => `u${String(i).padStart(4, '0')}`)
      await addUsers(app, names)
      await servicesOf(app).roles.create({ name: 'member', description: 'x' })
      await database.execute(servicesOf(app).store, "insert into user_roles select id, 'member' from users where username like 'u%' and id % 7 <> 0")
      const expected = (await servicesOf(app).store.db.select().from(servicesOf(app).store.tables.users)).filter(({ id, username }) => username.startsWith('u') && id % 7 !== 0).map(({ username }) => username)
      t.ok(expected.length > 1_000)
      const found: string[] = []
      for (let cursor: string | null = ''; cursor !== null;) {
        const page = await admin('GET', `/users?role=member&limit=100${cursor === '' ? '' : `&cursor=${cursor}`}`)
        found.push(...usernames(page))
        cursor = page.json().next_cursor
      }
      t.same(found, expected.sort())
      t.same(usernames(await admin('GET', '/users?role=member&search=u1299')), ['u1299'].filter((name) => expected.includes(name)))
    })

    t.test('GET /api/v1/users · 250 users in pages of 100 → each exactly once, while others come and go', async (t) => {
      const { app, admin } = await setUp(t)
      const names = Array.from({ length: 248 }, (_, i) => `${['x', 'Y', '_', '.', '@', '+', '0'][i % 7]}${i * 7_919 % 1_000}-${i}`)
      await addUsers(app, names)
      const found: string[] = []
      let pages = 0
      for (let cursor: string | null = ''; cursor !== null; pages++) {
        const page = await admin('GET', `/users?limit=100${cursor === '' ? '' : `&cursor=${cursor}`}`)
        found.push(...usernames(page))
        cursor = page.json().next_cursor
        // The last one of the page goes, and others come on both sides of it.
        const last = String(found.at(-1))
        if (cursor !== null) {
          await servicesOf(app).users.delete(Number((await servicesOf(app).users.find(last))?.id))
          await addUsers(app, [`+0new${pages}`, `${last}.z`, `zz${pages}`])
        }
      }
      t.equal(pages, 3)
      const old = new Set([...names, 'bob', 'alice'])
      const seen = found.filter((name) => old.has(name))
      t.same(new Set(seen), old)
      t.equal(seen.length, old.size)
      const keys = found.map((name) => name.toLowerCase())
      t.same(keys, keys.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))), 'the same order on both databases: byte by byte')
    })

    t.test('GET /api/v1/users · cursor of no page → 422', async (t) => {
      const { admin } = await setUp(t)
      const page = await admin('GET', '/users?limit=1')
      t.same(usernames(page), ['alice'])
      const { next_cursor: cursor } = page.json()
      t.same(usernames(await admin('GET', `/users?cursor=${cursor}`)), ['bob'])
      t.equal((await admin('GET', `/users?cursor=${Buffer.from('z'.repeat(64)).toString('base64url')}`)).json().users.length, 0)
      for (const wrong of ['', 'x', '!', `${cursor}=`, `${cursor}.`, Buffer.from('ALICE').toString('base64url'), Buffer.from('a b').toString('base64url'), Buffer.from('x'.repeat(65)).toString('base64url'), '%00', 'x'.repeat(5_000)]) {
        t.match((await admin('GET', `/users?cursor=${wrong}`)).json(), { statusCode: 422, code: 'VALIDATION_FAILED', message: /^cursor / }, wrong.slice(0, 20))
      }
    })

    t.test('GET /api/v1/users · each filter is served by an index; no sort of many, no walk for a rare role', async (t) => {
      const { app } = await setUp(t)
      const { store, users } = servicesOf(app)
      await database.execute(store, `insert into users (username, username_key, email, email_key, password_hash, created_at, updated_at, disabled_at) with recursive n(i) as (select 1 union all select i + 1 from n where i < 20000) select 'u' || i, 'u' || i, 'u' || i || '@example.com', 'u' || i || '@example.com', '', ${database.name === 'SQLite' ? '0, 0, case when i % 5000 = 0 then 0 end' : 'now(), now(), case when i % 5000 = 0 then now() end'} from n`)
      for (const name of ['rare', 'common']) await servicesOf(app).roles.create({ name, description: 'x' })
      await database.execute(store, "insert into user_roles select id, 'common' from users")
      await database.execute(store, "insert into user_roles select id, 'rare' from users where id % 4000 = 0")
      await database.execute(store, `insert into tokens (id, user_id, description, created_at, expires_at) select ${database.name === 'SQLite' ? "'t' || id, id, '', 0, 0" : "'t' || id, id, '', now(), now()"} from users`)
      await database.execute(store, `insert into known_networks select id, '203.0.113.7', ${database.name === 'SQLite' ? '0' : 'now()'} from users where id > 9`)
      for (const analyzed of [false, true]) {
        if (analyzed) await database.execute(store, 'analyze')
        // Without statistics PostgreSQL knows nothing of the sizes.
        else if (database.name === 'PostgreSQL') continue
        for (const filter of [{}, { search: 'u199' }, { afterKey: 'u5' }, { search: 'u1', afterKey: 'u15' }, { isDisabled: true }, { isDisabled: false }, { email: 'U7@example.com' }, { role: 'common' }, { role: 'common', afterKey: 'u5' }, { role: 'rare' }]) {
          const name = `${JSON.stringify(filter)}, ${analyzed}`
          t.ok((await users.listByName(filter, 51)).length > 0, name)
          // The last one reads the roles of the page.
          const plans = (await database.explain(store, () => users.listByName(filter, 51))).slice(0, -1)
          const plan = plans.join('\n')
          t.ok(plans.length > 0)
          // PostgreSQL may look for the first 1,001 members of a role that everybody has without an index.
          t.notMatch('role' in filter && filter.role === 'common' ? plans.at(-1) : plan, /Seq Scan|SCAN user_roles|SCAN users"/, `${name}: ${plan}`)
          const [index, mayBeSorted] = 'isDisabled' in filter && filter.isDisabled
            ? ['users_disabled_index', false]
            : 'email' in filter
              ? ['users_email_key_unique', true]
              : 'role' in filter && filter.role === 'rare' ? [database.name === 'SQLite' ? 'INTEGER PRIMARY KEY' : 'users_pkey', true] : ['users_username_key_unique', false]
          t.match(plans.at(-1), index, name)
          if (!mayBeSorted) t.notMatch(plan, /TEMP B-TREE|Sort/, `${name} sorts nothing: ${plan}`)
          if ('search' in filter || 'afterKey' in filter) t.match(plan, database.name === 'SQLite' ? 'SEARCH users' : 'Index Cond', name)
        }
        const details = (await database.explain(store, () => users.findDetails('u7'))).join('\n')
        t.notMatch(details, /Seq Scan|SCAN (?:users|tokens|known_networks|user_roles)\b/, details)
      }
    })

    t.test('GET /api/v1/users/{username} · details; last_login_at and token_count', async (t) => {
      let now = Date.UTC(2026, 10, 1)
      const { app, admin } = await setUp(t, {}, { now: () => now })
      const details = async (name = 'alice') => (await admin('GET', `/users/${name}`)).json()
      const first = await details('ALICE')
      t.match(first, { id: 2, username: 'alice', email: null, email_verified: false, created_at: '2026-11-01T00:00:00.000Z', disabled_at: null, roles: [], last_login_at: '2026-11-01T00:00:00.000Z', token_count: 1 })
      t.same(Object.keys(first), ['id', 'username', 'email', 'email_verified', 'created_at', 'second_factor', 'disabled_at', 'roles', 'last_login_at', 'token_count'])
      now += 3_600_000
      const renewed = (await logIn(app, alice)).json().token
      now += 60_000
      t.equal((await as(app, renewed)('POST', '/renew')).statusCode, 200)
      await servicesOf(app).accessTokens.issue({ userId: 2, kind: 'personal', description: 'x', lifetimeSeconds: 10 * day / 1_000 })
      t.match(await details(), { last_login_at: '2026-11-01T01:00:00.000Z', token_count: 3 }, 'the login, not the personal token or the renewal; the renewed token does not count')
      now += day
      await logIn(app)
      const token = (await logIn(app)).json().token
      now += 1.5 * day
      t.match((await as(app, token)('GET', '/users/alice')).json(), { token_count: 1, last_login_at: '2026-11-01T01:00:00.000Z' }, 'expired tokens do not count, their logins do')
      await servicesOf(app).tokens.revokeAll(2)
      t.match((await as(app, token)('GET', '/users/alice')).json(), { token_count: 0, last_login_at: '2026-11-01T00:00:00.000Z' }, 'from the known network, to a day')
      await servicesOf(app).loginFailures.deleteNetworks(2)
      await servicesOf(app).roles.grant(2, 'admin')
      t.match((await as(app, token)('GET', '/users/alice')).json(), { last_login_at: null, roles: ['admin'] })
      await as(app, token)('POST', '/users', { username: 'carol' })
      t.match((await as(app, token)('GET', '/users/carol')).json(), { last_login_at: null, token_count: 0 })
    })

    t.test('PUT, DELETE /api/v1/users/{username}/disabled · 204, idempotent; every token is refused at once, on every server', async (t) => {
      const [here, there] = await pair(t)
      const admin = as(here, (await asUser(here, 'root', { roles: ['admin'] })).token)
      const token = await tokenOf(there, { ...alice, email: 'alice@example.com' })
      const personal = (await as(there, token)('POST', '/tokens', { description: 'x' })).json().token
      const { code } = (await admin('POST', '/users/alice/password-reset')).json()
      t.equal((await needLogin(there, token)).statusCode, 200)
      for (const attempt of ['once', 'twice']) t.equal((await admin('PUT', '/users/ALICE/disabled')).statusCode, 204, attempt)
      for (const gone of [token, personal]) t.match((await needLogin(there, gone)).json(), { code: 'TOKEN_REVOKED' })
      t.match((await admin('GET', '/users/alice')).json(), { disabled_at: /Z$/, token_count: 0 })
      for (const username of ['alice', 'alice@example.com']) t.match((await logIn(there, { ...alice, username })).json(), { statusCode: 403, code: 'ACCOUNT_DISABLED' })
      t.match((await logIn(there, { ...alice, password: 'wrong' })).json(), { statusCode: 401, code: 'PASSWORD_INCORRECT' })
      t.ok(await servicesOf(here).codes.find('password_reset', code), 'its codes stay')
      t.match((await admin('POST', '/users/alice/password-reset')).json(), { url: null }, 'and it can get others')
      for (const attempt of ['once', 'twice']) t.equal((await admin('DELETE', '/users/alice/disabled')).statusCode, 204, attempt)
      t.match((await needLogin(there, token)).json(), { code: 'TOKEN_REVOKED' }, 'revoked tokens stay revoked')
      const again = (await logIn(there, alice)).json().token
      t.same((await eventsOf(here)).filter((event) => /abling/.test(event)), ['disabling 2 by 1', 'enabling 2 by 1'])
      const { events } = (await as(there, again)('GET', '/me/events?kind=disabling')).json()
      t.match(events, [{ kind: 'disabling', actor_id: 1, address: null, user_agent: null, request_id: null }], 'the user does not see the address of the admin')
    })

    t.test('the last enabled admin · disabling, deleting and demoting it → 409 LAST_ADMIN; a disabled admin is never the last one', async (t) => {
      const { app, admin, user } = await setUp(t)
      const { roles, users } = servicesOf(app)
      const refused = async () => {
        for (const [method, url] of [['PUT', '/users/bob/disabled'], ['DELETE', '/users/bob'], ['DELETE', '/users/bob/roles/admin']] as const) t.match((await admin(method, url)).json(), { statusCode: 409, code: 'LAST_ADMIN' }, `${method} ${url}`)
        t.match((await admin('DELETE', '/me', { password: bob.password })).json(), { statusCode: 409, code: 'LAST_ADMIN' })
        for (const act of [() => users.disable(1), () => users.delete(1), () => roles.revoke(1, 'admin')]) t.equal(await act(), false)
        t.ok(await roles.isLastAdmin(1))
      }
      await refused()
      await makeAdmin(app, 'alice')
      t.notOk(await roles.isLastAdmin(1))
      t.equal((await admin('PUT', '/users/alice/disabled')).statusCode, 204)
      t.match((await user('GET', '/users')).json(), { code: 'TOKEN_REVOKED' })
      await refused()
      t.notOk(await roles.isLastAdmin(2))
      t.equal((await admin('DELETE', '/users/alice/roles/admin')).statusCode, 204, 'a disabled admin can be demoted')
      await makeAdmin(app, 'alice')
      t.equal((await admin('PUT', '/users/alice/disabled')).statusCode, 204)
      await refused()
      t.equal((await admin('DELETE', '/users/alice')).statusCode, 204, 'and deleted')
      await refused()
      await signUp(app, alice)
      await makeAdmin(app, 'alice')
      t.equal((await admin('PUT', '/users/bob/disabled')).statusCode, 204, 'an admin can disable the own account')
      t.match((await admin('GET', '/users')).json(), { code: 'TOKEN_REVOKED' })
      t.ok((await eventsOf(app)).includes('disabling 1'), 'without another actor')
      t.equal(await users.enable(1), true)
      t.equal(await users.enable(1), false)
      t.equal(await users.disable(999), false)
      t.equal(await users.findDisabledAt(999), undefined)
    })

    t.test('PUT /api/v1/users/{username}/disabled · last admin, and another admin is made concurrently → 409 LAST_ADMIN all the same', async (t) => {
      const { app, admin } = await setUp(t)
      const { disable } = servicesOf(app).users
      Object.assign(servicesOf(app).users, {
        async disable (...args: Parameters<typeof disable>) {
          const isDisabled = await disable(...args)
          await makeAdmin(app, 'alice')
          return isDisabled
        }
      })
      t.match((await admin('PUT', '/users/bob/disabled')).json(), { statusCode: 409, code: 'LAST_ADMIN' })
      t.equal((await admin('PUT', '/users/bob/disabled')).statusCode, 204, 'and then not any longer')
    })

    t.test('PUT /api/v1/users/{username}/disabled · two admins disable each other at once → one is disabled, the other one gets 409', async (t) => {
      const [here, there] = await pair(t)
      for (let i = 0; i < 20; i++) {
        const [root, boss] = [await asUser(here, 'root', { roles: ['admin'] }), await asUser(there, 'boss', { roles: ['admin'] })]
        const responses = await Promise.all([as(here, root.token)('PUT', '/users/boss/disabled'), as(there, boss.token)('PUT', '/users/root/disabled')])
        const statuses = responses.map(({ statusCode }) => statusCode).sort()
        // Or the other one is logged out already when it is asked.
        t.ok(statuses[0] === 204 && (statuses[1] === 409 || statuses[1] === 401), String(statuses))
        for (const { user } of [root, boss]) await servicesOf(here).users.enable(user.id)
      }
      const [root, boss] = [await asUser(here, 'root', { roles: ['admin'] }), await asUser(there, 'boss', { roles: ['admin'] })]
      const { disable } = servicesOf(here).users
      Object.assign(servicesOf(here).users, {
        async disable (...args: Parameters<typeof disable>) {
          t.equal((await as(there, boss.token)('PUT', '/users/root/disabled')).statusCode, 204)
          return await disable(...args)
        }
      })
      t.match((await as(here, root.token)('PUT', '/users/boss/disabled')).json(), { statusCode: 409, code: 'LAST_ADMIN' })
      t.equal(await servicesOf(here).users.findDisabledAt(boss.user.id), null)
    })

    t.test('PUT /api/v1/users/{username}/disabled · deleted concurrently → 404 USER_UNKNOWN; so is a reset', async (t) => {
      const { app, admin } = await setUp(t)
      const { users } = servicesOf(app)
      const { find } = users
      for (const [method, action] of [['PUT', 'disabled'], ['POST', 'password-reset']] as const) {
        await signUp(app, alice)
        Object.assign(users, {
          async find (name: string) {
            Object.assign(users, { find })
            const found = await find(name)
            await users.delete(Number(found?.id))
            return found
          }
        })
        t.match((await admin(method, `/users/alice/${action}`)).json(), { statusCode: 404, code: 'USER_UNKNOWN' })
      }
    })

    t.test('PUT /api/v1/users/{username}/disabled · while logins are in flight on two servers → no token survives', async (t) => {
      const [here, there] = await pair(t)
      const admin = await asUser(here, 'root', { roles: ['admin'] })
      await signUp(here, alice)
      const id = Number((await servicesOf(here).users.find('alice'))?.id)
      let survived = 0
      const seen = new Set<number>()
      const rounds = isLongRun ? 500 : 25
      for (let i = 0; i < rounds; i++) {
        const logins = Array.from({ length: 6 }, async (_, j) => {
          await delay(Math.random() * 8)
          return await logIn(j % 2 === 0 ? here : there, alice)
        })
        await delay(Math.random() * 10)
        t.equal((await as(i % 2 === 0 ? here : there, admin.token)('PUT', '/users/alice/disabled')).statusCode, 204)
        for (const { statusCode } of await Promise.all(logins)) seen.add(statusCode)
        survived += (await servicesOf(here).tokens.list(id)).length
        await servicesOf(here).users.enable(id)
      }
      t.equal(survived, 0)
      t.same([...seen].filter((status) => ![200, 403].includes(status)), [])
    })

    t.test('GET, DELETE /api/v1/users/{username}/tokens · 200 without their text; 204, logged out everywhere', async (t) => {
      const { app, admin, token, aliceToken } = await setUp(t)
      const personal = (await as(app, aliceToken)('POST', '/tokens', { description: 'backup script' })).json()
      const response = await admin('GET', '/users/alice/tokens')
      t.match(response.json().tokens, [{ id: personal.id, description: 'backup script', current: false, last_used_at: null }, { current: false }])
      for (const secret of [personal.token, aliceToken]) t.notMatch(response.body, secret)
      t.match((await admin('GET', '/users/bob/tokens')).json().tokens, [{ current: true }])
      for (const attempt of ['once', 'twice']) t.equal((await admin('DELETE', '/users/alice/tokens')).statusCode, 204, attempt)
      for (const gone of [personal.token, aliceToken]) t.match((await needLogin(app, gone)).json(), { code: 'TOKEN_REVOKED' })
      t.equal((await logIn(app, alice)).statusCode, 200)
      t.equal((await admin('DELETE', '/users/bob/tokens')).statusCode, 204)
      t.match((await needLogin(app, token)).json(), { code: 'TOKEN_REVOKED' })
      t.same((await eventsOf(app)).filter((event) => event.startsWith('revocation')), ['revocation all 2 by 1', 'revocation all 1'])
    })

    t.test('DELETE /api/v1/users/{username}/failures · 204 → the wait after failed logins ends', async (t) => {
      const { app, admin } = await setUp(t, { LOGIN_FAILURES_PER_ACCOUNT: '1' })
      for (let i = 0; i < 3; i++) await logIn(app, { ...alice, password: 'wrong' })
      t.equal((await logIn(app, alice)).statusCode, 429)
      for (const attempt of ['once', 'twice']) t.equal((await admin('DELETE', '/users/Alice/failures')).statusCode, 204, attempt)
      t.equal((await logIn(app, alice)).statusCode, 200)
      t.same((await eventsOf(app)).filter((event) => event.startsWith('unlock')), ['unlock 2 by 1'])
    })

    t.test('POST /api/v1/users/{username}/password-reset · 201 → a code; older ones are not valid any longer', async (t) => {
      let now = Date.UTC(2026, 10, 23, 20, 44)
      const { app, admin, aliceToken } = await setUp(t, {}, { now: () => now })
      const first = (await admin('POST', '/users/alice/password-reset')).json()
      t.same({ ...first, code: '' }, { code: '', url: null, expires_at: '2026-11-24T20:44:00.000Z' })
      t.ok(await servicesOf(app).codes.find('password_reset', first.code))
      const second = (await admin('POST', '/users/alice/password-reset', { expires_in: 60, password: 'mine', user_id: 1 })).json()
      t.equal(second.expires_at, '2026-11-23T20:45:00.000Z')
      t.equal(await servicesOf(app).codes.find('password_reset', first.code), undefined)
      t.match(await servicesOf(app).codes.find('password_reset', second.code), { userId: 2 })
      t.equal((await needLogin(app, aliceToken)).statusCode, 200, 'nothing changes yet')
      t.equal((await logIn(app, alice)).statusCode, 200)
      for (const payload of [{ expires_in: 59 }, { expires_in: 604_801 }, { expires_in: '60' }, { expires_in: 60.5 }, { expires_in: null }]) t.match((await admin('POST', '/users/alice/password-reset', payload)).json(), { statusCode: 422, message: /^expires_in / }, JSON.stringify(payload))
      t.equal((await admin('POST', '/users/alice/password-reset', { expires_in: 604_800 })).json().expires_at, '2026-11-30T20:44:00.000Z')
      now += 60_000
      t.equal((await admin('POST', '/users/bob/password-reset')).statusCode, 201)
      t.same((await eventsOf(app)).filter((event) => event.startsWith('reset')), ['reset_request 2 by 1', 'reset_request 2 by 1', 'reset_request 2 by 1', 'reset_request 1'])
    })

    t.test('DELETE /api/v1/users/{username} · 204 → the account and its data are gone on every server', async (t) => {
      const [here, there] = await pair(t)
      const admin = as(here, (await asUser(here, 'root', { roles: ['admin'] })).token)
      const token = await tokenOf(there, alice)
      const { code } = (await admin('POST', '/users/alice/password-reset')).json()
      t.equal((await admin('DELETE', '/users/ALICE')).statusCode, 204)
      t.match((await needLogin(there, token)).json(), { statusCode: 400, code: 'USER_NOT_FOUND' })
      t.equal(await servicesOf(there).codes.find('password_reset', code), undefined)
      t.match((await admin('DELETE', '/users/alice')).json(), { statusCode: 404, code: 'USER_UNKNOWN' })
      t.equal((await eventsOf(here)).at(-1), 'deletion 2 by 1')
    })

    t.test('usernames of every permitted character are path segments, also for our client → 200', async (t) => {
      const app = await build(t)
      const { token } = await asUser(app, 'root', { roles: ['admin'] })
      const client = createClient({ baseUrl: await app.listen({ host: '127.0.0.1', port: 0 }), token })
      // Accounts of before can have a username with @ that is no email.
      const old = ['@', '@'.repeat(64)]
      for (const username of ['...', '.x', '..x', 'x..', 'a+b', '+', 'a.b', 'disabled', 'me', 'tokens', '_', 'a-', '0', 'Ab@c.d', 'users', ...old]) {
        const params = { path: { username } }
        if (old.includes(username)) await servicesOf(app).users.create({ username, email: null, passwordHash: 'x' })
        else t.equal((await client.POST('/api/v1/users', { body: { username } })).response.status, 201, username)
        t.equal((await client.GET('/api/v1/users/{username}', { params })).data?.username, username)
        t.same((await client.GET('/api/v1/users', { params: { query: { search: username, disabled: false, limit: 1 } } })).data?.users[0]?.username, username)
        t.equal((await client.PUT('/api/v1/users/{username}/disabled', { params })).response.status, 204)
        t.equal((await client.DELETE('/api/v1/users/{username}/disabled', { params })).response.status, 204)
        t.equal((await client.GET('/api/v1/users/{username}/tokens', { params })).data?.tokens.length, 0)
        t.equal((await client.DELETE('/api/v1/users/{username}/tokens', { params })).response.status, 204)
        t.equal((await client.DELETE('/api/v1/users/{username}/failures', { params })).response.status, 204)
        t.equal((await client.POST('/api/v1/users/{username}/password-reset', { params, body: {} })).response.status, 201)
        t.equal((await client.DELETE('/api/v1/users/{username}', { params })).response.status, 204)
      }
    })
  })
}

t.test('POST /api/v1/users · nearly full disk → 503, as a signup; disabling is recorded', async (t) => {
  let now = Date.now()
  const [sqlite] = databases
  const app = await buildOn(sqlite)(t, { DATABASE_URL: `sqlite:///${temporaryFolder(t)}/latchkey.sqlite` }, { now: () => now })
  const { token } = await asUser(app, 'root', { roles: ['admin'] })
  await signUp(app, alice)
  fillDisks(t)
  now += 1_000
  t.match((await as(app, token)('POST', '/users', { username: 'carol' })).json(), { statusCode: 503, code: 'SERVICE_UNAVAILABLE' })
  t.equal((await as(app, token)('PUT', '/users/alice/disabled')).statusCode, 204)
  t.ok((await eventsOf(app)).includes('disabling 2 by 1'))
})
