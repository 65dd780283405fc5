import type { SQL } from 'drizzle-orm'
import type { FastifyInstance } from 'fastify'
import type { IssuedLink } from './issued-link.js'

/** How long the code of an admin or the command line is valid, in seconds: 24 hours. */
export const resetLifetimeSeconds = 86_400
/** The shortest and the longest lifetime that an admin can choose for a code, in seconds: a minute and a week. */
export const resetLifetimeMinSeconds = 60
export const resetLifetimeMaxSeconds = 604_800
/** How long a mailed code is valid, in seconds. */
export const mailedResetLifetimeSeconds = 3_600

/**
 * Creates the code with which a user sets a new password. Older ones are not valid any longer.
 *
 * @param options.pauseMs creates none if there is a younger one
 * @param options.condition must hold for the user's row
 * @returns undefined when none was created, or there is no such user
 */
export async function issuePasswordReset ({ codes }: Pick<FastifyInstance, 'codes'>, userId: number, { lifetimeSeconds = resetLifetimeSeconds, ...options }: { lifetimeSeconds?: number, pauseMs?: number, condition?: SQL } = {}): Promise<IssuedLink | undefined> {
  const issued = await codes.issue({ kind: 'password_reset', userId, lifetimeSeconds }, options)
  return issued && { ...issued, url: codes.urlOf('password_reset', issued.code) }
}
