// Every status and every code that openapi.yaml documents, triggered at every operation that
// documents it. A code that is documented and not triggered here fails, and the reverse.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import type { FastifyInstance, InjectOptions } from 'fastify'
import t, { type Test } from 'tap'
import { parse, stringify } from 'yaml'
import { brokenOperations, undeclared } from '../scripts/openapi-breaking.js'
import { issuePasswordReset } from '../src/plugins/codes/password-reset.js'
import { servicesOf } from '../src/services.js'
import { asUser, type TestUser } from '../src/testing.js'
import { codeOf, enable, enrolled } from './authenticator.js'
import { codesOf, type Operation, operations, violation } from './contract.js'
import { bob, build, signToken } from './helper.js'

/** A server with an admin and bob. */
interface Fixture {
  app: FastifyInstance
  admin: TestUser
  bob: TestUser
  /** Sends the request that succeeds, with changes. */
  call: (changes?: InjectOptions) => Promise<{ statusCode: number, body: string }>
  advance: (seconds: number) => void
}

const anId = '4e808214-e320-4173-bb6c-b75fbdd51003'
const password = bob.password

/** Deletes the admin, who is not the last one. */
async function deletion ({ app }: Fixture): Promise<InjectOptions> {
  await asUser(app, 'another', { roles: ['admin'] })
  return { payload: { password } }
}

/** Switches the second factor of the admin on: the request has a recovery code. */
async function onceMore ({ app, admin }: Fixture): Promise<InjectOptions> {
  const { recoveryCodes: [code] } = await enable(app, admin, Date.now())
  return { payload: { password, code } }
}

/** A request of each operation that succeeds, by operationId. The admin sends it. */
const requests: Record<string, (fixture: Fixture) => Promise<InjectOptions> | InjectOptions> = {
  signUp: () => ({ payload: { ...bob, username: 'carol', email: 'carol@example.com' } }),
  logIn: () => ({ payload: bob }),
  renewToken: () => ({}),
  logOut: () => ({}),
  getMe: () => ({}),
  changePassword: () => ({ payload: { current_password: password, new_password: 'incorrect donkey charger clip' } }),
  changeUsername: () => ({ payload: { username: 'ada', password } }),
  changeEmail: () => ({ payload: { email: 'carol@example.com', password } }),
  mailEmailVerification: () => ({}),
  verifyEmail: async ({ app, admin }) => ({ payload: { code: (await servicesOf(app).codes.issue({ kind: 'email_verification', userId: admin.user.id, data: { email: 'carol@example.com' }, lifetimeSeconds: 60 }))?.code } }),
  deleteMe: deletion,
  deleteMeByPost: deletion,
  listTokens: () => ({}),
  createToken: () => ({ payload: { description: 'backup script' } }),
  revokeTokens: () => ({}),
  revokeToken: async ({ app, admin }) => ({ url: `/api/v1/tokens/${(await servicesOf(app).accessTokens.issue({ userId: admin.user.id, kind: 'personal', description: 'x' }))?.id}` }),
  getSecondFactor: () => ({}),
  enrolSecondFactor: () => ({ payload: { password } }),
  enableSecondFactor: async ({ admin }) => {
    const { secret, enrolment } = (await admin.inject({ method: 'POST', url: '/api/v1/me/second-factor', payload: { password } })).json()
    return { payload: { enrolment, code: codeOf(secret, Date.now()) } }
  },
  disableSecondFactor: onceMore,
  disableSecondFactorByPost: onceMore,
  createRecoveryCodes: onceMore,
  disableSecondFactorOfUser: () => ({ url: '/api/v1/users/bob/second-factor' }),
  requestPasswordReset: () => ({ payload: { email: 'carol@example.com' } }),
  resetPassword: async ({ app, bob }) => ({ payload: { code: (await issuePasswordReset(servicesOf(app), bob.user.id))?.code, new_password: 'incorrect donkey charger clip' } }),
  listUsers: () => ({}),
  createUser: () => ({ payload: { username: 'carol', email: 'carol@example.com' } }),
  getUser: () => ({ url: '/api/v1/users/bob' }),
  deleteUser: () => ({ url: '/api/v1/users/bob' }),
  disableUser: () => ({ url: '/api/v1/users/bob/disabled' }),
  enableUser: () => ({ url: '/api/v1/users/bob/disabled' }),
  listUserTokens: () => ({ url: '/api/v1/users/bob/tokens' }),
  revokeUserTokens: () => ({ url: '/api/v1/users/bob/tokens' }),
  unlockUser: () => ({ url: '/api/v1/users/bob/failures' }),
  startPasswordReset: () => ({ url: '/api/v1/users/bob/password-reset' }),
  listRoles: () => ({}),
  createRole: () => ({ payload: { name: 'author', description: 'May write articles.' } }),
  deleteRole: () => ({ url: '/api/v1/roles/editor' }),
  grantRole: () => ({ url: '/api/v1/users/bob/roles/editor' }),
  revokeRole: () => ({ url: '/api/v1/users/bob/roles/editor' }),
  createInvite: () => ({ payload: { email: 'carol@example.com', roles: ['editor'] } }),
  listInvites: () => ({}),
  deleteInvite: async ({ app }) => ({ url: `/api/v1/invites/${(await app.latchkey.invites.create()).id}` }),
  unlockAddress: () => ({ url: '/api/v1/addresses/203.0.113.7/failures' }),
  listEvents: () => ({}),
  listMyEvents: () => ({}),
  hello: () => ({}),
  needLogin: () => ({}),
  needLoginV1: () => ({}),
  needAdmin: () => ({}),
  isLive: () => ({}),
  isReady: () => ({})
}

