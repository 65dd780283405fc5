import type { FastifyPluginAsync, FastifyRequest, onSendHookHandler } from 'fastify'
import fp from 'fastify-plugin'
import { addressLimits } from '../lib/address-limits.js'
import { type AttemptLimits, defaultAttemptLimits } from '../lib/attempt-limits.js'
import { beside } from '../lib/chores.js'
import { BodyMalformed, BodyTooLarge, MediaTypeUnsupported, TooManyAttempts, ValidationFailed } from '../lib/errors.js'
import { failureOf } from '../lib/failures.js'
import { defaultHashDeadlineMs } from '../lib/hash-gate.js'
import { networkOf, printableAddress } from '../lib/networks.js'
import { takeTurns } from '../lib/take-turns.js'
import { waitForOthers, worksUnderWay } from '../lib/under-way.js'
import { canonicalUsername } from '../lib/usernames.js'
import type { Attempt } from './login-failures.js'
import type { User } from './users.js'

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
  /** Makes a hook that refuses an address which has to wait anyway: as onRequest before its body is read, as preValidation before it is looked at. */
  refuseAddress: (what: 'login' | 'signup') => (request: FastifyRequest) => Promise<void>
  /** Makes a hook (onSend) that counts a request whose body cannot be read or is not valid like an attempt that failed: it costs time as well. */
  countMalformed: (what: 'login' | 'signup') => onSendHookHandler
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

/** Whether a request was refused for what its body is. */
function isMalformed (request: FastifyRequest): boolean {
  const failure = failureOf(request)
  return [BodyMalformed, BodyTooLarge, MediaTypeUnsupported, ValidationFailed].some((Malformed) => failure instanceof Malformed)
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
  const { loginFailuresPerAccount = defaultAttemptLimits.loginFailuresPerAccount } = limits
  const underWay = worksUnderWay()
  // When the database does not count one, it counts none of those behind it.
  const inTurn = takeTurns(() => true)
  const counts: ThrottleCounts = { address: 0, account: 0, signup: 0 }
  const addresses = addressLimits({
    limits,
    now,
    deadlineMs: hashDeadlineMs,
    reject: (request, limit, retryAfterMs, userId) => refuse(request, limit === 'login' ? 'address' : 'signup', retryAfterMs, userId)
  })

  function refuse (request: FastifyRequest, limit: keyof ThrottleCounts, waitMs: number, userId?: number): never {
    counts[limit]++
    request.log.info({ userId, address: printableAddress(request.ip), limit }, 'too many attempts')
    throw new TooManyAttempts(Math.ceil(waitMs / 1_000))
  }

  async function guessForAccount (request: FastifyRequest, attempt: Attempt, userId: number | undefined, check: () => Promise<boolean>): Promise<boolean> {
    const since = performance.now()
    const key = Object.values(app.loginFailures.scopeOf(attempt)).join(' ')
    for (;;) {
      // One after the other: whoever is refused then sees all that are under way.
      const { checking, ended, waitMs } = await inTurn(key, async () => {
        // Asked before: those in flight that stood in the way may be taken back before the database answers.
        const ended = underWay.ended(key)
        const counted = await app.loginFailures.count(attempt, loginFailuresPerAccount)
        if (counted.isRefused) return { ended, waitMs: counted.waitMs }
        return { checking: underWay.run(key, () => checkCounted(request, attempt, userId, counted.failures, check)), waitMs: 0 }
      })
      if (checking !== undefined) return await checking
      await waitForOthers(ended ?? refuse(request, 'account', waitMs, userId), since, hashDeadlineMs)
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
      addresses.check(what, request)
      if (what === 'signup') addresses.check('refusal', request)
    },

    countMalformed: (what) => (request, reply, payload, done) => {
      if (isMalformed(request)) addresses.add(what === 'signup' ? 'refusal' : what, request)
      done()
    },

    guess (request, { username, userId, lastLoginAt }, check) {
      const usernameKey = canonicalUsername(username)
      // What no username can be is nobody's account.
      const work = usernameKey === undefined || loginFailuresPerAccount === 0
        ? check
        : () => guessForAccount(request, { usernameKey, network: networkOf(request.ip), lastLoginAt }, userId, check)
      // Not to wait is a failure as well.
      return addresses.attempt(request, { limit: 'login', work, isNone: (isCorrect) => isCorrect, isOne: (error) => error instanceof TooManyAttempts, userId })
    },

    signUp: (request, make) => addresses.attempt(request, {
      limit: 'signup',
      work: () => addresses.attempt(request, { limit: 'refusal', work: make, isNone: () => true, isOne: isTaken }),
      isNone: () => false
    }),

    async welcome (request, user) {
      if (loginFailuresPerAccount === 0) return
      await beside(app, { work: () => app.loginFailures.welcome(user, networkOf(request.ip)), failure: 'where a new user is could not be remembered' })()
    }
  }
  app.decorate('throttle', throttle)
}

export default fp(plugin, { name: 'latchkey-throttle', dependencies: ['latchkey-login-failures', 'latchkey-events'] })
