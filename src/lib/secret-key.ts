import { randomBytes } from 'node:crypto'
import { examinedMaxLength, unguessableLength } from './guessable-text.js'

/** The shortest key for HS256, in bytes (RFC 7518, section 3.2). */
const secretKeyMinBytes = 32
/** A key must have at least so many different characters. */
const secretKeyMinVariety = 8
/**
 * How many characters of a key must be unguessable: more than one half of a key that repeats
 * 16 characters. Three million random keys of 32 hexadecimal digits all have at least 17; a
 * million UUIDs and a million keys in Base64 have at least 18.
 */
const unguessableMinLength = 17

/** Keys of tutorials and documentation that look random, in lower case. */
const publishedKeys = new Set([
  'a-string-secret-at-least-256-bits-long',
  'a-valid-string-secret-that-is-at-least-512-bits-long-which-is-very-long',
  'your-256-bit-secret-your-256-bit-secret',
  'ad132b10-fa43-4048-ae5b-ab5b0a782c5c',
  '09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7',
  'super-secret-jwt-token-with-at-least-32-characters-long',
  '31415926535897932384626433832795',
  '404e635266556a586e3272357538782f413f4428472b4b6250645367566b5970',
  'aym1sysppbydfgzld3umj1qzkobwvmkoqq-estjqlr_t-1qs0gzh75aktmn3yj0ips4hcguutwjazzr1z9caow',
  'wjalrxutnfemi/k7mdeng/bpxrficyexamplekey',
  '123e4567-e89b-12d3-a456-426614174000',
  '550e8400-e29b-41d4-a716-446655440000',
  '6ba7b810-9dad-11d1-80b4-00c04fd430c8',
  'f47ac10b-58cc-4372-a567-0e02b2c3d479'
])

/** What a secret key must be, as the end of a sentence that starts with the setting's name. */
export const secretKeyRule = `must be a secret of at least ${secretKeyMinBytes} bytes, without spaces around it, from no documentation, and not made of words, repeats or sequences`

/** Whether a key is the hexadecimal or Base64 form of a guessable text. */
function encodesGuessableText (key: string): boolean {
  return (['hex', 'base64'] as const).some((encoding) => {
    const text = Buffer.from(key.slice(0, examinedMaxLength), encoding).toString('latin1')
    return /^[\x20-\x7e]{16,}$/.test(text) && unguessableLength(text) < text.length / 2
  })
}

/** Whether a key is long enough and looks random: false for every key that `secretKeyRule` rules out. */
export function isSecretKey (key: string): boolean {
  return Buffer.byteLength(key) >= secretKeyMinBytes &&
    key.trim() === key &&
    new Set(key).size >= secretKeyMinVariety &&
    !publishedKeys.has(key.toLowerCase()) &&
    unguessableLength(key) >= unguessableMinLength &&
    !encodesGuessableText(key)
}

/** Creates a secret key: 48 random bytes in base64url, which needs no quoting anywhere. */
export function createSecretKey (): string {
  return randomBytes(secretKeyMinBytes * 1.5).toString('base64url')
}
