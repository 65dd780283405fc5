import { emptyProblem } from '../../lib/single-line.js'

/** The maximum length of an email address, in characters (RFC 5321, section 4.5.3.1.3, less the angle brackets). */
export const emailMaxLength = 254
/** The same in UTF-16 code units: longer text is rejected unread. */
const emailMaxUnits = 2 * emailMaxLength

// One address, user@host: a local part without spaces, controls, format characters, surrogates
// or the characters that would make it a list or a display name (RFC 5322, section 3.4); a host of
// dot-separated labels (RFC 5321, section 4.1.2), in any script (RFC 6531).
const address = /^[^\s\p{C}\p{Z}@<>()[\]\\,;:"]+@[\p{L}\p{M}\p{N}]+(?:[.-]+[\p{L}\p{M}\p{N}]+)*$/u

/** What is wrong with an email address, as the end of a sentence that starts with the field's name; `undefined` when nothing is. */
export function emailProblem (email: string): string | undefined {
  if (email === '') return emptyProblem
  // A character has one or two units: only text that may be short enough is counted.
  if (email.length > emailMaxUnits || [...email].length > emailMaxLength) return `must not be longer than ${emailMaxLength} characters`
  if (!address.test(email) || email.includes('..')) return 'must be one address like user@example.com'
}

/**
 * The canonical form of an email address, under which it is unique: composed (NFC), in lower case.
 *
 * @throws {RangeError} it is longer than any address
 */
export function canonicalEmail (email: string): string {
  if (email.length > emailMaxUnits) throw new RangeError(`an email must not be longer than ${emailMaxLength} characters`)
  return email.normalize('NFC').toLowerCase()
}
