import { createHmac, randomUUID } from 'node:crypto'
import v8 from 'node:v8'
import { runInNewContext } from 'node:vm'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import latchkey from '../src/index.js'
import { guardErrors } from '../src/plugins/authenticate/guard.js'
import { servicesOf } from '../src/services.js'
import { asUser, testOptions } from '../src/testing.js'
import { databases } from './databases.js'
import { bob, buildOn, claimsOf, logIn, needLogin, signToken, tokenOf } from './helper.js'

/** Counts the signatures that are worked out from now on, whoever asks. */
function countSignatures (t: Test): () => number {
  const prototype = Object.getPrototypeOf(createHmac('sha256', 'x'))
  const { digest } = prototype
  let count = 0
  prototype.digest = function (...args: unknown[]) {
    count++
    return Reflect.apply(digest, this, args)
  }
  t.teardown(() => { prototype.digest = digest })
  return () => count
}

/** Has a token's signature remembered, as that of a client which has been busy for a while. */
async function warm (app: FastifyInstance, token: string): Promise<void> {
  for (let i = 0; i < 3; i++) await needLogin(app, token)
  const all = await Promise.all(Array.from({ length: 20 }, () => needLogin(app, token)))
  if (all.some(({ statusCode }) => statusCode !== 200)) throw new Error('it was to be warmed')
}

