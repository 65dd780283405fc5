import t, { type Test } from 'tap'
import { servicesOf } from '../src/services.js'
import { asUser } from '../src/testing.js'
import { databases } from './databases.js'
import { as, bob, buildOn, makeAdmin, pairOn, signUp, tokenOf } from './helper.js'

const alice = { username: 'alice', password: 'another horse battery staple' }

for (const database of databases) {
  t.test(database.name, async (t) => {
    const build = buildOn(database)
    const pair = pairOn(database)

    const setUp = async (t: Test) => {
      const app = await build(t)
      const admin = as(app, await tokenOf(app))
      await makeAdmin(app, 'bob')
      const user = as(app, await tokenOf(app, alice))
      return { app, admin, user }
    }

    t.test('/api/v1/roles, /api/v1/users/{username}/roles · not an admin → 403 ROLE_REQUIRED; no token → 400 AUTHORIZATION_MISSING', async (t) => {
      const { app, user } = await setUp(t)
      for (const [method, url] of [['GET', '/roles'], ['POST', '/roles'], ['DELETE', '/roles/admin'], ['PUT', '/users/alice/roles/admin'], ['DELETE', '/users/bob/roles/admin']] as const) {
        const payload = method === 'POST' ? { name: 'mine', description: 'x' } : undefined
        t.match((await user(method, url, payload)).json(), { statusCode: 403, code: 'ROLE_REQUIRED' }, url)
        t.match((await app.inject({ method, url: `/api/v1${url}`, payload })).json(), { statusCode: 400, code: 'AUTHORIZATION_MISSING' }, url)
      }
    })

    t.test('GET, POST /api/v1/roles, DELETE /api/v1/roles/{name} · 200, 201, 204; 404 ROLE_NOT_FOUND; 409 ROLE_EXISTS, ROLE_PROTECTED; 422', async (t) => {
      const { admin } = await setUp(t)
      const editor = { name: 'editor', description: 'May change articles.' }
      const made = await admin('POST', '/roles', { ...editor, id: 7 })
      t.equal(made.statusCode, 201)
      t.same(made.json(), editor)
      t.match((await admin('POST', '/roles', editor)).json(), { statusCode: 409, code: 'ROLE_EXISTS' })
      t.same((await admin('GET', '/roles')).json(), { roles: [{ name: 'admin', description: 'May do everything.' }, editor] })
      t.equal((await admin('PUT', '/users/alice/roles/editor')).statusCode, 204)
      t.equal((await admin('DELETE', '/roles/editor')).statusCode, 204)
      t.match((await admin('DELETE', '/roles/editor')).json(), { statusCode: 404, code: 'ROLE_NOT_FOUND' })
      t.match((await admin('DELETE', '/roles/admin')).json(), { statusCode: 409, code: 'ROLE_PROTECTED' })
      for (const name of ['Admin', '%00', 'x'.repeat(180), 'x'.repeat(1_000), '%f0%9f%94%91']) t.equal((await admin('DELETE', `/roles/${name}`)).statusCode, 404)
      for (const [body, message] of [
        [{}, 'name is empty'],
        [{ name: 'editor' }, 'description is empty'],
        [{ name: 'Editor', description: 'x' }, 'name may only contain a-z, 0-9 and _ . -, a letter first'],
        [{ name: '1st', description: 'x' }, 'name may only contain a-z, 0-9 and _ . -, a letter first'],
        [{ name: 'x'.repeat(65), description: 'x' }, 'name must not be longer than 64 characters'],
        [{ name: ['x'], description: 'x' }, 'name must be a string']
      ] as const) {
        t.match((await admin('POST', '/roles', body)).json(), { statusCode: 422, message }, message)
      }
    })

    t.test('PUT, DELETE /api/v1/users/{username}/roles/{role} · 204, also when repeated; 404 USER_UNKNOWN, ROLE_NOT_FOUND', async (t) => {
      const { admin, user } = await setUp(t)
      await admin('POST', '/roles', { name: 'editor', description: 'x' })
      for (const attempt of ['once', 'twice']) t.equal((await admin('PUT', '/users/ALICE/roles/editor')).statusCode, 204, attempt)
      t.same((await user('GET', '/me')).json().roles, ['editor'])
      for (const attempt of ['once', 'twice']) t.equal((await admin('DELETE', '/users/alice/roles/editor')).statusCode, 204, attempt)
      t.same((await user('GET', '/me')).json().roles, [])
      for (const method of ['PUT', 'DELETE'] as const) {
        for (const username of ['nobody', 'b%20b', '%00', 'x'.repeat(190)]) t.match((await admin(method, `/users/${username}/roles/editor`)).json(), { statusCode: 404, code: 'USER_UNKNOWN' }, username)
        for (const name of ['nothing', 'EDITOR', '%00']) t.match((await admin(method, `/users/alice/roles/${name}`)).json(), { statusCode: 404, code: 'ROLE_NOT_FOUND' }, name)
      }
    })

    t.test('PUT /api/v1/users/{username}/roles/{role} · every character of the username is escaped → 204', async (t) => {
      const { app, admin } = await setUp(t)
      const username = '@'.repeat(64)
      // Of before the rule for usernames with @.
      await asUser(app, username)
      t.equal((await admin('PUT', `/users/${encodeURIComponent(username)}/roles/admin`)).statusCode, 204)
    })

    t.test('PUT, DELETE /api/v1/users/{username}/roles/{role} · in parallel on two servers → 204 for all', async (t) => {
      const url = await database.create(t, { isShared: true })
      const [here, there] = [await build(t, { DATABASE_URL: url }), await build(t, { DATABASE_URL: url })]
      const admin = await asUser(here, 'admin', { roles: ['admin', 'editor'] })
      await asUser(here, 'bob')
      for (let i = 0; i < 20; i++) {
        for (const role of ['editor', 'admin']) {
          const responses = await Promise.all([as(here, admin.token)('PUT', `/users/bob/roles/${role}`), as(there, admin.token)('DELETE', `/users/bob/roles/${role}`), as(here, admin.token)('PUT', `/users/bob/roles/${role}`)])
          t.same(responses.map(({ statusCode }) => statusCode), [204, 204, 204])
        }
      }
    })

    t.test('DELETE /api/v1/users/{username}/roles/admin · last admin → 409 LAST_ADMIN, also with two in parallel', async (t) => {
      const { app, admin, user } = await setUp(t)
      t.match((await admin('DELETE', '/users/bob/roles/admin')).json(), { statusCode: 409, code: 'LAST_ADMIN' })
      t.equal((await admin('DELETE', '/users/alice/roles/admin')).statusCode, 204, 'who is none does not become one')
      await admin('PUT', '/users/alice/roles/admin')
      const responses = await Promise.all([admin('DELETE', '/users/alice/roles/admin'), user('DELETE', '/users/bob/roles/admin')])
      const [first, second] = responses.map(({ statusCode }) => statusCode).sort()
      t.equal(first, 204)
      t.ok(second === 409 || second === 403, 'or the other is no admin any more when it is asked')
      t.equal((await servicesOf(app).store.db.select().from(servicesOf(app).store.tables.userRoles)).length, 1)
    })

    t.test('DELETE /api/v1/me · the two last admins in parallel → 204 and 409', async (t) => {
      const { app, admin, user } = await setUp(t)
      await makeAdmin(app, 'alice')
      const responses = await Promise.all([admin('DELETE', '/me', { password: bob.password }), user('DELETE', '/me', { password: alice.password })])
      t.same(responses.map(({ statusCode }) => statusCode).sort(), [204, 409])
    })

    t.test('roles.revoke, users.delete · the two last admins in parallel on two servers → one admin is left', async (t) => {
      const [here, there] = await pair(t)
      for (const account of [bob, alice]) await signUp(here, account)
      for (let i = 0; i < 20; i++) {
        for (const id of [1, 2]) await servicesOf(here).roles.grant(id, 'admin')
        const revoked = await Promise.all([servicesOf(here).roles.revoke(1, 'admin'), servicesOf(there).roles.revoke(2, 'admin')])
        t.same(revoked.sort(), [false, true])
      }
      for (let i = 0; i < 5; i++) {
        const ids = await Promise.all(['carol', 'dave'].map(async (username) => (await signUp(here, { ...bob, username: `${username}${i}` })).json().user.id))
        for (const id of ids) await servicesOf(here).roles.grant(id, 'admin')
        for (const id of [1, 2]) await servicesOf(here).roles.revoke(id, 'admin')
        const deleted = await Promise.all([servicesOf(here).users.delete(ids[0]), servicesOf(there).users.delete(ids[1])])
        t.same(deleted.sort(), [false, true])
        await servicesOf(here).roles.grant(1, 'admin')
        for (const id of ids) await servicesOf(here).users.delete(id)
      }
    })

    t.test('PUT /api/v1/users/{username}/roles/{role} · role deleted concurrently → 404 ROLE_NOT_FOUND; the database fails → 500', async (t) => {
      const { app, admin } = await setUp(t)
      await admin('POST', '/roles', { name: 'editor', description: 'x' })
      const { grant } = servicesOf(app).roles
      Object.assign(servicesOf(app).roles, {
        async grant (...args: Parameters<typeof grant>) {
          await servicesOf(app).roles.delete('editor')
          return await grant(...args)
        }
      })
      t.match((await admin('PUT', '/users/alice/roles/editor')).json(), { statusCode: 404, code: 'ROLE_NOT_FOUND' })
      for (const table of ['tokens', 'user_roles']) {
        await database.addTrigger(servicesOf(app).store, `before insert on ${table}`, database.fault('a fault'))
      }
      t.match((await admin('POST', '/tokens', { description: 'x' })).json(), { statusCode: 500, code: 'INTERNAL_SERVER_ERROR' })
      t.match((await admin('PUT', '/users/alice/roles/admin')).json(), { statusCode: 500, code: 'INTERNAL_SERVER_ERROR' })
    })
  })
}

t.test('PUT, DELETE /api/v1/users/{username}/roles/{role} · SQLite, another write undoes ours → 204', async (t) => {
  const [sqlite] = databases
  const app = await buildOn(sqlite)(t)
  const admin = await asUser(app, 'admin', { roles: ['admin', 'editor'] })
  await asUser(app, 'bob', { roles: ['admin', 'author'] })
  // To whoever looks afterwards the write has done nothing, as where another one has undone it.
  await sqlite.addTrigger(servicesOf(app).store, 'before insert on user_roles', 'select raise(ignore)')
  await sqlite.addTrigger(servicesOf(app).store, 'before delete on user_roles', 'select raise(ignore)')
  t.equal((await as(app, admin.token)('PUT', '/users/bob/roles/editor')).statusCode, 204)
  for (const role of ['author', 'admin']) t.equal((await as(app, admin.token)('DELETE', `/users/bob/roles/${role}`)).statusCode, 204)
})
