import { writeSync } from 'node:fs'
import { pause } from './pause.js'

/** How often a line is offered to a pipe that is full, and how long between, before it is dropped. */
const tries = 20
const pauseMs = 1

/**
 * Writes log lines to a file descriptor. A line that the target does not take, because
 * its disk is full or nobody reads, is dropped: serving goes before logging, and the
 * next line is tried again.
 */
export function logSink (fd: number): { write: (line: string) => void } {
  return {
    write (line) {
      let rest: Uint8Array = Buffer.from(line)
      for (let i = 0; i < tries && rest.length > 0; i++) {
        try {
          rest = rest.subarray(writeSync(fd, rest))
        } catch (error) {
          if (Object(error).code !== 'EAGAIN') return
          pause(pauseMs)
        }
      }
    }
  }
}
