/** The longest lifetime of any token that we issue, in seconds: one year. */
export const tokenMaxLifetimeSeconds = 31_536_000
/** How far a clock may run ahead of ours, in seconds. */
export const clockToleranceSeconds = 60

/** The claims of our tokens (RFC 7519, section 4.1; `user_id` is our own). */
export interface TokenClaims {
  user_id: number
  jti: string
  /** Seconds since 1970. */
  iat: number
  /** Seconds since 1970. */
  exp: number
}

/** The result of validating the times of a payload. */
export type ClaimsVerdict = 'valid' | 'invalid' | 'expired'

/**
 * Validates the times of a payload whose signature was verified: `iat` and `exp` must be present
 * and finite, the lifetime one that we issue, `iat` and `nbf` not in the future.
 *
 * @param nowSeconds seconds since 1970, fractions allowed
 * @see RFC 7519, section 4.1.4 (exp), 4.1.5 (nbf), 4.1.6 (iat); RFC 8725, section 3.10
 */
export function validateTimeClaims (payload: object, nowSeconds: number): ClaimsVerdict {
  const { iat, exp, nbf }: { iat?: unknown, exp?: unknown, nbf?: unknown } = payload
  if (!isFinite(iat) || !isFinite(exp)) return 'invalid'
  if (exp <= iat || exp - iat > tokenMaxLifetimeSeconds) return 'invalid'
  const latest = nowSeconds + clockToleranceSeconds
  if (iat > latest) return 'invalid'
  if (nbf !== undefined && (!isFinite(nbf) || nbf > latest)) return 'invalid'
  return exp <= nowSeconds ? 'expired' : 'valid'
}

/** Whether a `user_id` is one that a row can have: a safe positive integer. */
export function isUserId (value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0
}

const uuid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/** Whether a `jti` is one that a row can have: a UUID as we write it (RFC 9562, section 4). */
export function isTokenId (value: unknown): value is string {
  return typeof value === 'string' && uuid.test(value)
}

/** The id that no row has, in place of a `jti` of any other form (RFC 9562, section 5.9). */
export const NIL_UUID = '00000000-0000-0000-0000-000000000000'

function isFinite (value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value)
}
