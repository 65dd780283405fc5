import type { FastifyInstance, FastifyRequest } from 'fastify'
import { bestEffort } from '../../lib/background.js'
import { keyedMutex } from '../../lib/keyed-mutex.js'
import { canonicalEmail, emailProblem } from '../users/email.js'
import { canonicalUsername } from '../users/username.js'
import { networkOf } from './network.js'
import type { PasswordCheck } from './throttle.js'

/** The options of the throttle by account. */
export interface AccountThrottleOptions {
  /** How many failures an account has before its attempts have to wait; 0: they never have to. */
  failuresFree: number
  now: () => number
  /** How long a check waits for others, in milliseconds. */
  deadlineMs: number
}

/** What a check of an account does. */
export interface AccountCheck {
  verify: () => Promise<boolean>
  /** Throws the error of a check during a wait. */
  reject: (retryAfterMs: number) => never
}

/**
 * What failures are counted for: the username of an account, or what was typed in place of one. An
 * unknown email counts as well, also one that no username can be: otherwise the waits would tell
 * which addresses have accounts.
 */
function failuresKey (name: string): string | undefined {
  return canonicalUsername(name) ?? (emailProblem(name) === undefined ? canonicalEmail(name) : undefined)
}

/**
 * Creates the function that checks the passwords of an account one at a time, and counts
 * failures in the database, which is shared by all servers.
 */
export function accountThrottle (app: FastifyInstance, { failuresFree, now, deadlineMs }: AccountThrottleOptions) {
  const withLock = keyedMutex({ deadlineMs })

  return async function checkAccount (request: FastifyRequest, { username, userId, verifiedHash, lastLoginAt, wait, mustRecord = false }: PasswordCheck, { verify, reject }: AccountCheck): Promise<boolean> {
    const usernameKey = failuresKey(username)
    // A text that can be neither a username nor an email belongs to no account.
    if (usernameKey === undefined) return await verify()
    const attempt = { usernameKey, network: networkOf(request), lastLoginAt }
    const { network: scope } = app.loginFailures.scopeOf(attempt)

    async function verifyAndRecord (hasFailures: boolean): Promise<boolean> {
      const isCorrect = await verify()
      if (isCorrect && userId !== undefined) {
        const record = () => app.loginFailures.recordSuccess(attempt, { userId, verifiedHash, mustDelete: mustRecord || hasFailures })
        if (mustRecord) await record()
        // A correct password is accepted even when this cannot be written.
        else await bestEffort(app, { work: record, failure: 'the success of a password check could not be recorded' })()
      }
      return isCorrect
    }

    if (failuresFree === 0) return await verifyAndRecord(false)
    return await withLock(`${usernameKey} ${scope}`, wait, async () => {
      const before = await app.loginFailures.find(attempt)
      const retryAfterMs = (before?.blockedUntilMs ?? 0) - now()
      if (retryAfterMs > 0) reject(retryAfterMs)

      const isCorrect = await verifyAndRecord(before !== undefined)
      if (!isCorrect) {
        const mustWait = await app.loginFailures.count(attempt, failuresFree)
        if (mustWait) app.audit.record({ kind: 'backoff', userId }, request)
      }
      return isCorrect
    })
  }
}
