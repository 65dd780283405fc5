import { LoginTooOld } from '../../errors.js'
import type { LoginAge } from '../tokens/repository.js'

/**
 * Rejects a token unless the login with a password that it goes back to is recent. A personal
 * access token goes back to none.
 *
 * @throws {LoginTooOld} 401: a client knows by it that its user must log in
 */
export function rejectOldLogin ({ kind, ageSeconds }: LoginAge, maxAgeSeconds: number): void {
  if (kind === 'personal' || ageSeconds > maxAgeSeconds) throw new LoginTooOld(maxAgeSeconds)
}