/** A body that is not what the operation asks for; a query or a parameter of the path, where it has no body. */
const wrongInput = ({ requestBody, name }: Operation): InjectOptions =>
  name.includes('addresses') ? { url: '/api/v1/addresses/nowhere/failures' } : requestBody === undefined ? { query: { kind: 'nonsense', scope: 'nonsense', limit: 'nonsense' } } : { payload: { password: 5, email: 5, expires_in: 5 } }

/** The URL of an operation for a user, and where it has one for a role. */
const urlFor = ({ name }: Operation, username: string, role = 'editor') => name.replace(/^\w+ /, '').replace('{username}', username).replace('{name}', role)

const json = { 'content-type': 'application/json' }

/** Has the driver fail for a while. */
async function failing<Result> (code: string, work: () => Promise<Result>): Promise<Result> {
  const prototype = Object.getPrototypeOf(new Database(':memory:').prepare('select 1'))
  const { all, get, run } = prototype
  const fail = () => { throw Object.assign(new Error('a fault of the test'), { code }) }
  Object.assign(prototype, { all: fail, get: fail, run: fail })
  try {
    return await work()
  } finally {
    Object.assign(prototype, { all, get, run })
  }
}

const slow = { hashParameters: { memoryCost: 65_536, timeCost: 3, parallelism: 1 } }

interface Trigger {
  env?: Record<string, string>
  options?: object
  /** It changes nothing on the server: the next trigger of the operation has the same one. */
  isHarmless?: boolean
  send: (fixture: Fixture, operation: Operation) => Promise<unknown>
}

const plain = (send: Trigger['send']): Trigger => ({ send })
const harmless = (send: Trigger['send']): Trigger => ({ send, isHarmless: true })

/** Making a token asks for no password by itself. */
const withPassword = ({ operationId }: Operation): InjectOptions => operationId === 'createToken' ? { payload: { description: 'x', password } } : {}

/** The body of any operation that asks for a password. */
const passwords = { password, current_password: password, new_password: 'incorrect donkey charger clip', email: 'carol@example.com', description: 'x' }