for (const database of databases) {
  t.test(database.name, async (t) => {
    const build = buildOn(database)

    t.test('a token that was taken back is refused at once, however often it was verified', async (t) => {
      const as = (app: FastifyInstance, token: string) => async (method: 'POST' | 'PUT' | 'DELETE', path: string, payload?: object) => {
        const { statusCode } = await app.inject({ method, url: `/api/v1${path}`, headers: { authorization: token }, payload })
        if (statusCode >= 300) throw new Error(`${method} ${path} answered ${statusCode}`)
      }
      type Way = (app: FastifyInstance, token: string, other: string) => Promise<unknown>
      const ways: Record<string, [Way, string]> = {
        logout: [(app, token) => as(app, token)('POST', '/logout'), 'TOKEN_REVOKED'],
        'another device revokes it': [(app, token, other) => as(app, other)('DELETE', `/tokens/${claimsOf(token).jti}`), 'TOKEN_REVOKED'],
        'another device revokes the others': [(app, token, other) => as(app, other)('DELETE', '/tokens?scope=others'), 'TOKEN_REVOKED'],
        'all are revoked': [(app, token) => as(app, token)('DELETE', '/tokens'), 'TOKEN_REVOKED'],
        'the password is changed': [(app, token, other) => as(app, other)('PUT', '/me/password', { current_password: bob.password, new_password: 'another horse battery' }), 'TOKEN_REVOKED'],
        'the account is deleted': [(app, token, other) => as(app, other)('DELETE', '/me', { password: bob.password }), 'USER_NOT_FOUND'],
        'its row goes': [async (app) => servicesOf(app).store.db.delete(servicesOf(app).store.tables.tokens), 'TOKEN_REVOKED'],
        'its user goes': [async (app) => servicesOf(app).store.db.delete(servicesOf(app).store.tables.users), 'USER_NOT_FOUND']
      }
      for (const [name, [way, code]] of Object.entries(ways)) {
        const app = await build(t)
        const token = await tokenOf(app)
        const other: string = (await logIn(app)).json().token
        await warm(app, token)
        await way(app, token, other)
        const answers = await Promise.all(Array.from({ length: 5 }, () => needLogin(app, token)))
        for (const answer of answers) t.equal(answer.json().code, code, name)
      }
    })

    t.test('what another server of the same database took back is refused at once', async (t) => {
      const DATABASE_URL = await database.create(t, { isShared: true })
      const [here, there] = [await build(t, { DATABASE_URL }), await build(t, { DATABASE_URL })]
      for (let i = 0; i < 10; i++) {
        const token = await tokenOf(here)
        await warm(here, token)
        await warm(there, token)
        await there.inject({ method: 'POST', url: '/api/v1/logout', headers: { authorization: token } })
        t.same((await Promise.all([needLogin(here, token), needLogin(here, token)])).map((answer) => answer.json().code), ['TOKEN_REVOKED', 'TOKEN_REVOKED'])
      }
    })

    t.test('the times are judged anew each time', async (t) => {
      let now = Date.now()
      const app = await build(t, { TOKEN_TTL_SECONDS: '100' }, { now: () => now })
      const token = await tokenOf(app)
      await warm(app, token)
      now -= 120_000
      t.equal((await needLogin(app, token)).json().code, 'TOKEN_INVALID', 'a clock that was set back: it is from the future')
      now += 120_000
      t.equal((await needLogin(app, token)).statusCode, 200)
      await warm(app, token)
      now += 101_000
      for (let i = 0; i < 2; i++) t.equal((await needLogin(app, token)).json().code, 'TOKEN_EXPIRED')
    })

    t.test('a name, a role and an email are those of now', async (t) => {
      const app = await build(t)
      const { store: { db, tables } } = servicesOf(app)
      const token = await tokenOf(app)
      await warm(app, token)
      const me = async () => (await app.inject({ url: '/api/v1/me', headers: { authorization: token } })).json()
      t.match(await me(), { id: 1, username: 'bob', email: null, created_at: String, roles: [] })
      await db.update(tables.users).set({ username: 'Bob', email: 'bob@example.com' })
      for (const name of ['reader', 'editor']) await servicesOf(app).roles.create({ name, description: 'x' })
      for (const name of ['reader', 'admin', 'editor']) await servicesOf(app).roles.grant(1, name)
      t.match(await me(), { username: 'Bob', email: 'bob@example.com', roles: ['admin', 'editor', 'reader'] })
      t.equal((await app.inject({ url: '/admin', headers: { authorization: token } })).statusCode, 200)
      await servicesOf(app).roles.create({ name: 'second', description: 'x' })
      await tokenOf(app, { ...bob, username: 'alice' })
      await servicesOf(app).roles.grant(2, 'admin')
      await servicesOf(app).roles.revoke(1, 'admin')
      t.equal((await app.inject({ url: '/admin', headers: { authorization: token } })).statusCode, 403)
      t.match(await me(), { roles: ['editor', 'reader'] })
    })

    t.test('authenticateWithRoles guards a route of another app, says who is asking and what they are, and is documented', async (t) => {
      const app = Fastify()
      t.teardown(() => app.close())
      await app.register(latchkey, { ...testOptions(), databaseUrl: await database.create(t) })
      app.get('/mine', { preHandler: [app.authenticateWithRoles] }, async ({ currentUser, currentRoles }) => ({ currentUser, currentRoles }))
      app.get('/open', async ({ currentRoles }) => ({ currentRoles }))
      app.get('/plain', { preHandler: [app.authenticate] }, async ({ currentRoles }) => ({ currentRoles }))
      const { token: authorization } = await asUser(app, 'bob', { roles: ['editor', 'author'] })
      const headers = { authorization }
      t.match((await app.inject({ url: '/mine', headers })).json(), { currentUser: { id: 1, username: 'bob' }, currentRoles: ['author', 'editor'] })
      t.match((await app.inject({ url: '/open', headers })).json(), { statusCode: 500, message: /no guard has run.*preHandler: \[app\.authenticate\]/ })
      t.match((await app.inject({ url: '/plain', headers })).json(), { statusCode: 500, message: /Use app\.authenticateWithRoles or app\.requireRole/ })
      t.match((await app.inject('/mine')).json(), { code: 'AUTHORIZATION_MISSING' })
      t.match((await app.inject({ url: '/mine', headers: { authorization: 'x.y.z' } })).json(), { code: 'TOKEN_INVALID' })
      t.same(guardErrors({ preHandler: [app.authenticateWithRoles] }), guardErrors({ preHandler: [app.authenticate] }))
    })

    t.test('roles come with the same query', async (t) => {
      const app = await build(t)
      const token = await tokenOf(app)
      for (const [url, statusCode] of [['/api/v1/me', 200], ['/admin', 403]] as const) {
        const queries = database.countQueries(t)
        t.equal((await app.inject({ url, headers: { authorization: token } })).statusCode, statusCode)
        t.equal(queries(), 1, url)
      }
    })

    t.test('the names of roles stay whole: nobody is an admin by half of a name', async (t) => {
      const app = await build(t)
      const token = await tokenOf(app)
      for (const name of ['night admin', 'Admin', 'a\x1fadmin', '']) await t.rejects(servicesOf(app).roles.create({ name, description: 'x' }), TypeError, name)
      // Written by somebody who knows no rules.
      await servicesOf(app).store.db.insert(servicesOf(app).store.tables.roles).values({ name: 'night admin', description: 'x' })
      await servicesOf(app).roles.grant(1, 'night admin')
      t.equal((await app.inject({ url: '/admin', headers: { authorization: token } })).statusCode, 403)
      t.same((await app.inject({ url: '/api/v1/me', headers: { authorization: token } })).json().roles, ['night admin'])
    })

    t.test('a snapshot that is being read holds nobody up', async (t) => {
      const app = await build(t)
      const token = await tokenOf(app)
      const rows = servicesOf(app).store.snapshot(async function * (db) {
        for (const row of await db.select({ id: servicesOf(app).store.tables.users.id }).from(servicesOf(app).store.tables.users)) yield row
        for (const row of await db.select({ id: servicesOf(app).store.tables.users.id }).from(servicesOf(app).store.tables.users)) yield row
      })
      await rows.next()
      t.same((await Promise.all([needLogin(app, token), needLogin(app, token)])).map(({ statusCode }) => statusCode), [200, 200])
      await rows.return(undefined)
      t.same((await Promise.all([needLogin(app, token), needLogin(app, token)])).map(({ statusCode }) => statusCode), [200, 200])
    })

    t.test('many at once: each gets its own answer', async (t) => {
      const app = await build(t)
      const people = await Promise.all(Array.from({ length: 8 }, async (_, i) => ({ username: `user${i}`, token: await tokenOf(app, { ...bob, username: `user${i}` }) })))
      const { id } = (await app.inject({ url: '/api/v1/me', headers: { authorization: String(people[0]?.token) } })).json()
      const times = { iat: Math.floor(Date.now() / 1_000), exp: Math.floor(Date.now() / 1_000) + 60 }
      const revoked = signToken({ ...times, user_id: id, jti: randomUUID() })
      const stranger = signToken({ ...times, user_id: 4_242, jti: randomUUID() })
      const asked = Array.from({ length: 25 }, () => [...people, { username: 'TOKEN_REVOKED', token: revoked }, { username: 'USER_NOT_FOUND', token: stranger }]).flat()
      const answers = await Promise.all(asked.map(({ token }) => app.inject({ url: '/api/v1/me', headers: { authorization: token } })))
      t.same(answers.map((answer) => answer.json().username ?? answer.json().code), asked.map(({ username }) => username))
    })

    t.test('a database that fails is said to each, and to nobody after it', async (t) => {
      const app = await build(t)
      const token = await tokenOf(app)
      await warm(app, token)
      await database.execute(servicesOf(app).store, 'alter table tokens rename to tokens_gone')
      t.same((await Promise.all([needLogin(app, token), needLogin(app, token), needLogin(app, token)])).map(({ statusCode }) => statusCode), [500, 500, 500])
      t.equal((await app.inject('/health/live')).statusCode, 200)
      await database.execute(servicesOf(app).store, 'alter table tokens_gone rename to tokens')
      t.same((await Promise.all([needLogin(app, token), needLogin(app, token)])).map(({ statusCode }) => statusCode), [200, 200])
    })

    t.test('a store that is closed refuses what is asked of it', async (t) => {
      const app = await build(t)
      await tokenOf(app)
      const asked = [1, 2].map((userId) => servicesOf(app).tokens.findOwner({ userId, tokenId: randomUUID() }))
      const closing = servicesOf(app).store.close()
      await Promise.allSettled(asked)
      await closing
      await t.rejects(servicesOf(app).tokens.findOwner({ userId: 1, tokenId: randomUUID() }))
      await Promise.all([1, 2].map((userId) => t.rejects(servicesOf(app).tokens.findOwner({ userId, tokenId: randomUUID() }))))
    })
  })
}

