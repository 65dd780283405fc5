/** A job of a work queue. It never rejects. Resolves with the milliseconds after which it must run again; undefined when it is done. */
export type Job = () => Promise<number | undefined>

/** The options of a work queue. */
export interface WorkQueueOptions {
  /** How many jobs run at the same time. */
  concurrency: number
  /** How many jobs there can be: those that run, wait or pause. */
  maxSize: number
  /** Called when a job is dropped because the queue is full or closed; not again before the queue was empty. */
  onDrop: () => void
}

/** A queue of jobs that no request waits for. */
export interface WorkQueue {
  /** Adds a job; false when it was dropped. */
  add: (job: Job) => boolean
  /** How many jobs run, wait or pause. */
  size: () => number
  /**
   * Accepts no more jobs, and runs those that are there, also those that pause, for the last time.
   *
   * @returns how many were not done within the deadline
   */
  close: (deadlineMs: number) => Promise<number>
}

/** Creates a queue that runs a limited number of jobs at the same time, and drops what exceeds its size. */
export function workQueue ({ concurrency, maxSize, onDrop }: WorkQueueOptions): WorkQueue {
  const waiting: Job[] = []
  const pauses = new Map<Job, NodeJS.Timeout>()
  let size = 0
  let running = 0
  let isDropping = false
  let isClosed = false
  let onIdle = () => {}

  async function runWaiting (): Promise<void> {
    running++
    for (let job = waiting.shift(); job !== undefined; job = waiting.shift()) {
      const pauseMs = await job()
      if (pauseMs === undefined) size--
      else if (!isClosed) pause(job, pauseMs)
    }
    running--
    if (size === 0) isDropping = false
    if (running === 0) onIdle()
  }

  function start (job: Job): void {
    waiting.push(job)
    if (running < concurrency) runWaiting()
  }

  function pause (job: Job, ms: number): void {
    pauses.set(job, setTimeout(() => {
      pauses.delete(job)
      start(job)
    }, ms).unref())
  }

  return {
    add (job) {
      if (isClosed || size >= maxSize) {
        if (!isDropping) onDrop()
        isDropping = true
        return false
      }
      size++
      start(job)
      return true
    },

    size: () => size,

    async close (deadlineMs) {
      isClosed = true
      for (const [job, timer] of pauses) {
        clearTimeout(timer)
        start(job)
      }
      if (running > 0) {
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, deadlineMs)
          onIdle = () => {
            clearTimeout(timer)
            resolve()
          }
        })
      }
      waiting.length = 0
      return size
    }
  }
}
