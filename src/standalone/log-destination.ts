import { writeSync } from 'node:fs'
import { errorCode } from '../lib/error-code.js'
import { sleepSync } from '../lib/sleep-sync.js'

/** How often a line is offered to a pipe that is full, and how long between, before it is dropped. */
const tries = 20
const pauseMs = 1
/** So many characters are not kept back. */
const keptMax = 16_384

/** Where log lines go. */
export interface LogDestination {
  write: (line: string) => void
  /** Writes what was kept back: for the end of the process, and for a fatal line, after which pino asks for it. */
  flushSync: () => void
}

/**
 * Writes log lines to a file descriptor, those of one turn of the event loop at once. What
 * the target does not take, because its disk is full or nobody reads, is dropped: serving
 * goes before logging, and the next lines are tried again.
 */
export function logDestination (fd: number): LogDestination {
  let kept = ''
  let isCutShort = false

  function flushSync (): void {
    // What follows the first half of a line must not become its second.
    let rest: Uint8Array = Buffer.from(isCutShort ? `\n${kept}` : kept)
    kept = ''
    for (let i = 0; i < tries && rest.length > 0; i++) {
      try {
        const written = writeSync(fd, rest)
        isCutShort = written < rest.length
        rest = rest.subarray(written)
      } catch (error) {
        if (errorCode(error) !== 'EAGAIN') return
        sleepSync(pauseMs)
      }
    }
  }

  return {
    write (line) {
      if (kept === '') setImmediate(flushSync)
      kept += line
      if (kept.length > keptMax) flushSync()
    },
    flushSync
  }
}