t.test('a signature is verified once', async (t) => {
  const build = buildOn(databases[0])
  const times = () => ({ iat: Math.floor(Date.now() / 1_000), exp: Math.floor(Date.now() / 1_000) + 60 })

  t.test('however the token is sent', async (t) => {
    const app = await build(t)
    const token = await tokenOf(app)
    const signatures = countSignatures(t)
    for (const authorization of [token, `Bearer ${token}`, `bearer ${token}`, `BEARER   ${token}`]) t.equal((await needLogin(app, authorization)).statusCode, 200)
    t.equal(signatures(), 1)
  })

  t.test('and again when it is refused: no refusal is kept', async (t) => {
    let now = Date.now()
    const app = await build(t, {}, { now: () => now })
    const token = await tokenOf(app)
    const forged = `${token.slice(0, -10)}AAAAAAAAAA`
    const nobodys = signToken({ ...times(), jti: randomUUID() })
    const signatures = countSignatures(t)
    for (const [refused, code] of [[forged, 'TOKEN_INVALID'], [nobodys, 'TOKEN_CLAIMS_INVALID']] as const) {
      const before = signatures()
      for (let i = 0; i < 3; i++) t.equal((await needLogin(app, refused)).json().code, code)
      t.equal(signatures() - before, 3)
    }
    await warm(app, token)
    for (const almost of [forged, `${token.slice(0, -1)}`, `${token}=`, `${token} `, token.replace('.', '..'), `Bearer${token}`, `Basic ${token}`, `Bearer Bearer ${token}`]) {
      t.equal((await needLogin(app, almost)).json().code, 'TOKEN_INVALID', almost)
    }
    now += 172_801_000
    const before = signatures()
    for (let i = 0; i < 3; i++) t.equal((await needLogin(app, token)).json().code, 'TOKEN_EXPIRED')
    t.ok(signatures() - before >= 2, 'it is not kept beyond its time')
  })

  t.test('and what is remembered of it is no longer than the token, however long the header was', async (t) => {
    const app = await build(t)
    const tokens = Array.from({ length: 1_500 }, () => signToken({ ...times(), user_id: 1, jti: randomUUID() }))
    v8.setFlagsFromString('--expose-gc')
    const collect: () => void = runInNewContext('gc')
    collect()
    const before = process.memoryUsage().heapUsed
    for (const token of tokens) await needLogin(app, `Bearer${' '.repeat(14_000)}${token}`)
    collect()
    t.ok(process.memoryUsage().heapUsed - before < 10_000_000, 'the headers were 21 MB')
  })

  t.test('with another key it is another matter', async (t) => {
    const app = await build(t)
    const token = await tokenOf(app)
    await warm(app, token)
    const other = await build(t, { SECRET_KEY: 'Another-Key-For-The-Time-After-The-Rotation-42' })
    t.equal((await needLogin(other, token)).json().code, 'TOKEN_INVALID')
    t.equal((await needLogin(app, signToken(claimsOf(token), 'Another-Key-For-The-Time-After-The-Rotation-42'))).json().code, 'TOKEN_INVALID')
  })

  t.test('while it is among the last that were used, and no longer than ours are', async (t) => {
    const app = await build(t)
    const signatures = countSignatures(t)
    const verify = (claims: object) => servicesOf(app).accessTokens.verify(signToken({ ...times(), user_id: 1, jti: randomUUID(), ...claims }))
    const first = signToken({ ...times(), user_id: 1, jti: randomUUID() })
    const verifications = (token: string) => {
      const before = signatures()
      servicesOf(app).accessTokens.verify(token)
      return signatures() - before
    }
    t.same([verifications(first), verifications(first)], [1, 0])
    for (let i = 0; i < 5_000; i++) verify({})
    t.equal(verifications(first), 0, 'many others do not push it out')
    for (let i = 0; i < 20_000; i++) verify({})
    t.equal(verifications(first), 1, 'what is kept is bounded')

    const long = signToken({ ...times(), user_id: 1, jti: randomUUID(), more: 'x'.repeat(600) })
    t.same([verifications(long), verifications(long)], [1, 1], 'and so is the length of each')
  })
})

t.test('SQLite · what was committed before somebody asked is seen, and nothing of a turn is taken for another', async (t) => {
  const app = await buildOn(databases[0])(t)
  const { store: { db, tables }, tokens } = servicesOf(app)
  const token = await tokenOf(app)
  const { jti: tokenId } = claimsOf(token)
  const find = () => tokens.findOwner({ userId: 1, tokenId })
  // Asked before, between and after writes of one and the same turn.
  const answers = [find(), find()]
  await db.delete(tables.tokens)
  answers.push(find(), find())
  for (const owner of await Promise.all(answers)) t.match(owner, { username: 'bob', tokenUserId: null })
  t.equal(await tokens.findOwner({ userId: 2, tokenId }), undefined)
})
