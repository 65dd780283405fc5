import { statfsSync } from 'node:fs'

/** How long the free space of a disk is taken for unchanged, in milliseconds: looking it up blocks the event loop. */
const cacheMs = 1_000

/** Free space of a disk, in bytes. */
export interface FreeSpace {
  /** As it is now. */
  bytes: () => number
  /** As it was within the last second: for what many requests ask. */
  recentBytes: () => number
}

/**
 * The free space of the disk that a folder is on; infinite where it cannot be looked up.
 *
 * @param now the clock, in milliseconds
 */
export function freeSpaceOf (folder: string, now: () => number): FreeSpace {
  let recent = { bytes: 0, timeMs: -Infinity }

  function bytes (): number {
    try {
      const { bavail, bsize } = statfsSync(folder)
      return bavail * bsize
    } catch {
      return Infinity
    }
  }

  return {
    bytes,
    recentBytes () {
      const timeMs = now()
      // A clock that was set back must not keep the value for longer.
      if (Math.abs(timeMs - recent.timeMs) >= cacheMs) recent = { bytes: bytes(), timeMs }
      return recent.bytes
    }
  }
}
