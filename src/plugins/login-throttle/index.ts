import type { FastifyPluginAsync, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { EmailTaken, TooManyAttempts, UsernameTaken } from '../../errors.js'
import { bestEffort } from '../../lib/background.js'
import { clientNetwork, printableAddress } from '../../lib/client-network.js'
import { keyedMutex } from '../../lib/keyed-mutex.js'
import type { ResolvedOptions } from '../../options.js'
import { CodeInvalid } from '../codes/errors.js'
import { canonicalEmail } from '../users/email.js'
import { canonicalUsername } from '../users/username.js'
import { accountThrottle } from './account.js'
import { addressUnlocks } from './address-unlocks.js'
import { addressLimits, type AttemptLimits, createLimiters, type LimitedAttempt, type Limiters, networkLimits } from './limits.js'
import { isMalformed } from './malformed.js'
import { addressKey, networkIn, networkOf } from './network.js'
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

/** Login throttling: how often passwords can be guessed, and accounts created. */
const plugin: FastifyPluginAsync<ThrottleOptions> = async (app, { now, hashDeadlineMs: deadlineMs, ...limits }) => {
  const loginFailures = loginFailuresRepository(app.store, now)
  app.decorate('loginFailures', loginFailures)
  app.cleanup.schedule({ deleteBatch: loginFailures.deleteOldFailures, failure: 'old login failures could not be deleted' })
  app.cleanup.schedule({ deleteBatch: loginFailures.deleteOldNetworks, failure: 'old known networks could not be deleted' })

  const counts: ThrottleCounts = { address: 0, account: 0, signup: 0, reset: 0, address_logins: 0, account_logins: 0, account_renewals: 0, account_tokens: 0, account_mails: 0, recipient_mails: 0 }
  const limiters = createLimiters(limits, { now, deadlineMs })
  const unlocks = addressUnlocks(app, now)
  app.cleanup.schedule({ deleteBatch: unlocks.deleteOld, failure: 'old unlocks of addresses could not be deleted' })

  function reject (request: FastifyRequest, limit: keyof ThrottleCounts, retryAfterMs: number, userId?: number): never {
    counts[limit]++
    request.log.info({ userId, address: printableAddress(request.ip), limit }, 'too many attempts')
    throw new TooManyAttempts(Math.ceil(retryAfterMs / 1_000))
  }

  /** How long a key has to wait for its next attempt, in milliseconds, after what an operator has unlocked is forgotten. */
  async function retryAfterMs (limit: keyof Limiters, key: string): Promise<number> {
    const waitMs = limiters[limit].retryAfterMs(key)
    if (waitMs === 0 || !networkLimits.includes(limit)) return waitMs
    const unlockedAtMs = await unlocks.unlockedAtMs(networkIn(key))
    if (unlockedAtMs !== undefined) for (const name of networkLimits) limiters[name].forget(key, unlockedAtMs)
    return limiters[limit].retryAfterMs(key)
  }

  async function rejectBlocked (request: FastifyRequest, limit: keyof Limiters, key: string, userId?: number): Promise<void> {
    const waitMs = await retryAfterMs(limit, key)
    if (waitMs > 0) reject(request, limit === 'signup_rejections' ? 'signup' : limit, waitMs, userId)
  }

  /** What the attempts of a request count with, by what it asks for. */
  const keyOf = {
    // Validated: a preHandler hook of the login asks.
    async login (request: FastifyRequest) {
      const { username } = request.body as { username: string }
      const credentials = await app.users.findCredentials(username, networkOf(request))
      return addressKey(networkOf(request), credentials?.id, credentials?.lastLoginAt ?? null)
    },
    async password (request: FastifyRequest) {
      const { id } = request.currentUser
      return addressKey(networkOf(request), id, await loginFailures.lastLoginAt(id, networkOf(request)))
    },
    signup: async (request: FastifyRequest) => networkOf(request),
    reset: async (request: FastifyRequest) => networkOf(request)
  }

  /** Runs an attempt within a limit. Where those in flight could use the limit up, it waits for them. */
  function attempt<Result> (request: FastifyRequest, { limit, key, userId, wait = {} }: LimitedAttempt, work: () => Promise<Result>): Promise<Result> {
    return limiters[limit].withPermit(key, wait, async () => {
      await rejectBlocked(request, limit, key, userId)
      return await work()
    })
  }

  /** Runs an attempt within a limit, and counts it unless it comes to nothing. */
  const countedAttempt = <Result>(request: FastifyRequest, limited: LimitedAttempt, work: () => Promise<Result>) => attempt(request, limited, async () => {
    const result = await work()
    if (result !== undefined && result !== false) limiters[limited.limit].count(limited.key)
    return result
  })

  const withSignupLock = keyedMutex({ deadlineMs })
  const checkAccount = accountThrottle(app, { failuresFree: limits.loginFailuresPerAccount, now, deadlineMs })

  const throttle: Throttle = {
    counts,

    rejectAddress: (action) => async (request) => {
      let key: string | undefined
      for (const limit of addressLimits[action]) {
        if (await retryAfterMs(limit, networkOf(request)) === 0) continue
        key ??= await keyOf[action](request)
        await rejectBlocked(request, limit, key)
      }
    },

    countMalformed: (action) => async (request, reply, error) => {
      if (!isMalformed(request, error)) return
      if (action === 'signup') limiters.signup_rejections.count(networkOf(request))
      else for (const key of new Set([networkOf(request), await keyOf.password(request)])) limiters.address.count(key)
    },

    async rejectMalformedLogin (error, request) {
      if (isMalformed(request, error)) {
        const network = networkOf(request)
        for (const limit of addressLimits.login) await rejectBlocked(request, limit, network)
        limiters.address.count(network)
      }
      throw error
    },

    rejectAccount: (request, userId) => rejectBlocked(request, 'account_logins', String(userId), userId),

    checkPassword (request, check, verify) {
      const { userId, lastLoginAt, wait } = check
      const network = networkOf(request)
      const key = addressKey(network, userId, lastLoginAt)
      return attempt(request, { limit: 'address', key, userId, wait }, () => checkAccount(request, check, {
        async verify () {
          const isCorrect = await verify()
          if (!isCorrect) for (const counted of new Set([network, key])) limiters.address.count(counted)
          return isCorrect
        },
        reject (retryAfterMs) {
          // An attempt during the wait is a failure of the address as well, but no guess at the account.
          limiters.address.count(network)
          reject(request, 'account', retryAfterMs, userId)
        }
      }))
    },

    logIn (request, { userId, lastLoginAt }, issue) {
      const [network, account] = [networkOf(request), String(userId)]
      const key = addressKey(network, userId, lastLoginAt)
      return attempt(request, { limit: 'address_logins', key, userId }, () => attempt(request, { limit: 'account_logins', key: account, userId }, async () => {
        const issued = await issue()
        for (const counted of new Set([network, key])) limiters.address_logins.count(counted)
        limiters.account_logins.count(account)
        return issued
      }))
    },

    countRenewal (request, userId) {
      const waitMs = limiters.account_renewals.retryAfterMs(String(userId))
      if (waitMs > 0) reject(request, 'account_renewals', waitMs, userId)
      limiters.account_renewals.count(String(userId))
    },

    createToken: (request, userId, issue) => countedAttempt(request, { limit: 'account_tokens', key: String(userId), userId }, issue),

    mailCode: (request, { userId, email }, mail) => countedAttempt(request, { limit: 'account_mails', key: String(userId), userId }, () =>
      countedAttempt(request, { limit: 'recipient_mails', key: canonicalEmail(email), userId }, mail)),

    claimName: (request, wait, claim) => attempt(request, { limit: 'signup_rejections', key: networkOf(request), wait }, async () => {
      try {
        return await claim()
      } catch (error) {
        if ([UsernameTaken, EmailTaken, CodeInvalid].some((Rejected) => error instanceof Rejected)) limiters.signup_rejections.count(networkOf(request))
        throw error
      }
    }),

    signUp (request, { username, wait }, create) {
      const network = networkOf(request)
      return attempt(request, { limit: 'signup', key: network, wait }, () => throttle.claimName(request, wait, async () => {
        const created = await withSignupLock(String(canonicalUsername(username)), wait, create)
        limiters.signup.count(network)
        return created
      }))
    },

    requestReset: (request) => attempt(request, { limit: 'reset', key: networkOf(request) }, async () => limiters.reset.count(networkOf(request))),

    async unlockAddress (address) {
      const network = clientNetwork(address)
      await unlocks.add(network)
      return network
    },

    async registerNewUser (request, user) {
      await bestEffort(app, { work: () => loginFailures.registerNewUser(user, networkOf(request)), failure: 'the network of a new user could not be recorded' })()
    }
  }
  app.decorate('throttle', throttle)
}

export default fp(plugin, { name: 'latchkey-login-throttle', dependencies: ['latchkey-database', 'latchkey-users', 'latchkey-cleanup', 'latchkey-audit'] })
