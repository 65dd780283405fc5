import type { FastifyPluginAsync, FastifyRequest, onSendHookHandler } from 'fastify'
import fp from 'fastify-plugin'
import { accountLimits } from './account-limits.js'
import { addressLimits } from './address-limits.js'
import type { AttemptLimits } from './limits.js'
import { bestEffort, scheduleCleanup } from '../../lib/background.js'
import { type LoginFailures, loginFailuresRepository } from './repository.js'
import { TooManyAttempts } from '../../errors.js'
import { isMalformed } from '../errors/failures.js'
import type { ResolvedOptions } from '../../options.js'
import { clientNetwork, printableAddress } from '../../lib/client-network.js'
import { canonicalUsername } from '../users/username.js'
import type { User } from '../users/user.js'

/** Whose password is being guessed, or is the one who knows it. */
export interface GuessedAccount {
  username: string
  /** Undefined where nobody has that username. */
  userId: number | undefined
  /** When the user last logged in from the network of this request; null when they never did. */
  lastLoginAt: Date | null
}

/** What was refused so far, by the limit that was reached. */
export interface ThrottleCounts {
  /** Failed logins of an address. */
  address: number
  /** Failed logins for an account. */
  account: number
  /** Accounts made from an address. */
  signup: number
  /** Successful logins of an address. */
  address_logins: number
  /** Successful logins of an account. */
  account_logins: number
  /** Personal access tokens of an account. */
  account_tokens: number
}

/** Login throttling: how often a password may be guessed, how many accounts may be made. */
export interface Throttle {
  /** Makes a hook that refuses an address which has to wait anyway: as onRequest before its body is read, as preValidation before it is looked at. */
  refuseAddress: (what: 'login' | 'guess' | 'signup') => (request: FastifyRequest) => Promise<void>
  /** Makes a hook (onSend) that counts a request whose body cannot be read or is not valid like an attempt that failed: it costs time as well. */
  countMalformed: (what: 'login' | 'signup') => onSendHookHandler
  /**
   * Refuses the login of a user who has logged in too often in the last minute, before the
   * password is checked.
   *
   * @throws {TooManyAttempts} this account has to wait
   */
  refuseAccount: (request: FastifyRequest, userId: number) => void
  /**
   * Lets somebody who knew the password be logged in. It is counted before, and taken back
   * when that could not be done.
   *
   * @returns what `issue` answers
   * @throws {TooManyAttempts} others were faster: this address or this account has to wait
   */
  logIn: <Issued>(request: FastifyRequest, userId: number, issue: () => Promise<Issued>) => Promise<Issued>
  /**
   * Lets a personal access token be made. It is counted before, and taken back when none was made.
   *
   * @returns what `issue` answers
   * @throws {TooManyAttempts} this account has to wait
   */
  makeToken: <Issued>(request: FastifyRequest, userId: number, issue: () => Promise<Issued>) => Promise<Issued>
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
    loginFailures: LoginFailures
  }
}

/** The limit as operators know it. */
const limitNames = { login: 'address', success: 'address_logins', signup: 'signup', refusal: 'signup' } as const

/** Whether something could not be made because it is taken. */
const isTaken = (error: unknown) => Object(error).statusCode === 409

/** The plugin's options. */
export type ThrottleOptions = AttemptLimits & Pick<ResolvedOptions, 'hashDeadlineMs' | 'now'>

const plugin: FastifyPluginAsync<ThrottleOptions> = async (app, { now, hashDeadlineMs, ...limits }) => {
  const loginFailures = loginFailuresRepository(app.store, now)
  app.decorate('loginFailures', loginFailures)
  scheduleCleanup(app, { deleteBatch: loginFailures.deleteOldFailures, failure: 'old login failures could not be deleted' })
  scheduleCleanup(app, { deleteBatch: loginFailures.deleteOldNetworks, failure: 'old known networks could not be deleted' })

  const counts: ThrottleCounts = { address: 0, account: 0, signup: 0, address_logins: 0, account_logins: 0, account_tokens: 0 }
  const addresses = addressLimits({
    limits,
    now,
    deadlineMs: hashDeadlineMs,
    reject: (request, limit, retryAfterMs, userId) => refuse(request, limitNames[limit], retryAfterMs, userId)
  })

  function refuse (request: FastifyRequest, limit: keyof ThrottleCounts, waitMs: number, userId?: number): never {
    counts[limit]++
    request.log.info({ userId, address: printableAddress(request.ip), limit }, 'too many attempts')
    throw new TooManyAttempts(Math.ceil(waitMs / 1_000))
  }

  const accounts = accountLimits(app, { limits, now, deadlineMs: hashDeadlineMs, reject: refuse })

  const throttle: Throttle = {
    counts,

    refuseAddress: (what) => async (request) => {
      addresses.check(what === 'guess' ? 'login' : what, request)
      if (what === 'login') addresses.check('success', request)
      if (what === 'signup') addresses.check('refusal', request)
    },

    countMalformed: (what) => (request, reply, payload, done) => {
      if (isMalformed(request)) addresses.add(what === 'signup' ? 'refusal' : what, request)
      done()
    },

    refuseAccount: accounts.checkLogins,

    async logIn (request, userId, issue) {
      addresses.check('success', request, userId)
      accounts.checkLogins(request, userId)
      const counted = [addresses.add('success', request), accounts.addLogin(userId)]
      try {
        return await issue()
      } catch (error) {
        for (const takeBack of counted) takeBack()
        throw error
      }
    },

    async makeToken (request, userId, issue) {
      const takeBack = accounts.addToken(request, userId)
      try {
        const issued = await issue()
        if (issued === undefined) takeBack()
        return issued
      } catch (error) {
        takeBack()
        throw error
      }
    },

    guess (request, { username, userId, lastLoginAt }, check) {
      const usernameKey = canonicalUsername(username)
      // What no username can be is nobody's account.
      const work = usernameKey === undefined || !accounts.countsFailures
        ? check
        : () => accounts.guess(request, { usernameKey, network: clientNetwork(request.ip), lastLoginAt }, userId, check)
      // Not to wait is a failure as well.
      return addresses.attempt(request, { limit: 'login', work, isNone: (isCorrect) => isCorrect, isOne: (error) => error instanceof TooManyAttempts, userId })
    },

    signUp: (request, make) => addresses.attempt(request, {
      limit: 'signup',
      work: () => addresses.attempt(request, { limit: 'refusal', work: make, isNone: () => true, isOne: isTaken }),
      isNone: () => false
    }),

    async welcome (request, user) {
      if (!accounts.countsFailures) return
      await bestEffort(app, { work: () => app.loginFailures.registerNewUser(user, clientNetwork(request.ip)), failure: 'where a new user is could not be remembered' })()
    }
  }
  app.decorate('throttle', throttle)
}

export default fp(plugin, { name: 'latchkey-login-throttle', dependencies: ['latchkey-database', 'latchkey-audit'] })
