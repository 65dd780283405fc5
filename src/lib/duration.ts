/** The units of a duration, the longest first, with their lengths in seconds. */
const units = [['days', 86_400], ['hours', 3_600], ['minutes', 60]] as const

/** A duration of two seconds or more for people, rounded down: `7 days`, `36 hours`, `90 minutes`. */
export function describeDuration (seconds: number): string {
  const [unit, length] = units.find(([, length]) => seconds >= 2 * length) ?? ['seconds', 1] as const
  return `${Math.floor(seconds / length)} ${unit}`
}