/** A user whose second factor is on. */
const withSecondFactor = (app: FastifyInstance) => enrolled(app, 'grace', Date.now())

/** How each code is triggered. A key may begin with the status, as in `400 USER_NOT_FOUND`. */
const triggers: Record<string, Trigger> = {
  AUTHORIZATION_MISSING: harmless(({ call }) => call({ headers: { authorization: undefined } })),
  TOKEN_INVALID: harmless(({ call }) => call({ headers: { authorization: 'x.y.z' } })),
  TOKEN_EXPIRED: harmless(async ({ call, advance }) => {
    advance(172_800)
    return await call().finally(() => advance(-172_800))
  }),
  TOKEN_CLAIMS_INVALID: harmless(({ call }) => {
    const iat = Math.floor(Date.now() / 1_000)
    return call({ headers: { authorization: signToken({ jti: anId, iat, exp: iat + 100 }) } })
  }),
  '400 USER_NOT_FOUND': harmless(async ({ app, call }) => {
    const { user, token } = await asUser(app, 'gone', { roles: ['admin'] })
    await servicesOf(app).users.delete(user.id)
    return await call({ headers: { authorization: token } })
  }),
  TOKEN_REVOKED: harmless(async ({ app, call }) => {
    const { user, token } = await asUser(app, 'revoked', { roles: ['admin'] })
    await servicesOf(app).tokens.revokeAll(user.id)
    return await call({ headers: { authorization: token } }).finally(() => servicesOf(app).users.delete(user.id))
  }),
  ROLE_REQUIRED: harmless(({ bob, call }) => call({ headers: { authorization: bob.token } })),
  BODY_MALFORMED: harmless(({ call }) => call({ headers: json, payload: '{' })),
  BODY_UNEXPECTED: harmless(({ call }) => call({ headers: json, payload: '{}' })),
  BODY_TOO_LARGE: harmless(({ call }) => call({ headers: json, payload: JSON.stringify({ padding: 'x'.repeat(20_000) }) })),
  MEDIA_TYPE_UNSUPPORTED: harmless(({ call }) => call({ headers: { 'content-type': 'text/plain' }, payload: 'bob' })),
  VALIDATION_FAILED: harmless(({ call }, operation) => call(wrongInput(operation))),
  INTERNAL_SERVER_ERROR: harmless(async ({ app, call }, { operationId }) => {
    if (operationId !== 'requestPasswordReset') return await failing('SQLITE_CORRUPT', call)
    // It asks nothing of the database before it answers.
    const { throttle } = servicesOf(app)
    const { requestReset } = throttle
    throttle.requestReset = async () => { throw new Error('a fault of the test') }
    return await call().finally(() => { throttle.requestReset = requestReset })
  }),
  SERVICE_UNAVAILABLE: plain(({ call }) => failing('SQLITE_BUSY', call)),
  OVERLOADED: {
    env: { HASH_CONCURRENCY: '1', HASH_QUEUE: '0' },
    options: slow,
    async send ({ app, call }, operation) {
      const busy = servicesOf(app).passwords.hash(password)
      const refused = await call(withPassword(operation))
      await busy
      return refused
    }
  },
  TOO_MANY_ATTEMPTS: {
    env: { LOGIN_FAILURES_PER_ADDRESS_MINUTE: '1', LOGINS_PER_ACCOUNT_MINUTE: '1', SIGNUPS_PER_ADDRESS_HOUR: '1', RESETS_PER_ADDRESS_HOUR: '1' },
    async send ({ app, call, advance }, operation) {
      for (let mails = 0; operation.operationId === 'mailEmailVerification' && mails < 10; mails++) {
        await call()
        advance(60)
      }
      await app.inject({ method: 'POST', url: '/api/v1/login', payload: { ...bob, password: 'wrong' } })
      await app.inject({ method: 'POST', url: '/api/v1/signup', payload: { ...bob, username: 'dave' } })
      await app.inject({ method: 'POST', url: '/api/v1/password-reset', payload: { email: 'bob@example.com' } })
      // Where the request needs a second factor, the network of the user is known: it has a limit of its own.
      if (/second-factor|recovery-codes/.test(operation.name)) await call({ payload: {} })
      if (operation.operationId === 'renewToken') await call()
      return await call(withPassword(operation))
    }
  },
  CODE_INVALID: harmless(({ call }, { operationId }) => call({ payload: operationId === 'signUp' ? { ...bob, username: 'carol', invite: '0'.repeat(24) } : { code: 'x', enrolment: 'x', new_password: 'incorrect donkey charger clip' } })),
  ACCOUNT_DISABLED: plain(async ({ app, call }) => {
    const { db, tables: { users } } = servicesOf(app).store
    await db.update(users).set({ disabledAt: new Date() })
    return await call()
  }),
  SIGNUP_CLOSED: { env: { SIGNUP: 'closed' }, send: ({ call }) => call() },
  INVITE_REQUIRED: { env: { SIGNUP: 'invite' }, send: ({ call }) => call() },
  USERNAME_TAKEN: harmless(({ call }) => call({ payload: bob })),
  EMAIL_TAKEN: plain(async ({ app, admin, call }, { operationId }) => {
    await asUser(app, 'dave', { email: 'carol@example.com' })
    if (operationId !== 'changeUsername') return await call()
    await app.latchkey.users.setEmail(admin.user.id, null)
    return await call({ payload: { username: 'carol@example.com', password } })
  }),
  EMAIL_MISSING: plain(async ({ app, admin, call }) => {
    await app.latchkey.users.setEmail(admin.user.id, null)
    return await call()
  }),
  EMAIL_VERIFIED: plain(async ({ app, admin, call }) => {
    await app.latchkey.users.setEmail(admin.user.id, 'admin@example.com', { verified: true })
    return await call()
  }),
  MAIL_NOT_CONFIGURED: { options: { sendMail: undefined }, send: ({ call }) => call() },
  // Without a way to send mails an email changes at once.
  'changeEmail 204': { options: { sendMail: undefined }, send: ({ call }) => call() },
  USERNAME_UNKNOWN: harmless(({ call }) => call({ payload: { ...bob, username: 'nobody' } })),
  PASSWORD_INCORRECT: harmless(({ call }) => call({ payload: { username: 'bob', email: 'bob@example.com', password: 'wrong', current_password: 'wrong', new_password: 'incorrect donkey charger clip', description: 'x' } })),
  CREDENTIALS_INCORRECT: { env: { LOGIN_ERRORS: 'uniform' }, send: ({ call }) => call({ payload: { ...bob, username: 'nobody' } }) },
  LAST_ADMIN: plain(async ({ app, call }, operation) => {
    if (!operation.operationId.startsWith('deleteMe')) return await call({ url: urlFor(operation, 'admin', 'admin') })
    await servicesOf(app).roles.revoke(Number((await servicesOf(app).users.find('another'))?.id), 'admin')
    return await call()
  }),
  TOO_MANY_TOKENS: plain(async ({ app, admin, call }) => {
    for (let i = 0; i < 99; i++) await servicesOf(app).accessTokens.issue({ userId: admin.user.id, kind: 'personal', description: 'x' })
    return await call()
  }),
  TOO_MANY_INVITES: plain(async ({ app, call }) => {
    const { codes, store } = servicesOf(app)
    await store.batch(Array.from({ length: 1_000 }, () => codes.insertQuery(codes.prepare({ kind: 'invite', data: { email: null, roles: [] }, lifetimeSeconds: 60 }).row)))
    return await call()
  }),
  INVITE_NOT_FOUND: harmless(({ call }) => call({ url: '/api/v1/invites/nothing' })),
  LOGIN_REQUIRED: harmless(async ({ app, admin, call }) => {
    const personal = await servicesOf(app).accessTokens.issue({ userId: admin.user.id, kind: 'personal', description: 'x' })
    return await call({ headers: { authorization: personal?.token } })
  }),
  LOGIN_TOO_OLD: {
    env: { SESSION_MAX_SECONDS: '900' },
    async send ({ call, advance }) {
      advance(901)
      return await call()
    }
  },
  TOKEN_NOT_FOUND: harmless(({ call }) => call({ url: `/api/v1/tokens/${anId}` })),
  ROLE_EXISTS: harmless(({ call }) => call({ payload: { name: 'admin', description: 'x' } })),
  ROLE_NOT_FOUND: harmless(({ call }, operation) => call(operation.requestBody === undefined ? { url: urlFor(operation, 'bob', 'nothing') } : { payload: { username: 'dave', roles: ['nothing'] } })),
  ROLE_PROTECTED: harmless(({ call }) => call({ url: '/api/v1/roles/admin' })),
  CODE_REQUIRED: plain(async ({ app, call }) => {
    const user = await withSecondFactor(app)
    return await call({ headers: { authorization: user.token }, payload: { ...passwords, username: user.user.username } })
  }),
  CODE_INCORRECT: plain(async ({ app, call }) => {
    const user = await withSecondFactor(app)
    const { enrolment } = (await user.inject({ method: 'POST', url: '/api/v1/me/second-factor', payload: { password, code: user.recoveryCodes[0] } })).json()
    return await call({ headers: { authorization: user.token }, payload: { ...passwords, username: user.user.username, enrolment, code: '000000' } })
  }),
  SECOND_FACTOR_OFF: plain(async ({ bob, call }) => await call({ headers: { authorization: bob.token } })),
  '404 USER_UNKNOWN': harmless(({ call }, operation) => call({ url: urlFor(operation, 'nobody') }))
}

