import { ClientDisconnected } from '../errors.js'
import { createWaiter, type Wait, type Waiter } from './waiter.js'

/** The jobs with the same key. */
interface Entry {
  running: number
  /** In the order in which they came. */
  waiters: Set<Waiter>
}

/** Runs a job once there is a permit for its key. */
export type WithPermit = <Result>(key: string, wait: Wait, job: () => Promise<Result>) => Promise<Result>

/**
 * Creates a semaphore for each key: a limited number of jobs run at the same time, the next ones
 * wait in order. Jobs with other keys do not wait for them.
 *
 * @param options.permits how many jobs of a key may run at the same time, as of now; one always may
 * @param options.deadlineMs how long a job waits, in milliseconds
 * @returns runs a job; throws `Overloaded` if the deadline is exceeded, and `ClientDisconnected`
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

  return async function withPermit (key, wait, job) {
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
      return await job()
    } finally {
      release(key, entry)
    }
  }
}

/** Creates a mutex for each key: jobs with the same key run one at a time. */
export function keyedMutex ({ deadlineMs }: { deadlineMs: number }): WithPermit {
  return keyedSemaphore({ permits: () => 1, deadlineMs })
}
