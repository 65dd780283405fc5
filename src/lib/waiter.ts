import { ClientDisconnected, Overloaded } from '../errors.js'

/** For which client, and since when, something waits. */
export interface Wait {
  /** Aborted when the client has disconnected: the wait then ends. */
  signal?: AbortSignal
  /** When the request began to wait, by the clock of `performance.now`: the deadline counts from then. Now, by default. */
  waitingSinceMs?: number
}

/** Why a wait ended without success: the queue was full, the deadline was exceeded, the client disconnected. */
export type RejectionReason = 'queue_full' | 'timed_out' | 'aborted'

/** One that waits in a queue. */
export interface Waiter {
  /**
   * Resolves when it was started.
   *
   * @throws {Overloaded} the queue was full, or the deadline was exceeded
   * @throws {ClientDisconnected} its client disconnected
   */
  started: Promise<void>
  /** Ends the wait with success. */
  start: () => void
  /** Ends the wait without success. */
  reject: (reason: RejectionReason) => void
}

/**
 * Creates a waiter, which ends its wait by itself at the deadline, or when its client disconnects.
 *
 * @param onRejected removes it from its queue
 */
export function createWaiter ({ signal, waitingSinceMs = performance.now() }: Wait, deadlineMs: number, onRejected: (reason: RejectionReason) => void): Waiter {
  let resolve: () => void
  let reject: (error: Error) => void
  const started = new Promise<void>((_resolve, _reject) => {
    resolve = _resolve
    reject = _reject
  })
  const settle = () => {
    clearTimeout(timer)
    signal?.removeEventListener('abort', onAbort)
  }
  const waiter: Waiter = {
    started,
    start () {
      settle()
      resolve()
    },
    reject (reason) {
      settle()
      onRejected(reason)
      reject(reason === 'aborted' ? new ClientDisconnected() : new Overloaded())
    }
  }
  const onAbort = () => waiter.reject('aborted')
  const timer = setTimeout(() => waiter.reject('timed_out'), deadlineMs - (performance.now() - waitingSinceMs))
  signal?.addEventListener('abort', onAbort)
  return waiter
}
