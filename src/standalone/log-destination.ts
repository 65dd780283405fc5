import { writeSync } from 'node:fs'
import { errorCode } from '../lib/error-code.js'
import { sleepSync } from '../lib/sleep-sync.js'

/** How often a write to a full pipe is tried before the lines are dropped, and the pause between. */
const maxTries = 20
const pauseMs = 1
/** More buffered characters than this are written at once. */
const bufferMaxLength = 16_384

/** Where log lines go. */
export interface LogDestination {
  write: (line: string) => void
  /** Writes the buffered lines: at the end of the process, and after a fatal line (pino calls it). */
  flushSync: () => void
}

/**
 * Writes log lines to a file descriptor, all lines of one turn of the event loop together. Lines
 * that cannot be written, because the disk is full or the reader is slow, are dropped: serving
 * requests is more important than logging. Later lines are tried again.
 */
export function logDestination (fd: number): LogDestination {
  let buffer = ''
  let isLinePartial = false

  function flushSync (): void {
    // A new line must not continue one that was written in part.
    let rest: Uint8Array = Buffer.from(isLinePartial ? `\n${buffer}` : buffer)
    buffer = ''
    for (let i = 0; i < maxTries && rest.length > 0; i++) {
      try {
        const written = writeSync(fd, rest)
        isLinePartial = written < rest.length
        rest = rest.subarray(written)
      } catch (error) {
        if (errorCode(error) !== 'EAGAIN') return
        sleepSync(pauseMs)
      }
    }
  }

  return {
    write (line) {
      if (buffer === '') setImmediate(flushSync)
      buffer += line
      if (buffer.length > bufferMaxLength) flushSync()
    },
    flushSync
  }
}