async function createFixture (t: Test, operation: Operation, { env = {}, options = {} }: Partial<Trigger> = {}): Promise<Fixture> {
  let shift = 0
  const app = await build(t, env, { now: () => Date.now() + shift, sendMail: async () => {}, ...options })
  const admin = await asUser(app, 'admin', { roles: ['admin', 'editor'], email: 'admin@example.com', password })
  const created: Fixture = {
    app,
    admin,
    bob: await asUser(app, 'bob', { password }),
    call: async () => { throw new Error('called before it was made') },
    advance: (seconds) => { shift += seconds * 1_000 }
  }
  const [method = '', url = ''] = operation.name.split(' ')
  const usual = await requests[operation.operationId]?.(created)
  const authorization = operation.security.length > 0 ? { authorization: `Bearer ${admin.token}` } : {}
  created.call = (changes = {}) => {
    const headers = Object.entries({ ...authorization, ...changes.headers }).filter(([, value]) => value !== undefined)
    return app.inject({ method: method as 'GET', url, ...usual, ...changes, headers: Object.fromEntries(headers) })
  }
  return created
}

t.test('every request is of a documented operation', async (t) => {
  t.same(Object.keys(requests).filter((id) => !operations.some(({ operationId }) => operationId === id)), [], 'these are not documented any more: remove them from `requests`')
})

