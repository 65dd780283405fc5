import { ValidationFailed } from '../../errors.js'
import { emailProblem } from './email.js'
import type { User } from './user.js'

// A username with @ in it is an address: nobody takes a stranger's address for a name. Accounts
// that are older than this rule keep their names.

/** Whether a username and an email are one address, in any case. A look-alike such as U+212A for k has only one of the two forms in common. */
function isSameAddress (username: string, email: string): boolean {
  return username.toLowerCase() === email.toLowerCase() && username.toUpperCase() === email.toUpperCase()
}

/**
 * What is wrong with a new username of an account with this email, as the end of a sentence that
 * starts with the field's name; `undefined` when nothing is. Both are valid by themselves.
 */
export function usernameAddressProblem (username: string, email: string | null): string | undefined {
  if (!username.includes('@')) return undefined
  const isOwn = email === null ? emailProblem(username) === undefined : isSameAddress(username, email)
  return isOwn ? undefined : 'must be the email of the account if it contains @'
}

/** The email of an account whose username has been checked: the address in the username where it has no other. */
export function emailOfAccount (username: string, email: string | null): string | null {
  return email ?? (username.includes('@') ? username : null)
}

/**
 * Checks a new username against the email of the account.
 *
 * @returns the email of the account
 * @throws {ValidationFailed} the username contains @ and is not the email
 */
export function requireOwnAddress (username: string, email: string | null): string | null {
  const problem = usernameAddressProblem(username, email)
  if (problem !== undefined) throw new ValidationFailed([{ field: 'username', message: `username ${problem}` }])
  return emailOfAccount(username, email)
}

/**
 * What is wrong with a new email of an account, as the end of a sentence that starts with the
 * field's name: a username that is its email needs it.
 */
export function emailChangeProblem ({ username, email: current }: Pick<User, 'username' | 'email'>, email: string | null): string | undefined {
  const isUsername = (address: string | null) => address !== null && isSameAddress(username, address)
  return isUsername(current) && !isUsername(email) ? 'must be the username, which is an address: change the username first' : undefined
}
