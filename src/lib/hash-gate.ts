import { availableParallelism } from 'node:os'
import { ClientGone, Overloaded } from './errors.js'

/**
 * Hashes at once where nothing else is said. They run on the 4 threads of libuv's pool, of
 * which files and name look-ups need one as well; more than there are processors make
 * none faster.
 */
export const defaultHashConcurrency = Math.min(availableParallelism(), 3)
/** Hashes that wait, where nothing else is said: at the end of the queue some two thirds of a second on two processors. */
export const defaultHashQueue = 32
/** How long one waits where nothing else is said, in milliseconds. */
export const defaultHashDeadlineMs = 3_000

/** What may pass at once, and what may wait. */
export interface HashGateOptions {
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
export interface HashTurn {
  /** Which share of the queue it waits in: `login` by default. */
  share?: 'login' | 'signup'
  /** Aborted when the client is gone: it then waits no longer. */
  signal?: AbortSignal
  /** The same request has passed before: it is not refused now, and waits in front of all others. */
  isContinued?: boolean
}

/** What has happened at the gate so far. */
export interface HashGateCounts {
  /** Hashes that were let through, and how long they had waited together, in milliseconds. */
  passed: number
  waitedMs: number
  /** Refused because the queue was full. */
  full: number
  /** Refused because they had waited too long. */
  late: number
  /** Left because their client was gone. */
  abandoned: number
}

interface Waiting {
  share: string
  start: () => void
}

/**
 * Lets a few hashes through at once and a few wait: hashing takes all of a processor and
 * 19 MiB, and more of them at once make none faster and everything else slow.
 *
 * @see https://cheatsheetseries.owasp.org/cheatsheets/Denial_of_Service_Cheat_Sheet.html
 */
export function hashGate ({ concurrency, queueLength, deadlineMs, onPass = () => {} }: HashGateOptions) {
  const queue: Waiting[] = []
  const counts: HashGateCounts = { passed: 0, waitedMs: 0, full: 0, late: 0, abandoned: 0 }
  let running = 0

  function isQueueFull (share: string): boolean {
    return queue.length >= queueLength || (share === 'signup' && queue.filter((waiting) => waiting.share === share).length >= queueLength / 2)
  }

  function refuse (): never {
    counts.full++
    throw new Overloaded()
  }

  function wait ({ share = 'login', signal, isContinued = false }: HashTurn): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = (reason: 'late' | 'abandoned') => {
        queue.splice(queue.indexOf(waiting), 1)
        settle()
        counts[reason]++
        reject(reason === 'late' ? new Overloaded() : new ClientGone())
      }
      const abandon = () => leave('abandoned')
      const timer = setTimeout(() => leave('late'), deadlineMs)
      const settle = () => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', abandon)
      }
      const waiting: Waiting = {
        share,
        start () {
          settle()
          resolve()
        }
      }
      signal?.addEventListener('abort', abandon)
      if (isContinued) queue.unshift(waiting)
      else queue.push(waiting)
    })
  }

  return {
    counts,
    /** How many are under way, and how many wait. */
    load: () => ({ running, queued: queue.length }),

    /**
     * For whoever has not brought the password yet.
     *
     * @throws {Overloaded} the queue is full
     */
    refuseWhenFull (share: 'login' | 'signup'): void {
      if (running >= concurrency && isQueueFull(share)) refuse()
    },

    /**
     * Does the work when it is its turn.
     *
     * @throws {Overloaded} the queue is full, or the turn did not come in time
     * @throws {ClientGone} nobody waits for it any more
     */
    async run<Result>(work: () => Promise<Result>, turn: HashTurn = {}): Promise<Result> {
      if (turn.signal?.aborted === true) {
        counts.abandoned++
        throw new ClientGone()
      }
      let waitedMs = 0
      if (running < concurrency) {
        running++
      } else if (turn.isContinued !== true && isQueueFull(turn.share ?? 'login')) {
        refuse()
      } else {
        const before = performance.now()
        // Whoever ends gives its place to the one that starts: it stays counted.
        await wait(turn)
        waitedMs = performance.now() - before
      }
      counts.passed++
      counts.waitedMs += waitedMs
      onPass(waitedMs)
      try {
        return await work()
      } finally {
        const next = queue.shift()
        if (next === undefined) running--
        else next.start()
      }
    }
  }
}
