import { ClientDisconnected, Overloaded } from '../../errors.js'
import { createWaiter, type RejectionReason, type Wait, type Waiter } from '../../lib/waiter.js'
import { fairQueue } from './fair-queue.js'

/** How many jobs run, and how many wait. */
export interface HashLimiterOptions {
  /** How many jobs run at the same time. */
  concurrency: number
  /** How many jobs wait; signups can be at most half of them. */
  queueLength: number
  /** How long a job waits before it is rejected, in milliseconds. */
  deadlineMs: number
  /** Called when a job starts, with the time that it waited, in milliseconds. */
  onStart?: (waitedMs: number) => void
}

/** A hash to be computed. */
export interface HashJob extends Wait {
  /** The lane of the queue: `login` by default. */
  lane?: 'login' | 'signup'
  /** The network of its client (`clientSite`): networks take turns. All jobs without one count as one network. */
  network?: string
  /** A job with priority, because an earlier job of the same request has run: it is not rejected for a full queue, and waits in front of all others. */
  hasPriority?: boolean
  /** Called when the job starts. */
  onStart?: () => void
}

/** What the limiter has counted so far. */
export interface HashLimiterCounts {
  /** Jobs that were started, and the sum of the times that they had waited, in milliseconds. */
  passed: number
  waitedMs: number
  /** Jobs that were rejected, by reason. */
  rejected: Record<RejectionReason, number>
}

interface QueuedJob extends Waiter {
  isSignup: boolean
}

/**
 * How many jobs with priority run in a row while others wait: as many as a request has after
 * its first. So priority does not delay the other jobs for long.
 */
const priorityInARow = 2

/**
 * A bulkhead for password hashing: few jobs run at the same time and a few wait, because a hash
 * takes a whole processor and 19 MiB, and more of them at the same time make none faster and
 * everything else slow. Networks take turns; where the queue is full, the network that holds
 * most of it gives up a place to one that would hold fewer: no network can fill the queue for
 * all others.
 *
 * @see https://cheatsheetseries.owasp.org/cheatsheets/Denial_of_Service_Cheat_Sheet.html
 */
export function hashLimiter ({ concurrency, queueLength, deadlineMs, onStart = () => {} }: HashLimiterOptions) {
  const queue = fairQueue<QueuedJob>()
  const priority: QueuedJob[] = []
  const counts: HashLimiterCounts = { passed: 0, waitedMs: 0, rejected: { queue_full: 0, timed_out: 0, aborted: 0 } }
  let running = 0
  let priorityRun = 0

  function rejectNewcomer (): never {
    counts.rejected.queue_full++
    throw new Overloaded()
  }

  /**
   * Finds a place in the queue for a new job.
   *
   * @returns the job that has to give up its place; undefined where one is free
   * @throws {Overloaded} there is none
   */
  function findPlace (lane: 'login' | 'signup', network: string): QueuedJob | undefined {
    const isSignup = (job: QueuedJob) => job.isSignup
    if (lane === 'signup' && queue.count(isSignup) >= queueLength / 2) return queue.surplus(network, isSignup) ?? rejectNewcomer()
    return queue.length() < queueLength ? undefined : queue.surplus(network, () => true) ?? rejectNewcomer()
  }

  function enqueue (job: HashJob): Promise<void> {
    const { lane, network = '', signal, waitingSinceMs, hasPriority = false } = job
    const waiter = createWaiter({ signal, waitingSinceMs: hasPriority ? undefined : waitingSinceMs }, deadlineMs, (reason) => {
      if (hasPriority) priority.splice(priority.indexOf(queued), 1)
      else queue.remove(queued)
      counts.rejected[reason]++
    })
    const queued = { ...waiter, isSignup: lane === 'signup' }
    if (hasPriority) priority.push(queued)
    else queue.push(network, queued)
    return waiter.started
  }

  function dequeue (): QueuedJob | undefined {
    const hasPriority = priority.length > 0 && (priorityRun < priorityInARow || queue.length() === 0)
    priorityRun = hasPriority ? priorityRun + 1 : 0
    return hasPriority ? priority.shift() : queue.shift()
  }

  return {
    counts,
    /** How many jobs run, and how many wait. */
    load: () => ({ running, queued: priority.length + queue.length() }),

    /**
     * Rejects a request whose body, and with it the password, has not been read yet. No job gives
     * up its place for it.
     *
     * @throws {Overloaded} there is no place for this network
     */
    rejectWhenFull (lane: 'login' | 'signup', network = ''): void {
      if (running >= concurrency) findPlace(lane, network)
    },

    /**
     * Runs a job, after those that are before it.
     *
     * @throws {Overloaded} there was no place, another network was given it, or the deadline was exceeded
     * @throws {ClientDisconnected} its client disconnected
     */
    async run<Result>(work: () => Promise<Result>, job: HashJob = {}): Promise<Result> {
      if (job.signal?.aborted === true) {
        counts.rejected.aborted++
        throw new ClientDisconnected()
      }
      let waitedMs = 0
      if (running < concurrency) {
        running++
      } else {
        if (job.hasPriority !== true) findPlace(job.lane ?? 'login', job.network ?? '')?.reject('queue_full')
        const before = performance.now()
        // A job that ends gives its place to the one that starts: `running` stays as it is.
        await enqueue(job)
        waitedMs = performance.now() - before
      }
      counts.passed++
      counts.waitedMs += waitedMs
      onStart(waitedMs)
      job.onStart?.()
      try {
        return await work()
      } finally {
        const following = dequeue()
        if (following === undefined) running--
        else following.start()
      }
    }
  }
}
