import { Overloaded } from '../../errors.js'

/**
 * Waits for others, but not for ever.
 *
 * @param sinceMs when the waiting began, by the clock of `performance.now`
 * @throws {Overloaded} it has waited long enough
 */
export async function waitForOthers (ended: Promise<unknown>, sinceMs: number, deadlineMs: number): Promise<void> {
  if (performance.now() - sinceMs > deadlineMs) throw new Overloaded()
  await ended
}

/** Knows which works are under way, by key, so that others can wait until they have ended. */
export function worksUnderWay () {
  const works = new Map<string, Set<Promise<unknown>>>()

  return {
    /** Does a work, which is under way meanwhile. */
    async run<Result> (key: string, work: () => Promise<Result>): Promise<Result> {
      const own = work()
      const all = works.get(key) ?? new Set()
      works.set(key, all.add(own))
      try {
        return await own
      } finally {
        all.delete(own)
        if (all.size === 0) works.delete(key)
      }
    },

    /** Resolves when all that are under way now have ended, however; undefined when there are none. */
    ended (key: string): Promise<unknown> | undefined {
      const all = works.get(key)
      return all === undefined ? undefined : Promise.allSettled(all)
    }
  }
}
