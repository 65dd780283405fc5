/** The longest username, in characters. */
export const usernameMaxLength = 64
/** What a username is made of: ASCII letters and digits and `_ . @ + -`. */
export const usernamePattern = '^[A-Za-z0-9_.@+-]+$'

const characters = new RegExp(usernamePattern)

/** What is wrong with a username, as the end of a sentence that starts with the field's name. */
export function usernameProblem (username: string): string | undefined {
  if (username.length > usernameMaxLength) return `must not be longer than ${usernameMaxLength} characters`
  if (!characters.test(username)) return 'may only contain ASCII letters, digits and _ . @ + -'
}

/**
 * The form under which a username is unique and found: without regard to case.
 * `undefined` for a string that no username can be, which therefore nobody has; such
 * a string never reaches a database, so all databases answer alike.
 */
export function canonicalUsername (username: string): string | undefined {
  return usernameProblem(username) === undefined ? username.toLowerCase() : undefined
}
