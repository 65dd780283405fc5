import type { FastifyPluginAsync, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { type AttemptLimits, defaultAttemptLimits } from '../lib/attempt-limits.js'
import { attemptLog } from '../lib/attempt-log.js'
import { beside } from '../lib/chores.js'
import { TooManyAttempts } from '../lib/errors.js'
import { networkOf } from '../lib/networks.js'
import { canonicalUsername } from '../lib/usernames.js'
import type { Attempt } from './login-failures.js'

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
   * one after the other.
   *
   * @returns what `check` answers
   * @throws {TooManyAttempts} this address or this account has to wait
   */
  guess: (request: FastifyRequest, account: GuessedAccount, check: () => Promise<boolean>) => Promise<boolean>
  /**
   * Lets an account be made. It is counted before, and taken back when none was made.
   *
   * @returns what `make` answers
   * @throws {TooManyAttempts} this address has to wait
   */
  signUp: <Made>(request: FastifyRequest, make: () => Promise<Made>) => Promise<Made>
  /** How often a limit was met so far. */
  counts: ThrottleCounts
}

declare module 'fastify' {
  interface FastifyInstance {
    throttle: Throttle
  }
}

const plugin: FastifyPluginAsync<AttemptLimits & { now: () => number }> = async (app, { now, ...limits }) => {
  const {
    loginFailuresPerAddressMinute = defaultAttemptLimits.loginFailuresPerAddressMinute,
    loginFailuresPerAddressHour = defaultAttemptLimits.loginFailuresPerAddressHour,
    loginFailuresPerAccount = defaultAttemptLimits.loginFailuresPerAccount,
    signupsPerAddressHour = defaultAttemptLimits.signupsPerAddressHour
  } = limits
  const logs = {
    login: attemptLog([{ attempts: loginFailuresPerAddressMinute, windowMs: minuteMs }, { attempts: loginFailuresPerAddressHour, windowMs: hourMs }]),
    signup: attemptLog([{ attempts: signupsPerAddressHour, windowMs: hourMs }])
  }
  const counts: ThrottleCounts = { address: 0, account: 0, signup: 0 }

  function refuse (request: FastifyRequest, limit: keyof ThrottleCounts, waitMs: number, userId?: number): never {
    counts[limit]++
    request.log.info({ userId, address: request.ip, limit }, 'too many attempts')
    throw new TooManyAttempts(Math.ceil(waitMs / 1_000))
  }

  function refuseAddress (what: keyof typeof logs, request: FastifyRequest, userId?: number): void {
    const waitMs = logs[what].waitMs(networkOf(request.ip), now())
    if (waitMs > 0) refuse(request, what === 'login' ? 'address' : 'signup', waitMs, userId)
  }

  /** Counts an attempt of an address; what is returned takes it back. */
  function countAddress (what: keyof typeof logs, request: FastifyRequest, userId?: number): () => void {
    refuseAddress(what, request, userId)
    return logs[what].add(networkOf(request.ip), now())
  }

  async function guessForAccount (request: FastifyRequest, attempt: Attempt, userId: number | undefined, check: () => Promise<boolean>): Promise<boolean> {
    const counted = await app.loginFailures.count(attempt, loginFailuresPerAccount)
    if (counted.isRefused) refuse(request, 'account', counted.waitMs, userId)
    let isCorrect: boolean
    try {
      isCorrect = await check()
    } catch (error) {
      await beside(app, { work: () => app.loginFailures.takeBack(attempt, counted.failures), failure: 'an attempt could not be taken back' })()
      throw error
    }
    if (isCorrect) await app.loginFailures.clear(attempt, Number(userId))
    else if (counted.failures >= loginFailuresPerAccount) app.events.note({ kind: 'lock', userId }, request)
    return isCorrect
  }

  const throttle: Throttle = {
    counts,

    refuseAddress: (what) => async (request) => refuseAddress(what, request),

    async guess (request, { username, userId, lastLoginAt }, check) {
      const usernameKey = canonicalUsername(username)
      const takeBack = countAddress('login', request, userId)
      try {
        // What no username can be is nobody's account.
        const isCorrect = usernameKey === undefined || loginFailuresPerAccount === 0
          ? await check()
          : await guessForAccount(request, { usernameKey, network: networkOf(request.ip), lastLoginAt }, userId, check)
        if (isCorrect) takeBack()
        return isCorrect
      } catch (error) {
        // What could not be checked is no failure; not to wait is one.
        if (!(error instanceof TooManyAttempts)) takeBack()
        throw error
      }
    },

    async signUp (request, make) {
      const takeBack = countAddress('signup', request)
      try {
        return await make()
      } catch (error) {
        takeBack()
        throw error
      }
    }
  }
  app.decorate('throttle', throttle)
}

export default fp(plugin, { name: 'latchkey-throttle', dependencies: ['latchkey-login-failures', 'latchkey-events'] })
