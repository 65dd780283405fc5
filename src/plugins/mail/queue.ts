import type { FastifyBaseLogger } from 'fastify'
import { errorMembers } from '../../lib/error-code.js'
import { workQueue } from '../../lib/work-queue.js'
import type { Mail, MailCounts } from './mail.js'

/** How many mails are sent at the same time. */
const concurrency = 4
/** How many mails there can be that are not sent yet: further ones are dropped. */
const maxQueued = 1_000
/** How long one try may take, in milliseconds. */
const sendTimeoutMs = 30_000
/** The pauses after a try that failed, in milliseconds: there is one more try than pauses. */
const usualPausesMs = [1_000, 10_000]

/** Sends a mail; rejects when that fails. Stops when the signal is aborted, as far as it can. */
export type SendWithSignal = (mail: Mail, signal: AbortSignal) => Promise<unknown>

/** A queue of mails that no request waits for. */
export interface MailQueue {
  /** Adds a mail, and returns at once. */
  add: (mail: Mail) => void
  counts: () => MailCounts
  /** Tries to send what is there for the last time, and drops what is not sent within the deadline. */
  close: (deadlineMs: number) => Promise<void>
}

/** Rejects when a signal is aborted. */
function rejectWhenAborted (signal: AbortSignal): Promise<never> {
  return new Promise((resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }))
}

/** What an error says, without its message: a mail server repeats addresses in it, and parts of the text. */
function describeFailure (error: unknown) {
  const { name, code, originalCode, responseCode, command } = errorMembers(error)
  return { name, code, originalCode, responseCode, command }
}

/** Whether a mail server rejects a mail for good (RFC 5321, section 4.2.1): it would reject it again. */
function isPermanent (error: unknown): boolean {
  const { responseCode } = errorMembers(error)
  return typeof responseCode === 'number' && responseCode >= 500
}

/** Creates a queue that sends mails, and tries again those that fail. */
export function mailQueue (send: SendWithSignal, log: FastifyBaseLogger, pausesMs = usualPausesMs): MailQueue {
  const counts = { sent: 0, failed: 0, dropped: 0 }
  const closing = new AbortController()
  const queue = workQueue({ concurrency, maxSize: maxQueued, onDrop: () => log.error('Mails dropped: the queue is full or closed.') })

  /** Tries to send a mail, and returns the pause before the next try, if there must be one. */
  async function attempt (mail: Mail, tries: number): Promise<number | undefined> {
    const signal = AbortSignal.any([closing.signal, AbortSignal.timeout(sendTimeoutMs)])
    try {
      await Promise.race([send(mail, signal), rejectWhenAborted(signal)])
      counts.sent++
    } catch (error) {
      // What the shutdown ends is counted there.
      if (closing.signal.aborted) return undefined
      const pauseMs = isPermanent(error) ? undefined : pausesMs[tries]
      const failure = { kind: mail.kind, failure: describeFailure(error) }
      if (pauseMs !== undefined) {
        log.warn(failure, 'a mail could not be sent: it is tried again')
        return pauseMs
      }
      log.error(failure, 'a mail could not be sent')
      counts.failed++
    }
  }

  return {
    add (mail) {
      let tries = 0
      if (!queue.add(() => attempt(mail, tries++))) counts.dropped++
    },

    counts: () => ({ ...counts, queued: queue.size() }),

    async close (deadlineMs) {
      const lost = await queue.close(deadlineMs)
      closing.abort()
      if (lost === 0) return
      counts.dropped += lost
      log.error({ count: lost }, 'Mails lost: they could not be sent before the shutdown.')
    }
  }
}
