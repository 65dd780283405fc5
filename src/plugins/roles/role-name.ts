/** The role that may manage users and roles. It always exists, and its last holder whose account is enabled cannot lose it. */
export const adminRole = 'admin'
/** The maximum length of a role's name, in characters. */
export const roleNameMaxLength = 64
/** The names of roles, as a regular expression: lower-case ASCII letters, digits and `_ . -`, a letter first. */
export const roleNamePattern = '^[a-z][a-z0-9_.-]*$'

const characters = new RegExp(roleNamePattern)

/** What is wrong with a role's name, as the end of a sentence that starts with the field's name; `undefined` when nothing is. */
export function roleNameProblem (name: string): string | undefined {
  if (name.length > roleNameMaxLength) return `must not be longer than ${roleNameMaxLength} characters`
  if (!characters.test(name)) return 'may only contain a-z, 0-9 and _ . -, a letter first'
}
