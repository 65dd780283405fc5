import type { FastifyPluginAsync, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { type AttemptLimits, defaultAttemptLimits } from '../lib/attempt-limits.js'
import { attemptLog } from '../lib/attempt-log.js'
import { beside } from '../lib/chores.js'
import { Overloaded, TooManyAttempts } from '../lib/errors.js'
import { defaultHashDeadlineMs } from '../lib/hash-gate.js'
import { networkOf, printableAddress } from '../lib/networks.js'
import { takeTurns } from '../lib/take-turns.js'
import { worksUnderWay } from '../lib/under-way.js'
import { canonicalUsername } from '../lib/usernames.js'
import type { Attempt } from './login-failures.js'
import type { User } from './users.js'

const minuteMs = 60_000
const hourMs = 3_600_000

/** Whose password is being guessed, or is the one who knows it. */
export interface GuessedAccount {
  username: string
  /** Undefined where nobody has that username. */
  userId: number | undefined
  /** When the user last logged in from the network of this request; null when they never did. */
  lastLoginAt: Date | null
}

/** What was refused so far, by the limit that was reached. */
export interface ThrottleCounts { address: number, account: number, signup: number }

/** Login throttling: how often a password may be guessed, how many accounts may be made. */
export interface Throttle {
  /** Makes a hook (onRequest) that refuses an address which has to wait anyway, before its body is read. */
  refuseAddress: (what: 'login' | 'signup') => (request: FastifyRequest) => Promise<void>
  /**
   * Lets a password be checked. The attempt is counted as a failure before, and taken back
   * after a success or when it could not be made, so that many at once get no further than
   * one after the other. Where only attempts that are under way stand in the way, it waits
   * for them: they may be none.
   *
   * @returns what `check` answers
   * @throws {TooManyAttempts} this address or this account has to wait
   * @throws {Overloaded} it waited too long for others
   */
  guess: (request: FastifyRequest, account: GuessedAccount, check: () => Promise<boolean>) => Promise<boolean>
  /**
   * Lets an account be made. It is counted before, and taken back when none was made.
   *
   * @returns what `make` answers
   * @throws {TooManyAttempts} this address has to wait
   */
  signUp: <Made>(request: FastifyRequest, make: () => Promise<Made>) => Promise<Made>
  /** Lets a new account begin without the failures that its name had before, and remembers where its user is. */
  welcome: (request: FastifyRequest, user: User) => Promise<void>
  /** How often a limit was met so far. */
  counts: ThrottleCounts
}

declare module 'fastify' {
  interface FastifyInstance {
    throttle: Throttle
  }
}

/** Whether something could not be made because it is taken. */
const isTaken = (error: unknown) => Object(error).statusCode === 409

/** What the plugin is told. */
export interface ThrottleOptions extends AttemptLimits {
  /** How long an attempt waits for others, in milliseconds: as long as for its hash. */
  hashDeadlineMs?: number
  now: () => number
}

const plugin: FastifyPluginAsync<ThrottleOptions> = async (app, { now, hashDeadlineMs = defaultHashDeadlineMs, ...limits }) => {
  const {
    loginFailuresPerAddressMinute = defaultAttemptLimits.loginFailuresPerAddressMinute,
    loginFailuresPerAddressHour = defaultAttemptLimits.loginFailuresPerAddressHour,
    loginFailuresPerAccount = defaultAttemptLimits.loginFailuresPerAccount,
    signupsPerAddressHour = defaultAttemptLimits.signupsPerAddressHour
  } = limits
  const logs = {
    login: attemptLog([{ attempts: loginFailuresPerAddressMinute, windowMs: minuteMs }, { attempts: loginFailuresPerAddressHour, windowMs: hourMs }]),
    signup: attemptLog([{ attempts: signupsPerAddressHour, windowMs: hourMs }]),
    // What is taken tells as much as a login that fails.
    refusal: attemptLog([{ attempts: loginFailuresPerAddressHour, windowMs: hourMs }])
  }
  const underWay = worksUnderWay()
  // When the database does not count one, it counts none of those behind it.
  const inTurn = takeTurns(() => true)
  const addressKey = (what: keyof typeof logs, network: string) => `${what} from ${network}`
  const counts: ThrottleCounts = { address: 0, account: 0, signup: 0 }

  function refuse (request: FastifyRequest, limit: keyof ThrottleCounts, waitMs: number, userId?: number): never {
    counts[limit]++
    request.log.info({ userId, address: printableAddress(request.ip), limit }, 'too many attempts')
    throw new TooManyAttempts(Math.ceil(waitMs / 1_000))
  }

  /** Refuses an address that has to wait whatever becomes of its attempts that are under way; answers when they have ended, where it depends on them. */
  function refuseAddress (what: keyof typeof logs, request: FastifyRequest, userId?: number): Promise<unknown> | undefined {
    const network = networkOf(request.ip)
    const waitMs = logs[what].waitMs(network, now())
    if (waitMs <= 0) return undefined
    return underWay.ended(addressKey(what, network)) ?? refuse(request, what === 'login' ? 'address' : 'signup', waitMs, userId)
  }

  /** Waits for others, but not for ever. */
  async function waitFor (ended: Promise<unknown>, since: number): Promise<void> {
    if (performance.now() - since > hashDeadlineMs) throw new Overloaded()
    await ended
  }

  /** Does what counts as an attempt of its address, unless its result says that it was none; when it throws, only if the error says that it was one. */
  async function attemptFrom<Result> (what: keyof typeof logs, request: FastifyRequest, work: () => Promise<Result>, isNone: (result: Result) => boolean, isOne: (error: unknown) => boolean = () => false, userId?: number): Promise<Result> {
    const since = performance.now()
    for (let ended = refuseAddress(what, request, userId); ended !== undefined; ended = refuseAddress(what, request, userId)) await waitFor(ended, since)
    const network = networkOf(request.ip)
    return await underWay.run(addressKey(what, network), async () => {
      const takeBack = logs[what].add(network, now())
      try {
        const result = await work()
        if (isNone(result)) takeBack()
        return result
      } catch (error) {
        // What could not be made is none.
        if (!isOne(error)) takeBack()
        throw error
      }
    })
  }

  async function guessForAccount (request: FastifyRequest, attempt: Attempt, userId: number | undefined, check: () => Promise<boolean>): Promise<boolean> {
    const since = performance.now()
    const key = Object.values(app.loginFailures.scopeOf(attempt)).join(' ')
    for (;;) {
      // One after the other: whoever is refused then sees all that are under way.
      const { checking, ended, waitMs } = await inTurn(key, async () => {
        const counted = await app.loginFailures.count(attempt, loginFailuresPerAccount)
        if (counted.isRefused) return { ended: underWay.ended(key), waitMs: counted.waitMs }
        return { checking: underWay.run(key, () => checkCounted(request, attempt, userId, counted.failures, check)), waitMs: 0 }
      })
      if (checking !== undefined) return await checking
      await waitFor(ended ?? refuse(request, 'account', waitMs, userId), since)
    }
  }

  async function checkCounted (request: FastifyRequest, attempt: Attempt, userId: number | undefined, failures: number, check: () => Promise<boolean>): Promise<boolean> {
    let isCorrect: boolean
    try {
      isCorrect = await check()
    } catch (error) {
      await beside(app, { work: () => app.loginFailures.takeBack(attempt, failures), failure: 'an attempt could not be taken back' })()
      throw error
    }
    // Whoever knows the password shall not be refused because it could not be noted.
    if (isCorrect) await beside(app, { work: () => app.loginFailures.clear(attempt, Number(userId)), failure: 'the failures of an account could not be forgotten' })()
    else if (failures >= loginFailuresPerAccount) app.events.note({ kind: 'lock', userId }, request)
    return isCorrect
  }

  const throttle: Throttle = {
    counts,

    refuseAddress: (what) => async (request) => {
      refuseAddress(what, request)
      if (what === 'signup') refuseAddress('refusal', request)
    },

    guess (request, { username, userId, lastLoginAt }, check) {
      const usernameKey = canonicalUsername(username)
      // What no username can be is nobody's account.
      const guess = usernameKey === undefined || loginFailuresPerAccount === 0
        ? check
        : () => guessForAccount(request, { usernameKey, network: networkOf(request.ip), lastLoginAt }, userId, check)
      // Not to wait is a failure as well.
      return attemptFrom('login', request, guess, (isCorrect) => isCorrect, (error) => error instanceof TooManyAttempts, userId)
    },

    signUp: (request, make) => attemptFrom('signup', request, () => attemptFrom('refusal', request, make, () => true, isTaken), () => false),

    async welcome (request, user) {
      if (loginFailuresPerAccount === 0) return
      await beside(app, { work: () => app.loginFailures.welcome(user, networkOf(request.ip)), failure: 'where a new user is could not be remembered' })()
    }
  }
  app.decorate('throttle', throttle)
}

export default fp(plugin, { name: 'latchkey-throttle', dependencies: ['latchkey-login-failures', 'latchkey-events'] })
