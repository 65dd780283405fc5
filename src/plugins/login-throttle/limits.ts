import type { ResolvedOptions } from '../../options.js'
import type { Wait } from '../../lib/waiter.js'
import { keyedSemaphore, type WithPermit } from '../../lib/keyed-mutex.js'
import { slidingWindowLog, type WindowLimit } from './sliding-window.js'

/** How many attempts an address and an account have; 0 turns a limit off. */
export type AttemptLimits = Pick<ResolvedOptions,
  | 'loginFailuresPerAddressMinute' | 'loginFailuresPerAddressHour' | 'loginFailuresPerAccount'
  | 'loginsPerAddressMinute' | 'loginsPerAccountMinute' | 'tokensPerAccountHour' | 'signupsPerAddressHour' | 'resetsPerAddressHour'>

/**
 * The wait after failed logins for an account, in milliseconds: the first wait, which each further
 * failure doubles, up to the longest one. `repository.ts` calculates it in SQL.
 */
export const firstWaitMs = 1_000
export const longestWaitMs = 900_000
/** After so many doublings the wait is the longest one. */
export const doublingsUntilLongestWait = Math.ceil(Math.log2(longestWaitMs / firstWaitMs))

const minuteMs = 60_000
const hourMs = 3_600_000

/**
 * How many codes to verify an email are mailed for one account, and to one address, in an hour:
 * nobody floods a stranger with them, neither with one account nor with many.
 */
const mailsPerAccountHour = 10
const mailsPerRecipientHour = 10

/** What is limited in memory, in a sliding window, by the network of the client, the id of the user or the email. */
export interface Limiter {
  /** How long a key has to wait for its next attempt, in milliseconds; 0: it need not. */
  retryAfterMs: (key: string) => number
  /** Counts an attempt. */
  count: (key: string) => void
  /** Forgets the attempts of a key up to a time, in milliseconds since 1970. */
  forget: (key: string, untilMs: number) => void
  /** Runs an attempt. Never more attempts of a key are in flight than its limit has left. The caller counts them. */
  withPermit: WithPermit
}

/** The limits that are kept in memory. */
export type Limiters = ReturnType<typeof createLimiters>

/** What an attempt counts with. */
export interface LimitedAttempt {
  limit: keyof Limiters
  key: string
  userId?: number
  /** For whom and since when it waits. */
  wait?: Wait
}

/** The limits of an address, by what it asks for. */
export const addressLimits = { login: ['address', 'address_logins'], password: ['address'], signup: ['signup', 'signup_rejections'], reset: ['reset'] } as const
/** The limits whose keys are networks. */
export const networkLimits: ReadonlyArray<keyof Limiters> = ['address', 'address_logins', 'signup', 'signup_rejections', 'reset']

/**
 * Creates the limits that are kept in memory, by their names in the metrics.
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
      forget: log.forget,
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
    /** Requests of an address for a new password. */
    reset: limiter({ attempts: limits.resetsPerAddressHour, windowMs: hourMs }),
    /** Successful logins of an account. */
    account_logins: limiter({ attempts: limits.loginsPerAccountMinute, windowMs: minuteMs }),
    /** Renewals of an account's tokens. Not counted with its logins: a stolen token must not keep its owner from logging in. */
    account_renewals: limiter({ attempts: limits.loginsPerAccountMinute, windowMs: minuteMs }),
    /** Personal access tokens of an account. */
    account_tokens: limiter({ attempts: limits.tokensPerAccountHour, windowMs: hourMs }),
    /** Codes that are mailed to the addresses that an account names. */
    account_mails: limiter({ attempts: mailsPerAccountHour, windowMs: hourMs }),
    /** Codes that are mailed to an address, whichever accounts name it. */
    recipient_mails: limiter({ attempts: mailsPerRecipientHour, windowMs: hourMs })
  }
}
