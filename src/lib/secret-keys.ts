import { randomBytes } from 'node:crypto'

/** The least entropy that a key for HS256 must be able to hold, in bytes (RFC 7518, section 3.2). */
export const secretKeyMinBytes = 32
/** Fewer different characters than this is a pattern, not a secret. */
const secretKeyMinVariety = 8

// Keys that stand in tutorials and documentation, long enough to look like one.
const publishedKeys = new Set([
  'a-string-secret-at-least-256-bits-long',
  'a-valid-string-secret-that-is-at-least-512-bits-long-which-is-very-long',
  'your-256-bit-secret-your-256-bit-secret',
  'ad132b10-fa43-4048-ae5b-ab5b0a782c5c',
  '09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7',
  'super-secret-jwt-token-with-at-least-32-characters-long',
  '0123456789abcdef0123456789abcdef',
  '12345678901234567890123456789012',
  'abcdefghijklmnopqrstuvwxyz123456',
  'thisisasecretkeythatislongenough'
])

/** What a secret key must be, as the end of a sentence that starts with the setting's name. */
export const secretKeyRule = `must be a secret of at least ${secretKeyMinBytes} bytes, without spaces around it and from no documentation`

/** Whether a string can be trusted to sign tokens. */
export function isSecretKey (key: string): boolean {
  return Buffer.byteLength(key) >= secretKeyMinBytes &&
    key.trim() === key &&
    new Set(key).size >= secretKeyMinVariety &&
    !publishedKeys.has(key.toLowerCase())
}

/** A fresh secret key: 48 random bytes, in characters that need no quoting anywhere. */
export function createSecretKey (): string {
  return randomBytes(secretKeyMinBytes * 1.5).toString('base64url')
}
