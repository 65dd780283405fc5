/** The maximum length of a username, in characters. */
export const usernameMaxLength = 64
/**
 * New usernames, as a regular expression: ASCII letters and digits and `_ . @ + -`, but not `-`
 * first, and neither `.` nor `..`. Without lookahead, which some regular expression engines lack.
 */
export const usernamePattern = '^(?:[A-Za-z0-9_@+]|\\.[A-Za-z0-9_@+-]|\\.\\.[A-Za-z0-9_.@+-])[A-Za-z0-9_.@+-]*$'

const characters = /^[A-Za-z0-9_.@+-]+$/

/** What is wrong with the username of an account that may be older than the present rules; `undefined` when nothing is. */
export function existingUsernameProblem (username: string): string | undefined {
  if (username.length > usernameMaxLength) return `must not be longer than ${usernameMaxLength} characters`
  if (!characters.test(username)) return 'may only contain ASCII letters, digits and _ . @ + -'
}

/** What is wrong with a new username, as the end of a sentence that starts with the field's name; `undefined` when nothing is. */
export function usernameProblem (username: string): string | undefined {
  const problem = existingUsernameProblem(username)
  if (problem !== undefined) return problem
  // Clients and proxies resolve these path segments, so that a URL would name another resource.
  if (username === '.' || username === '..') return 'must not be . or ..'
  // A command line would take it for an option.
  if (username.startsWith('-')) return 'must not begin with -'
}

/**
 * The canonical form of a username, under which it is unique and found: in lower case. `undefined`
 * for a string that cannot be a username: it never reaches a database, so that both databases answer alike.
 * Accounts that are older than the present rules are found.
 */
export function canonicalUsername (username: string): string | undefined {
  return existingUsernameProblem(username) === undefined ? username.toLowerCase() : undefined
}
