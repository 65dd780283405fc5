import { randomBytes } from 'node:crypto'

// Time-based one-time passwords as every authenticator app makes them (RFC 6238): SHA-1, six
// digits, steps of 30 seconds.

const secretBytes = 20
const stepSeconds = 30
const digits = 6
/** How many steps before and after the present one are accepted: clocks differ (RFC 6238, section 5.2). */
const window = 1
/** What an authenticator app shows above a code, where the app has no PUBLIC_URL. */
const defaultIssuer = 'Latchkey'

/** Whether a text has the form of such a code. */
export function isTotpCode (code: string): boolean {
  return /^[0-9]{6}$/.test(code)
}

/** Creates a secret: 160 bits (RFC 4226, section 4, requirement 6). */
export function createTotpSecret (): Buffer {
  return randomBytes(secretBytes)
}

/** The library with a secret. It is loaded when it is first needed: most logins have no second factor. */
async function totpOf (secret: Buffer, { issuer, label }: { issuer?: string, label?: string } = {}) {
  const { Secret, TOTP } = await import('otpauth')
  return new TOTP({ issuer, label, secret: new Secret({ buffer: Uint8Array.from(secret).buffer }), algorithm: 'SHA1', digits, period: stepSeconds })
}

/**
 * A secret as people and apps read it: base32, and the URI of a QR code.
 *
 * @param options.publicUrl its host is the name of the app
 * @see https://github.com/google/google-authenticator/wiki/Key-Uri-Format
 */
export async function describeTotp (secret: Buffer, { username, publicUrl }: { username: string, publicUrl?: string }): Promise<{ secret: string, uri: string }> {
  const issuer = publicUrl === undefined ? defaultIssuer : new URL(publicUrl).host
  const totp = await totpOf(secret, { issuer, label: username })
  return { secret: totp.secret.base32, uri: totp.toString() }
}

/** The time step of a code; `undefined` when it is not a code of about now. */
export async function stepOf (secret: Buffer, code: string, nowMs: number): Promise<number | undefined> {
  if (!isTotpCode(code)) return undefined
  const totp = await totpOf(secret)
  const delta = totp.validate({ token: code, timestamp: nowMs, window })
  return delta === null ? undefined : totp.counter({ timestamp: nowMs }) + delta
}
