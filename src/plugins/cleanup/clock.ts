const dayMs = 86_400_000
/** How far the clock may be ahead of the last time that it was plausible, in milliseconds. */
const aheadMaxMs = 30 * dayMs
/** How long the clock must go on from an implausible time before that counts as the right one, in milliseconds: an operator has a week to notice. */
export const doubtMs = 7 * dayMs
/** The resolution of the last plausible time, in milliseconds: at most one write in this time. */
const grainMs = dayMs

/** What is known about the clock. */
export interface ClockState {
  /** When the clock was last plausible. */
  trustedAt: Date
  /** What the clock showed when it became implausible; null while it is plausible. */
  doubtedSince: Date | null
}

/**
 * Whether rows can be deleted by this clock. A clock that is far ahead makes every row look old.
 * It is plausible if the database was in use in the 30 days before, or if it has gone on from the
 * same time for 7 days: then the database was really out of use.
 */
export function isPlausible ({ trustedAt, doubtedSince }: ClockState, now: Date): boolean {
  if (now.getTime() - trustedAt.getTime() <= aheadMaxMs) return true
  return doubtedSince !== null && isSameDoubt(doubtedSince, now) && now.getTime() - doubtedSince.getTime() >= doubtMs
}

/** Whether the clock has gone on since it became implausible; otherwise it has changed once more. */
function isSameDoubt (doubtedSince: Date, now: Date): boolean {
  const sinceMs = now.getTime() - doubtedSince.getTime()
  return sinceMs >= 0 && sinceMs <= aheadMaxMs
}

/** What is known about the clock after it was looked at. The same object where nothing has to be written. */
export function nextState (state: ClockState, now: Date): ClockState {
  const { trustedAt, doubtedSince } = state
  if (isPlausible(state, now)) {
    const isOutdated = now.getTime() - trustedAt.getTime() >= grainMs
    // Never back: a clock that starts in 1970 must not make the right time implausible.
    return isOutdated || doubtedSince !== null ? { trustedAt: isOutdated ? now : trustedAt, doubtedSince: null } : state
  }
  return doubtedSince !== null && isSameDoubt(doubtedSince, now) ? state : { trustedAt, doubtedSince: now }
}
