/** The longest username, in characters. */
export const usernameMaxLength = 64
/**
 * What a new username is made of: ASCII letters and digits and `_ . @ + -`. It does not begin
 * with `-` and is neither `.` nor `..`. Written without lookahead, which not every regular
 * expression engine has.
 */
export const usernamePattern = '^(?:[A-Za-z0-9_@+]|\\.[A-Za-z0-9_@+-]|\\.\\.[A-Za-z0-9_.@+-])[A-Za-z0-9_.@+-]*$'

const characters = /^[A-Za-z0-9_.@+-]+$/

/** What is wrong with a username that an account may have from before there were more rules for new ones. */
export function existingUsernameProblem (username: string): string | undefined {
  if (username.length > usernameMaxLength) return `must not be longer than ${usernameMaxLength} characters`
  if (!characters.test(username)) return 'may only contain ASCII letters, digits and _ . @ + -'
}

/** What is wrong with a new username, as the end of a sentence that starts with the field's name. */
export function usernameProblem (username: string): string | undefined {
  const problem = existingUsernameProblem(username)
  if (problem !== undefined) return problem
  // In a URL they are path segments that clients and proxies resolve: another resource is named.
  if (username === '.' || username === '..') return 'must not be . or ..'
  // On a command line it is an option.
  if (username.startsWith('-')) return 'must not begin with -'
}

/**
 * The form under which a username is unique and found: without regard to case.
 * `undefined` for a string that no username can be, which therefore nobody has; such
 * a string never reaches a database, so all databases answer alike. Accounts that were made
 * under earlier rules are found.
 */
export function canonicalUsername (username: string): string | undefined {
  return existingUsernameProblem(username) === undefined ? username.toLowerCase() : undefined
}
