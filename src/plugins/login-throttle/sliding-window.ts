import { LRUCache } from 'lru-cache'
import { lazy } from '../../lib/lazy.js'

/** So many attempts in such a time, in milliseconds. 0 attempts: no limit. */
export interface WindowLimit {
  attempts: number
  windowMs: number
}

/**
 * For how many keys attempts are remembered: addresses, and accounts on networks that they are
 * known on. A client with more addresses than this evicts the
 * least recently used ones, and gains nothing: each of its addresses had a limit of its own.
 */
const keysMax = 10_000

/**
 * A sliding-window log: remembers the times of attempts, by key, and holds them to limits. In no
 * span of a window's length are there more attempts than its limit. The memory is bounded, by
 * the number of keys and by the highest limit.
 */
export function slidingWindowLog (limits: WindowLimit[]) {
  const inForce = limits.filter(({ attempts }) => attempts > 0)
  const attemptsMax = Math.max(0, ...inForce.map(({ attempts }) => attempts))
  // The cache allocates its memory when it is created.
  const log = lazy(() => new LRUCache<string, number[]>({ max: keysMax }))

  return {
    /** How long a key has to wait for its next attempt, in milliseconds; 0: it need not. */
    retryAfterMs (key: string, nowMs: number): number {
      const times = log().get(key) ?? []
      return inForce.reduce((longest, { attempts, windowMs }) => {
        const first = times.at(-attempts)
        return first === undefined || times.length < attempts ? longest : Math.max(longest, first + windowMs - nowMs)
      }, 0)
    },

    /** How many attempts a key has left. */
    remaining (key: string, nowMs: number): number {
      const times = log().get(key) ?? []
      return Math.min(...inForce.map(({ attempts, windowMs }) => attempts - times.filter((time) => time + windowMs > nowMs).length))
    },

    /** Counts an attempt. */
    add (key: string, nowMs: number): void {
      if (attemptsMax === 0) return
      const times = log().get(key) ?? []
      times.push(nowMs)
      if (times.length > attemptsMax) times.shift()
      log().set(key, times)
    },

    /** Forgets the attempts of a key up to a time. */
    forget (key: string, untilMs: number): void {
      const times = log().get(key) ?? []
      const later = times.filter((time) => time > untilMs)
      if (later.length === 0) log().delete(key)
      else log().set(key, later)
    },

    /** How many keys are remembered. */
    size: () => log().size
  }
}
