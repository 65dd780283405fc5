import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Attempt } from './repository.js'
import { hourMs, minuteMs } from './address-limits.js'
import type { AttemptLimits } from './limits.js'
import { slidingWindowLog } from './sliding-window.js'
import { bestEffort } from '../../lib/background.js'
import { keyedMutex } from '../../lib/keyed-mutex.js'
import { waitForOthers, worksUnderWay } from './in-flight.js'

/** What the limits are told. */
export interface AccountLimitsOptions {
  limits: AttemptLimits
  now: () => number
  /** How long an attempt waits for others, in milliseconds. */
  deadlineMs: number
  /** Throws what an attempt beyond a limit is refused with: failed logins (`account`), successful ones, or personal tokens. */
  reject: (request: FastifyRequest, limit: 'account' | 'account_logins' | 'account_tokens', retryAfterMs: number, userId?: number) => never
}

/** Holds each account to its limits. Its failures are in the database, its logins in memory, in a sliding window. */
export function accountLimits (app: FastifyInstance, { limits, now, deadlineMs, reject }: AccountLimitsOptions) {
  const {
    loginFailuresPerAccount,
    loginsPerAccountMinute,
    tokensPerAccountHour
  } = limits
  const logins = slidingWindowLog([{ attempts: loginsPerAccountMinute, windowMs: minuteMs }])
  const tokens = slidingWindowLog([{ attempts: tokensPerAccountHour, windowMs: hourMs }])
  const underWay = worksUnderWay()
  // When the database does not count one, it counts none of those behind it.
  const inTurn = keyedMutex(() => true)

  async function checkCounted (request: FastifyRequest, attempt: Attempt, userId: number | undefined, failures: number, check: () => Promise<boolean>): Promise<boolean> {
    let isCorrect: boolean
    try {
      isCorrect = await check()
    } catch (error) {
      await bestEffort(app, { work: () => app.loginFailures.takeBack(attempt, failures), failure: 'an attempt could not be taken back' })()
      throw error
    }
    // Whoever knows the password shall not be refused because it could not be noted.
    if (isCorrect) await bestEffort(app, { work: () => app.loginFailures.clear(attempt, Number(userId)), failure: 'the failures of an account could not be forgotten' })()
    else if (failures >= loginFailuresPerAccount) app.audit.record({ kind: 'backoff', userId }, request)
    return isCorrect
  }

  return {
    /** Whether failures are counted at all. */
    countsFailures: loginFailuresPerAccount > 0,

    /** Lets a password be checked: the attempt counts as a failure until it is known to be none. */
    async guess (request: FastifyRequest, attempt: Attempt, userId: number | undefined, check: () => Promise<boolean>): Promise<boolean> {
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
        await waitForOthers(ended ?? reject(request, 'account', waitMs, userId), since, deadlineMs)
      }
    },

    /** Rejects a user who has logged in too often. */
    checkLogins (request: FastifyRequest, userId: number): void {
      const retryAfterMs = logins.retryAfterMs(String(userId), now())
      if (retryAfterMs > 0) reject(request, 'account_logins', retryAfterMs, userId)
    },

    /** Counts a login. Calling what is returned takes it back. */
    addLogin: (userId: number): (() => void) => logins.add(String(userId), now()),

    /** Counts a personal token, or rejects a user who has made too many. Calling what is returned takes it back. */
    addToken (request: FastifyRequest, userId: number): () => void {
      const retryAfterMs = tokens.retryAfterMs(String(userId), now())
      if (retryAfterMs > 0) reject(request, 'account_tokens', retryAfterMs, userId)
      return tokens.add(String(userId), now())
    }
  }
}
