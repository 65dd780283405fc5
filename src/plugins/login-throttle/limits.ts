import type { ResolvedOptions } from '../../options.js'
import { keyedSemaphore, type WithPermit } from '../../lib/keyed-mutex.js'
import { slidingWindowLog, type WindowLimit } from './sliding-window.js'

/** How many attempts one address and one account have; 0 switches a limit off. */
export type AttemptLimits = Pick<ResolvedOptions,
  | 'loginFailuresPerAddressMinute' | 'loginFailuresPerAddressHour' | 'loginFailuresPerAccount'
  | 'loginsPerAddressMinute' | 'loginsPerAccountMinute' | 'tokensPerAccountHour' | 'signupsPerAddressHour'>

/** The longest wait between two attempts for an account, in seconds. Each failure doubles the wait, from one second on. */
export const longestWaitSeconds = 900

const minuteMs = 60_000
const hourMs = 3_600_000

/** What is limited in memory, in a sliding window, by the network of the client or by the id of the user. */
export interface Limiter {
  /** How long a key has to wait for its next attempt, in milliseconds; 0: it need not. */
  retryAfterMs: (key: string) => number
  /** Counts an attempt. */
  count: (key: string) => void
  /** Runs an attempt: those in flight are never more than are left of the limit. Nothing is counted by itself. */
  withPermit: WithPermit
}

/**
 * The limits that are kept in memory, by their names in the metrics.
 *
 * @param options.now the time in milliseconds since 1970
 * @param options.deadlineMs how long an attempt waits for others in flight, in milliseconds
 */
export function createLimiters (limits: AttemptLimits, { now, deadlineMs }: { now: () => number, deadlineMs: number }) {
  function limiter (...windows: WindowLimit[]): Limiter {
    const log = slidingWindowLog(windows)
    return {
      retryAfterMs: (key) => log.retryAfterMs(key, now()),
      count: (key) => log.add(key, now()),
      withPermit: keyedSemaphore({ permits: (key) => log.remaining(key, now()), deadlineMs })
    }
  }

  return {
    /** Failed logins of an address. */
    address: limiter({ attempts: limits.loginFailuresPerAddressMinute, windowMs: minuteMs }, { attempts: limits.loginFailuresPerAddressHour, windowMs: hourMs }),
    /** Successful logins of an address. */
    address_logins: limiter({ attempts: limits.loginsPerAddressMinute, windowMs: minuteMs }),
    /** Signups of an address. */
    signup: limiter({ attempts: limits.signupsPerAddressHour, windowMs: hourMs }),
    /** Rejected signups of an address: whether a name is taken reveals as much as a failed login. */
    signup_rejections: limiter({ attempts: limits.loginFailuresPerAddressHour, windowMs: hourMs }),
    /** Successful logins of an account. */
    account_logins: limiter({ attempts: limits.loginsPerAccountMinute, windowMs: minuteMs }),
    /** Personal access tokens of an account. */
    account_tokens: limiter({ attempts: limits.tokensPerAccountHour, windowMs: hourMs })
  }
}
