import { LRUCache } from 'lru-cache'

/** So many attempts in such a time, in milliseconds. 0 attempts: no limit. */
export interface WindowLimit {
  attempts: number
  windowMs: number
}

/**
 * For how many keys attempts are remembered. Whoever has more addresses than this makes
 * the oldest forgotten, and gains nothing: each of his had a limit of its own anyway.
 */
const keysMax = 10_000

/**
 * Remembers when there were attempts, by key, and holds them to limits. The windows
 * slide: in no span of a window's length there are more attempts than its limit. The
 * memory is bounded, by the number of keys and by the highest limit.
 */
export function slidingWindowLog (limits: WindowLimit[]) {
  const inForce = limits.filter(({ attempts }) => attempts > 0)
  const attemptsMax = Math.max(0, ...inForce.map(({ attempts }) => attempts))
  const log = new LRUCache<string, number[]>({ max: keysMax })

  return {
    /** How long it is until this key may try again, in milliseconds; 0 when it may now. */
    retryAfterMs (key: string, nowMs: number): number {
      const times = log.get(key) ?? []
      return inForce.reduce((longest, { attempts, windowMs }) => {
        const first = times.at(-attempts)
        return first === undefined || times.length < attempts ? longest : Math.max(longest, first + windowMs - nowMs)
      }, 0)
    },

    /** Remembers an attempt. Calling what is returned takes it back. */
    add (key: string, nowMs: number): () => void {
      const times = log.get(key) ?? []
      times.push(nowMs)
      if (times.length > attemptsMax) times.shift()
      if (inForce.length > 0) log.set(key, times)
      return () => {
        const index = times.lastIndexOf(nowMs)
        if (index !== -1) times.splice(index, 1)
      }
    },

    /** How many keys are remembered. */
    size: () => log.size
  }
}
