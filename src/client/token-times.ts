/** When a token was issued and when it expires, in seconds since 1970. */
export interface TokenTimes {
  iat: number
  exp: number
}

/** The times that a JSON Web Token says; undefined where it cannot be read. Nothing is verified: that is for the server. */
export function timesOf (token: string): TokenTimes | undefined {
  try {
    // Base64url (RFC 4648, section 5); a payload of Latchkey is ASCII.
    const { iat, exp }: { iat?: unknown, exp?: unknown } = JSON.parse(atob(String(token.split('.')[1]).replaceAll('-', '+').replaceAll('_', '/')))
    return typeof iat === 'number' && typeof exp === 'number' ? { iat, exp } : undefined
  } catch {
    return undefined
  }
}

/** Whether more than half of a lifetime is over. */
export function isHalfOver ({ iat, exp }: TokenTimes): boolean {
  return Date.now() / 1_000 > (iat + exp) / 2
}
