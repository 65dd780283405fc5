import type { FastifyPluginAsync, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { BodyMalformed, BodyTooLarge, EmailTaken, TooManyAttempts, UsernameTaken, ValidationFailed } from '../../errors.js'
import { bestEffort } from '../../lib/background.js'
import { printableAddress } from '../../lib/client-network.js'
import type { Wait } from '../../lib/waiter.js'
import { keyedMutex } from '../../lib/keyed-mutex.js'
import type { ResolvedOptions } from '../../options.js'
import { toExpectedError } from '../errors/expected-error.js'
import { canonicalUsername } from '../users/username.js'
import { accountThrottle } from './account.js'
import { type AttemptLimits, createLimiters } from './limits.js'
import { networkOf } from './network.js'
import { type LoginFailures, loginFailuresRepository } from './repository.js'
import type { Throttle, ThrottleCounts } from './throttle.js'

declare module 'fastify' {
  interface FastifyInstance {
    throttle: Throttle
    loginFailures: LoginFailures
  }
}

/** The plugin's options. */
export type ThrottleOptions = AttemptLimits & Pick<ResolvedOptions, 'hashDeadlineMs' | 'now'>

const addressLimits = { login: ['address', 'address_logins'], password: ['address'], signup: ['signup', 'signup_rejections'] } as const

/**
 * Whether a request was rejected for its body. Only JSON counts: a page of another origin can
 * send anything else from its visitors' addresses without a preflight
 * (https://fetch.spec.whatwg.org/#cors-safelisted-request-header), to lock them out.
 */
function isMalformed (request: FastifyRequest, thrown: unknown): boolean {
  if (!/^application\/json\b/i.test(request.headers['content-type'] ?? '')) return false
  const error = toExpectedError(thrown, request)
  return [BodyMalformed, BodyTooLarge, ValidationFailed].some((Malformed) => error instanceof Malformed)
}

/** Login throttling: how often passwords can be guessed, and accounts created. */
const plugin: FastifyPluginAsync<ThrottleOptions> = async (app, { now, hashDeadlineMs: deadlineMs, ...limits }) => {
  const loginFailures = loginFailuresRepository(app.store, now)
  app.decorate('loginFailures', loginFailures)
  app.cleanup.schedule({ deleteBatch: loginFailures.deleteOldFailures, failure: 'old login failures could not be deleted' })
  app.cleanup.schedule({ deleteBatch: loginFailures.deleteOldNetworks, failure: 'old known networks could not be deleted' })

  const counts: ThrottleCounts = { address: 0, account: 0, signup: 0, address_logins: 0, account_logins: 0, account_tokens: 0 }
  const limiters = createLimiters(limits, { now, deadlineMs })
  type LimitName = keyof typeof limiters

  function reject (request: FastifyRequest, limit: keyof ThrottleCounts, retryAfterMs: number, userId?: number): never {
    counts[limit]++
    request.log.info({ userId, address: printableAddress(request.ip), limit }, 'too many attempts')
    throw new TooManyAttempts(Math.ceil(retryAfterMs / 1_000))
  }

  function rejectBlocked (request: FastifyRequest, limit: LimitName, key: string, userId?: number): void {
    const retryAfterMs = limiters[limit].retryAfterMs(key)
    if (retryAfterMs > 0) reject(request, limit === 'signup_rejections' ? 'signup' : limit, retryAfterMs, userId)
  }

  /** Runs an attempt within a limit. Where those in flight could use the limit up, it waits for them. */
  function attempt<Result> (request: FastifyRequest, { limit, key, userId, wait = {} }: { limit: LimitName, key: string, userId?: number, wait?: Wait }, work: () => Promise<Result>): Promise<Result> {
    return limiters[limit].withPermit(key, wait, () => {
      rejectBlocked(request, limit, key, userId)
      return work()
    })
  }

  const withSignupLock = keyedMutex({ deadlineMs })
  const checkAccount = accountThrottle(app, { failuresFree: limits.loginFailuresPerAccount, now, deadlineMs })

  const throttle: Throttle = {
    counts,

    rejectAddress: (action) => async (request) => {
      for (const limit of addressLimits[action]) rejectBlocked(request, limit, networkOf(request))
    },

    countMalformed: (action) => async (request, reply, error) => {
      if (isMalformed(request, error)) limiters[action === 'signup' ? 'signup_rejections' : 'address'].count(networkOf(request))
    },

    rejectAccount: (request, userId) => rejectBlocked(request, 'account_logins', String(userId), userId),

    checkPassword (request, check, verify) {
      const { userId, wait } = check
      const network = networkOf(request)
      return attempt(request, { limit: 'address', key: network, userId, wait }, () => checkAccount(request, check, {
        async verify () {
          const isCorrect = await verify()
          if (!isCorrect) limiters.address.count(network)
          return isCorrect
        },
        reject (retryAfterMs) {
          // An attempt during the wait is a failure of the address as well.
          limiters.address.count(network)
          reject(request, 'account', retryAfterMs, userId)
        }
      }))
    },

    logIn (request, userId, issue) {
      const [network, account] = [networkOf(request), String(userId)]
      return attempt(request, { limit: 'address_logins', key: network, userId }, () => attempt(request, { limit: 'account_logins', key: account, userId }, async () => {
        const issued = await issue()
        limiters.address_logins.count(network)
        limiters.account_logins.count(account)
        return issued
      }))
    },

    createToken: (request, userId, issue) => attempt(request, { limit: 'account_tokens', key: String(userId), userId }, async () => {
      const issued = await issue()
      if (issued !== undefined) limiters.account_tokens.count(String(userId))
      return issued
    }),

    signUp (request, { username, wait }, create) {
      const network = networkOf(request)
      return attempt(request, { limit: 'signup', key: network, wait }, () => attempt(request, { limit: 'signup_rejections', key: network, wait }, async () => {
        try {
          const created = await withSignupLock(String(canonicalUsername(username)), wait, create)
          limiters.signup.count(network)
          return created
        } catch (error) {
          if (error instanceof UsernameTaken || error instanceof EmailTaken) limiters.signup_rejections.count(network)
          throw error
        }
      }))
    },

    async registerNewUser (request, user) {
      if (limits.loginFailuresPerAccount === 0) return
      await bestEffort(app, { work: () => loginFailures.registerNewUser(user, networkOf(request)), failure: 'the network of a new user could not be recorded' })()
    }
  }
  app.decorate('throttle', throttle)
}

export default fp(plugin, { name: 'latchkey-login-throttle', dependencies: ['latchkey-database', 'latchkey-cleanup', 'latchkey-audit'] })
