import { ClientDisconnected } from '../errors.js'
import { createWaiter, type Wait, type Waiter } from './waiter.js'

/** What works share that have the same key. */
interface Entry {
  running: number
  /** In the order in which they came. */
  waiters: Set<Waiter>
}

/** Runs a work once there is a permit for its key. */
export type WithPermit = <Result>(key: string, wait: Wait, work: () => Promise<Result>) => Promise<Result>

/**
 * Creates a semaphore for each key: so many works run at the same time, the next ones wait in
 * the order in which they came. Other keys are not waited for.
 *
 * @param options.permits how many works of a key may run at the same time, as of now; one always may
 * @param options.deadlineMs how long a work waits, in milliseconds
 * @returns runs a work; throws `Overloaded` where the deadline was exceeded, and `ClientDisconnected`
 */
export function keyedSemaphore ({ permits, deadlineMs }: { permits: (key: string) => number, deadlineMs: number }): WithPermit {
  const entries = new Map<string, Entry>()
  const hasPermit = (key: string, { running }: Entry) => running < Math.max(1, permits(key))

  function release (key: string, entry: Entry): void {
    entry.running--
    for (const waiter of entry.waiters) {
      if (!hasPermit(key, entry)) break
      entry.waiters.delete(waiter)
      entry.running++
      waiter.start()
    }
    if (entry.running === 0) entries.delete(key)
  }

  return async function withPermit (key, wait, work) {
    if (wait.signal?.aborted === true) throw new ClientDisconnected()
    const entry = entries.get(key) ?? { running: 0, waiters: new Set() }
    entries.set(key, entry)
    if (entry.waiters.size === 0 && hasPermit(key, entry)) {
      entry.running++
    } else {
      const waiter = createWaiter(wait, deadlineMs, () => entry.waiters.delete(waiter))
      entry.waiters.add(waiter)
      await waiter.started
    }
    try {
      return await work()
    } finally {
      release(key, entry)
    }
  }
}

/** Creates a mutex for each key: works with the same key run one at a time. */
export function keyedMutex ({ deadlineMs }: { deadlineMs: number }): WithPermit {
  return keyedSemaphore({ permits: () => 1, deadlineMs })
}
