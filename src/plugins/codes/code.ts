import { createHash, randomBytes } from 'node:crypto'

// A one-time code: 24 characters of Crockford's base32, 120 random bits. Nobody guesses it, so
// its hash needs neither a salt nor a slow function.

/** Without I, L, O and U. https://www.crockford.com/base32.html */
const alphabet = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
const codeLength = 24
/** More than any code with a dash after each character: longer text is rejected unread. */
export const codeMaxLength = 64

/** Creates a code. */
export function createCode (): string {
  // 256 is a multiple of 32: each character is equally likely.
  return Array.from(randomBytes(codeLength), (byte) => alphabet[byte % alphabet.length]).join('')
}

/**
 * The hash of a code, under which it is stored: SHA-256 in base64url. Case, dashes and spaces do
 * not count; O stands for 0, I and L for 1. `undefined` for a text that cannot be a code.
 */
export function hashCode (text: string): string | undefined {
  if (text.length > codeMaxLength) return undefined
  // In other scripts there are letters whose upper case is one of these.
  if (!/^[\w -]*$/.test(text)) return undefined
  const code = text.replace(/[- ]/g, '').toUpperCase().replaceAll('O', '0').replace(/[IL]/g, '1')
  if (code.length !== codeLength || [...code].some((character) => !alphabet.includes(character))) return undefined
  return createHash('sha256').update(code).digest('base64url')
}
