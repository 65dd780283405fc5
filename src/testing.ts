import { eq } from 'drizzle-orm'
import Fastify, { type FastifyInstance, type FastifyPluginCallback, type FastifyPluginOptions, type InjectOptions, type LightMyRequestResponse } from 'fastify'
import latchkey, { type LatchkeyOptions, type Mail, type User } from './index.js'
import { servicesOf } from './services.js'
import { roleNameProblem } from './plugins/roles/role-name.js'
import { createSecretKey } from './lib/secret-key.js'

/** A clock that stands until it is moved. */
export interface TestClock {
  /** The time, in milliseconds since 1970. */
  now: () => number
  /** Moves it forward. */
  advance: (seconds: number) => void
  /** Sets it. */
  set: (time: Date) => void
}

/** Creates a stopped clock; it shows the current time by default. */
export function createTestClock (time = new Date()): TestClock {
  let now = time.getTime()
  return {
    now: () => now,
    advance: (seconds) => { now += seconds * 1_000 },
    set: (time) => { now = time.getTime() }
  }
}

/** A hash that costs next to nothing: never for real passwords. */
export const cheapHash = { memoryCost: 8, timeCost: 1, parallelism: 1 }

/** Options for `app.register(latchkey, …)` in a test: a database in memory, a key of its own, a cheap hash. */
export function testOptions (options: Partial<LatchkeyOptions> = {}): LatchkeyOptions {
  return { databaseUrl: 'sqlite://', secretKey: createSecretKey(), hashParameters: cheapHash, ...options }
}

/** A logged-in user. */
export interface TestUser {
  user: User
  token: string
  /** Fastify's `inject`, with the token. */
  inject: (request: InjectOptions | string) => Promise<LightMyRequestResponse>
}

/** Any app with Latchkey, whatever its server, its logger and its type provider. */
export interface LatchkeyApp extends Pick<FastifyInstance, 'latchkey'> {
  ready: () => PromiseLike<unknown>
  inject: (request: InjectOptions) => Promise<LightMyRequestResponse>
}

/** The options of a test user. */
export interface TestUserOptions {
  /** Granted in addition to the user's other roles; created if they do not exist yet. */
  roles?: string[]
  /** Of a user who does not exist yet. */
  email?: string
  /** Whether the email is verified: mails are sent only then. Unverified by default. */
  emailVerified?: boolean
  /** Of a user who does not exist yet: `correct horse battery staple` by default. */
  password?: string
  /** How long ago the user logged in with the password, in seconds, for `app.requireRecentLogin`; the token is new all the same. 0 by default. */
  loggedInSecondsAgo?: number
}

/**
 * Logs a test user in, on any app with Latchkey. Creates the user if necessary, without HTTP and
 * without any limit.
 *
 * @throws {TypeError} the username or a role is invalid, or the email belongs to another user
 */
export async function asUser (app: LatchkeyApp, username: string, { roles = [], email, emailVerified = false, password = 'correct horse battery staple', loggedInSecondsAgo = 0 }: TestUserOptions = {}): Promise<TestUser> {
  await app.ready()
  const wrong = roles.find((name) => roleNameProblem(name) !== undefined)
  if (wrong !== undefined) throw new TypeError(`the role ${wrong} ${roleNameProblem(wrong)}`)
  // Past the rules for new passwords and past the audit log: this is no signup.
  const { accessTokens, passwords, roles: roleService, store, users } = servicesOf(app)
  const user = await users.find(username) ??
    await users.create({ username, email: email ?? null, passwordHash: await passwords.hash(password) }) ??
    // Another call created the same user concurrently.
    await users.find(username)
  if (user === undefined) throw new TypeError(`${username} cannot be made: the email is taken`)
  const { db, tables } = store
  if (emailVerified) {
    await db.update(tables.users).set({ emailVerifiedAt: new Date() }).where(eq(tables.users.id, user.id))
    user.emailVerified = user.email !== null
  }
  for (const name of roles) {
    await roleService.create({ name, description: `Has the role ${name}.` })
    await roleService.grant(user.id, name)
  }
  // Whether the second factor is on or not: this asks for no code.
  const credentials = await users.findCredentialsById(user.id)
  const issued = credentials && await accessTokens.issue({ userId: user.id, kind: 'login', ...credentials, description: 'a test' })
  if (issued === undefined) throw new TypeError(`${username} cannot log in: the account is disabled`)
  const { id, token, createdAt } = issued
  if (loggedInSecondsAgo > 0) await db.update(tables.tokens).set({ loggedInAt: new Date(createdAt.getTime() - loggedInSecondsAgo * 1_000) }).where(eq(tables.tokens.id, id))
  return {
    user,
    token,
    inject: async (request) => {
      const options = typeof request === 'string' ? { url: request } : request
      return await app.inject({ ...options, headers: { authorization: `Bearer ${token}`, ...options.headers } })
    }
  }
}

/** A Latchkey of a test: an app, its clock, its mails, and people who are logged in. */
export interface TestLatchkey {
  app: FastifyInstance
  clock: TestClock
  /** The mails that were sent, oldest first; none where the options have `sendMail` or `smtpUrl`. */
  outbox: Mail[]
  asUser: (username: string, options?: TestUserOptions) => Promise<TestUser>
}

/** A function that adds routes to an app, or a plugin with its options. */
export type SetUp<Options> = (app: FastifyInstance, options: Options, done: (error?: Error) => void) => unknown

/**
 * Makes an app with a Latchkey in memory. Close the app when the test ends.
 *
 * @param setUp adds routes of one's own. With options, or with a callback as its third parameter, it is a plugin: it is registered, in a scope of its own
 * @param options those of Latchkey
 * @param setUpOptions those of the plugin
 * @example
 * const { app, asUser, clock } = await testLatchkey(async (app) => {
 *   app.get('/editors', { preHandler: [app.requireRole('editor')] }, async () => 'hello')
 * })
 * const bob = await asUser('bob', { roles: ['editor'] })
 * (await bob.inject('/editors')).statusCode // 200
 * clock.advance(172_800)
 * (await bob.inject('/editors')).statusCode // 401: the token has expired
 */
export async function testLatchkey<Options extends FastifyPluginOptions> (setUp: SetUp<Options> = () => {}, options: Partial<LatchkeyOptions> = {}, setUpOptions?: Options): Promise<TestLatchkey> {
  const app = Fastify()
  const clock = createTestClock()
  const outbox: Mail[] = []
  const sendMail = options.smtpUrl === undefined ? async (mail: Mail) => { outbox.push(mail) } : undefined
  await app.register(latchkey, testOptions({ now: clock.now, sendMail, ...options }))
  if (setUpOptions !== undefined || setUp.length > 2) await app.register(setUp as FastifyPluginCallback<Options>, setUpOptions ?? {} as Options)
  else await (setUp as (app: FastifyInstance) => unknown)(app)
  await app.ready()
  return { app, clock, outbox, asUser: (username, options) => asUser(app, username, options) }
}