const used = new Set<string>()

for (const operation of operations) {
  t.test(operation.name, async (t) => {
    if (!(operation.operationId in requests)) {
      t.fail(`${operation.name} has no entry: add \`${operation.operationId}: () => ({${operation.requestBody === undefined ? '' : ' payload: { … } '}})\` to \`requests\` in test/codes.test.ts, a request that an admin sends and that succeeds`)
      return
    }
    let shared: Promise<Fixture> | undefined
    for (const status of Object.keys(operation.responses)) {
      const codes = status.startsWith('2') ? [''] : codesOf(operation, status)
      t.ok(codes.length > 0, `${status} says which codes it has`)
      for (const code of codes) {
        const name = [`${operation.operationId} ${status}`, `${status} ${code}`].find((candidate) => candidate in triggers) ?? code
        used.add(name)
        const trigger = name === '' ? plain(({ call }) => call()) : triggers[name]
        if (trigger === undefined) {
          t.fail(`${status} ${code} is documented for ${operation.name}, and nothing triggers it: add \`${code}: plain(({ call }) => call({ … }))\` to \`triggers\` in test/codes.test.ts, with the changes to the request, or to the server before it, that lead to ${code}`)
          continue
        }
        const fixture = trigger.isHarmless === true ? shared ??= createFixture(t, operation) : createFixture(t, operation, trigger)
        const response = Object(await trigger.send(await fixture, operation))
        const found = code === '' ? '' : JSON.parse(response.body).code
        const answered = `${response.statusCode} ${found}`
        const entry = code === '' ? `\`${operation.operationId}\` in \`requests\`` : `\`${name}\` in \`triggers\``
        t.equal(answered, `${status} ${code}`, answered === `${status} ${code}` ? answered : `${operation.name} is documented to answer ${status} ${code}, and ${entry} of test/codes.test.ts leads to ${answered}: change that entry so that it fits this operation too, or the document`)
      }
    }
  })
}

