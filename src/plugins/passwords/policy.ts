import { readFileSync } from 'node:fs'
import type { ResolvedOptions } from '../../options.js'
import { canonicalEmail } from '../users/email.js'

/** The longest password, in characters: bounds the work of hashing, far above NIST's 64 (SP 800-63B, section 3.1.1.2). */
export const passwordMaxLength = 256

/**
 * The longest password as it is sent, in UTF-16 code units: longer text is rejected unread,
 * because the time to normalize it grows with the square of its length. A character that is
 * counted is at most four units before NFC composes it (a Greek letter and three marks; the
 * few of Gurung Khema that are six never stand alone).
 */
export const passwordMaxUnits = 4 * passwordMaxLength

const tooLong = `must not be longer than ${passwordMaxLength} characters`

/** The operator's rules for new passwords. */
export interface PasswordPolicy {
  /** The fewest characters (Unicode code points after NFC). */
  minLength: number
  /** Whether the passwords of the bundled list of common passwords are rejected. */
  blocklist: boolean
}

/** The policy that the options choose. */
export function passwordPolicyOf ({ passwordMinLength, passwordBlocklist }: Pick<ResolvedOptions, 'passwordMinLength' | 'passwordBlocklist'>): PasswordPolicy {
  return { minLength: passwordMinLength, blocklist: passwordBlocklist === 'on' }
}

/**
 * The form of a password that is counted and hashed: Unicode NFC, so that the same
 * characters typed on another keyboard are the same password (NIST SP 800-63B, section
 * 3.1.1.2). Nothing is trimmed or cut.
 *
 * @throws {RangeError} it is longer than any password
 */
export function canonicalPassword (password: string): string {
  if (password.length > passwordMaxUnits) throw new RangeError(`a password ${tooLong}`)
  return password.normalize('NFC')
}

/**
 * What is wrong with a password at login, as the end of a sentence that starts with the field's
 * name. The rules for new passwords do not apply here: they may be stricter than when it was set.
 */
export function passwordProblem (password: string): string | undefined {
  if (password.length > passwordMaxUnits) return tooLong
  // Hashing encodes to UTF-8, where every lone surrogate becomes the same U+FFFD:
  // different passwords would be one.
  if (!password.isWellFormed()) return 'is not valid Unicode'
  // bcrypt repeats the password with a NUL after each copy: to a hash of "P", "P\0P" is the same.
  if (password.includes('\0')) return 'must not contain NUL'
  if ([...canonicalPassword(password)].length > passwordMaxLength) return tooLong
}

/** The same for a new password, with the rules of the policy. There are no composition rules (OWASP Authentication Cheat Sheet). */
export function newPasswordProblem (password: string, policy: PasswordPolicy): string | undefined {
  const problem = passwordProblem(password)
  if (problem !== undefined) return problem
  const canonical = canonicalPassword(password)
  if ([...canonical].length < policy.minLength) return `must be at least ${policy.minLength} characters long`
  if (policy.blocklist && commonPasswords().has(canonical.toLowerCase())) return 'is one of the most common passwords'
}

/** The same for a password that is its owner's username or email: attackers try these first. */
export function personalPasswordProblem (password: string, { username, email }: { username: string, email: string | null }): string | undefined {
  const canonical = canonicalPassword(password).toLowerCase()
  if (canonical === username.toLowerCase()) return 'must not be the username'
  if (email !== null && canonical === canonicalEmail(email)) return 'must not be the email'
}

let common: ReadonlySet<string> | undefined

/** The bundled list, read at its first use. The file's header names its source and licence. */
function commonPasswords (): ReadonlySet<string> {
  common ??= new Set(readFileSync(new URL('../../data/common-passwords.txt', import.meta.url), 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#')))
  return common
}
