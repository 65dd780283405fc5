import type { FastifyRequest } from 'fastify'
import type { AttemptLimits } from './limits.js'
import { slidingWindowLog } from './sliding-window.js'
import { clientNetwork } from '../../lib/client-network.js'
import { waitForOthers, worksUnderWay } from './in-flight.js'

export const minuteMs = 60_000
export const hourMs = 3_600_000

/** What an address has a limit for: failed logins, successful ones, accounts made, signups that were refused. */
export type AddressLimit = 'login' | 'success' | 'signup' | 'refusal'

/** How an attempt of an address is counted. */
export interface AddressAttempt<Result> {
  limit: AddressLimit
  work: () => Promise<Result>
  /** Whether what the work answers was no attempt. */
  isNone: (result: Result) => boolean
  /** Whether what the work throws was an attempt: by default what could not be made is none. */
  isOne?: (error: unknown) => boolean
  /** Whose account it is about, for the log. */
  userId?: number
}

/** What the limits are told. */
export interface AddressLimitsOptions {
  limits: AttemptLimits
  now: () => number
  /** How long an attempt waits for others, in milliseconds. */
  deadlineMs: number
  /** Throws what an attempt beyond a limit is refused with. */
  reject: (request: FastifyRequest, limit: AddressLimit, retryAfterMs: number, userId?: number) => never
}

/** Holds each address to its limits. What it did is in memory, in sliding windows. */
export function addressLimits ({ limits, now, deadlineMs, reject }: AddressLimitsOptions) {
  const {
    loginFailuresPerAddressMinute,
    loginFailuresPerAddressHour,
    loginsPerAddressMinute,
    signupsPerAddressHour
  } = limits
  const logs = {
    login: slidingWindowLog([{ attempts: loginFailuresPerAddressMinute, windowMs: minuteMs }, { attempts: loginFailuresPerAddressHour, windowMs: hourMs }]),
    success: slidingWindowLog([{ attempts: loginsPerAddressMinute, windowMs: minuteMs }]),
    signup: slidingWindowLog([{ attempts: signupsPerAddressHour, windowMs: hourMs }]),
    // What is taken tells as much as a login that fails.
    refusal: slidingWindowLog([{ attempts: loginFailuresPerAddressHour, windowMs: hourMs }])
  }
  const inFlight = worksUnderWay()
  const keyOf = (limit: AddressLimit, network: string) => `${limit} from ${network}`

  /** Rejects an address that has to wait whatever becomes of its attempts in flight; answers when they have ended, where it depends on them. */
  function check (limit: AddressLimit, request: FastifyRequest, userId?: number): Promise<unknown> | undefined {
    const network = clientNetwork(request.ip)
    const retryAfterMs = logs[limit].retryAfterMs(network, now())
    if (retryAfterMs <= 0) return undefined
    return inFlight.ended(keyOf(limit, network)) ?? reject(request, limit, retryAfterMs, userId)
  }

  return {
    check,

    /** Counts what is known to be an attempt. Calling what is returned takes it back. */
    add: (limit: AddressLimit, request: FastifyRequest): (() => void) => logs[limit].add(clientNetwork(request.ip), now()),

    /** Does what counts as an attempt until it is known to be none. */
    async attempt<Result> (request: FastifyRequest, { limit, work, isNone, isOne = () => false, userId }: AddressAttempt<Result>): Promise<Result> {
      const sinceMs = performance.now()
      for (let ended = check(limit, request, userId); ended !== undefined; ended = check(limit, request, userId)) await waitForOthers(ended, sinceMs, deadlineMs)
      const network = clientNetwork(request.ip)
      return await inFlight.run(keyOf(limit, network), async () => {
        const takeBack = logs[limit].add(network, now())
        try {
          const result = await work()
          if (isNone(result)) takeBack()
          return result
        } catch (error) {
          if (!isOne(error)) takeBack()
          throw error
        }
      })
    }
  }
}