t.test('every trigger is of a documented code', async (t) => {
  t.same(Object.keys(triggers).filter((name) => !used.has(name)), [], 'these codes are not documented any more: remove them from `triggers`')
})

t.test('responses that openapi.yaml does not document are violations', async (t) => {
  const answer = (statusCode: number, body: string, type = 'application/json; charset=utf-8') => ({ statusCode, body, headers: { 'content-type': type } })
  const error = { statusCode: 401, code: 'PASSWORD_INCORRECT', error: 'Unauthorized', message: 'password incorrect' }
  t.equal(violation('POST', '/api/v1/login?x', answer(401, JSON.stringify(error))), undefined)
  t.match(violation('POST', '/api/v1/login', answer(401, JSON.stringify({ ...error, code: 'NEW' }))), 'POST /api/v1/login answered 401 NEW, but')
  t.match(violation('POST', '/api/v1/login', answer(418, JSON.stringify(error))), 'which is not documented')
  t.match(violation('POST', '/api/v1/login', answer(200, '{"token":5}')), 'must be string')
  t.match(violation('POST', '/api/v1/login', answer(200, 'token', 'text/plain')), 'as text/plain')
  t.match(violation('DELETE', '/api/v1/me', answer(204, 'gone')), 'with a body')
  t.match(violation('POST', '/api/v1/login', answer(401, JSON.stringify({ ...error, statusCode: 999 }))), 'says another status')
  t.match(violation('POST', '/api/v1/login', answer(401, JSON.stringify({ ...error, passwordHash: 'x' }))), 'unevaluated')
  t.match(violation('POST', '/api/v1/login', answer(429, JSON.stringify({ ...error, statusCode: 429, code: 'TOO_MANY_ATTEMPTS' }))), 'without Retry-After')
  t.equal(violation('DELETE', '/api/v1/me', answer(204, '')), undefined)
  t.equal(violation('GET', '/need_login', answer(200, 'if you see this', 'text/plain; charset=utf-8')), undefined)
  t.equal(violation('GET', '/nothing', answer(200, '')), undefined)
  t.equal(violation('DELETE', '/api/v1/login', answer(405, '{"code":"METHOD_NOT_ALLOWED"}')), undefined)
})

