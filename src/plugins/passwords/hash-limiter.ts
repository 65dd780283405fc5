import { ClientDisconnected, Overloaded } from '../../errors.js'
import { fairQueue } from './fair-queue.js'

/** What may pass at once, and what may wait. */
export interface HashLimiterOptions {
  /** How many hashes are under way at once. */
  concurrency: number
  /** How many wait; sign-ups can be at most half of them. */
  queueLength: number
  /** How long one waits before it is refused, in milliseconds. */
  deadlineMs: number
  /** Called with the time that each one waited which was let through, in milliseconds. */
  onPass?: (waitedMs: number) => void
}

/** On whose behalf a hash is asked for. */
export interface HashJob {
  /** Which share of the queue it waits in: `login` by default. */
  lane?: 'login' | 'signup'
  /** The network of its client (`siteOf`): networks take turns. All jobs without one are one. */
  network?: string
  /** Aborted when the client is gone: it then waits no longer. */
  signal?: AbortSignal
  /** A job with priority, because the same request has passed before: it is not refused now, and waits in front of all others. */
  hasPriority?: boolean
  /** Called when the work starts. */
  onStart?: () => void
}

/**
 * Why a job was not run: the queue was full, at once or in favour of another network; it
 * waited too long; its client disconnected.
 */
export type RejectionReason = 'queue_full' | 'timed_out' | 'aborted'

/** What the limiter has counted so far. */
export interface HashLimiterCounts {
  /** Hashes that were let through, and how long they had waited together, in milliseconds. */
  passed: number
  waitedMs: number
  /** Jobs that were not run, by reason. */
  rejected: Record<RejectionReason, number>
}

/** A job that waits. */
interface Waiting {
  isSignup: boolean
  start: () => void
  /** Ends the wait without a start. */
  leave: (reason: RejectionReason) => void
}

/**
 * How many jobs with priority run in a row while others wait: as many as a request has after
 * its first. So nobody's priority holds the others up for long.
 */
const priorityInARow = 2

/**
 * Lets a few hashes through at once and a few wait: hashing takes all of a processor and
 * 19 MiB, and more of them at once make none faster and everything else slow. Networks take
 * turns, and where all places are taken, the network that holds most of them gives one up to
 * another that would hold fewer: nobody can take the places of all.
 *
 * @see https://cheatsheetseries.owasp.org/cheatsheets/Denial_of_Service_Cheat_Sheet.html
 */
export function hashLimiter ({ concurrency, queueLength, deadlineMs, onPass = () => {} }: HashLimiterOptions) {
  const queue = fairQueue<Waiting>()
  const priority: Waiting[] = []
  const counts: HashLimiterCounts = { passed: 0, waitedMs: 0, rejected: { queue_full: 0, timed_out: 0, aborted: 0 } }
  let running = 0
  let priorityRun = 0

  function reject (): never {
    counts.rejected.queue_full++
    throw new Overloaded()
  }

  /**
   * Finds a newcomer a place in the queue.
   *
   * @returns who has to give one up; undefined where there is a free one
   * @throws {Overloaded} there is none
   */
  function findPlace (lane: 'login' | 'signup', network: string): Waiting | undefined {
    const isSignup = (waiting: Waiting) => waiting.isSignup
    if (lane === 'signup' && queue.count(isSignup) >= queueLength / 2) return queue.surplus(network, isSignup) ?? reject()
    return queue.length() < queueLength ? undefined : queue.surplus(network, () => true) ?? reject()
  }

  function wait ({ lane, network = '', signal, hasPriority = false }: HashJob): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = () => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', abort)
      }
      const waiting: Waiting = {
        isSignup: lane === 'signup',
        start () {
          settle()
          resolve()
        },
        leave (reason) {
          if (hasPriority) priority.splice(priority.indexOf(waiting), 1)
          else queue.remove(waiting)
          settle()
          counts.rejected[reason]++
          reject(reason === 'aborted' ? new ClientDisconnected() : new Overloaded())
        }
      }
      const abort = () => waiting.leave('aborted')
      const timer = setTimeout(() => waiting.leave('timed_out'), deadlineMs)
      signal?.addEventListener('abort', abort)
      if (hasPriority) priority.push(waiting)
      else queue.push(network, waiting)
    })
  }

  function next (): Waiting | undefined {
    const hasPriority = priority.length > 0 && (priorityRun < priorityInARow || queue.length() === 0)
    priorityRun = hasPriority ? priorityRun + 1 : 0
    return hasPriority ? priority.shift() : queue.shift()
  }

  return {
    counts,
    /** How many are under way, and how many wait. */
    load: () => ({ running, queued: priority.length + queue.length() }),

    /**
     * For whoever has not brought the password yet. Nobody gives a place up for it.
     *
     * @throws {Overloaded} there is no place for this network
     */
    rejectWhenFull (lane: 'login' | 'signup', network = ''): void {
      if (running >= concurrency) findPlace(lane, network)
    },

    /**
     * Does the work when it is its turn.
     *
     * @throws {Overloaded} there was no place, another network was given it, or the turn did not come in time
     * @throws {ClientDisconnected} nobody waits for it any more
     */
    async run<Result>(work: () => Promise<Result>, turn: HashJob = {}): Promise<Result> {
      if (turn.signal?.aborted === true) {
        counts.rejected.aborted++
        throw new ClientDisconnected()
      }
      let waitedMs = 0
      if (running < concurrency) {
        running++
      } else {
        if (turn.hasPriority !== true) findPlace(turn.lane ?? 'login', turn.network ?? '')?.leave('queue_full')
        const before = performance.now()
        // Whoever ends gives its place to the one that starts: it stays counted.
        await wait(turn)
        waitedMs = performance.now() - before
      }
      counts.passed++
      counts.waitedMs += waitedMs
      onPass(waitedMs)
      turn.onStart?.()
      try {
        return await work()
      } finally {
        const following = next()
        if (following === undefined) running--
        else following.start()
      }
    }
  }
}