t.test('openapi:breaking · finds every change that breaks clients, and no other', async (t) => {
  // Comparing all of the document takes long: these paths have everything that it has, and examples change nothing.
  const { paths, ...rest } = parse(readFileSync(join(import.meta.dirname, '../openapi.yaml'), 'utf8'), (key, value) => key === 'examples' ? undefined : value)
  const some = ['/api/v1/signup', '/api/v1/login', '/api/v1/logout', '/api/v1/events']
  const before = stringify({ ...rest, paths: Object.fromEntries(some.map((path) => [path, paths[path]])) })
  const changed = (change: (document: Record<string, Record<string, Record<string, any>>>) => void) => { // eslint-disable-line @typescript-eslint/no-explicit-any -- whatever the document has
    const after = parse(before)
    change(after)
    return brokenOperations(before, stringify(after))
  }
  t.same(changed(() => {}), [])
  t.same(changed(({ paths }) => { delete paths?.['/api/v1/logout'] }), ['POST /api/v1/logout'])
  t.same(changed(({ paths }) => { delete paths?.['/api/v1/login']?.post.responses[404] }), ['POST /api/v1/login'])
  t.same(changed(({ components }) => {
    const { properties, required } = components?.schemas?.LoginRequest ?? {}
    properties.otp = { type: 'string' }
    required.push('otp')
  }), ['POST /api/v1/login'])
  t.same(changed(({ components }) => { delete components?.schemas?.User.properties.email }), ['POST /api/v1/signup'])
  t.same(changed(({ paths }) => { Object.assign(paths?.['/api/v1/login'] ?? {}, { get: { operationId: 'more', responses: {} } }) }), [], 'an addition breaks nothing')
  t.same(changed(({ paths }) => { Object.assign(paths?.['/api/v1/login']?.post, { description: 'other words' }) }), [])

  t.match(changed(({ components }) => { Object.assign(components?.schemas?.User.properties.id, { type: 'string' }) }), ['POST /api/v1/signup'])
  t.match(changed(({ components }) => { Object.assign(components?.schemas?.User.properties.id, { type: ['integer', 'null'] }) }), ['POST /api/v1/signup'])
  t.match(changed(({ components }) => { Object.assign(components?.schemas?.User.properties.created_at, { format: 'date' }) }), ['POST /api/v1/signup'])
  t.same(changed(({ paths }) => { paths?.['/api/v1/login']?.post.responses[404].content['application/json'].schema.allOf[1].properties.code.enum.splice(0, 1, 'OTHER') }), ['POST /api/v1/login'])
  t.same(changed(({ components }) => { Object.assign(components?.schemas?.LoginRequest, { additionalProperties: false }) }), ['POST /api/v1/login'])
  t.same(changed(({ components }) => { Object.assign(components?.securitySchemes?.bearerAuth, { type: 'apiKey', in: 'header', name: 'x' }) }), ['GET /api/v1/events', 'POST /api/v1/logout'])
  t.same(changed(({ components }) => { Object.assign(components?.schemas?.User.properties, { nickname: { type: 'string' } }) }), [], 'nor is one more member')
  t.same(changed(({ paths }) => { paths?.['/api/v1/events']?.get.parameters.push({ name: 'since', in: 'query', schema: { type: 'string' } }) }), [], 'nor one more parameter')
  t.same(changed(({ paths }) => { paths?.['/api/v1/login']?.post.responses[401].content['application/json'].schema.allOf[1].properties.code.enum.pop() }), [], 'nor a code that is never sent any more')
  t.match(changed(({ components }) => { components?.schemas?.User.properties.email.type.push('integer') }), ['POST /api/v1/signup'])

  const broken = ['POST /api/v1/login', 'POST /api/v1/signup']
  const changelog = (breaking: string) => `# Changelog\n\n## Unreleased\n\n### Added\n\n- \`POST /api/v1/signup\`\n\n${breaking}## [0.1.0]\n\n### Breaking\n\n- \`POST /api/v1/signup\` was other.\n`
  t.same(undeclared(broken, changelog('')), broken)
  t.same(undeclared(broken, changelog('### Breaking\n\n- `POST /api/v1/login` asks for more.\n\n')), ['POST /api/v1/signup'])
  t.same(undeclared([], changelog('')), [])
  t.same(undeclared(broken, '# Changelog\n'), broken)
})
