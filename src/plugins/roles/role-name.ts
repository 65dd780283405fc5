/** The role that may manage roles. It is there from the start, and somebody always has it once somebody had. */
export const adminRole = 'admin'
/** The longest name of a role, in characters. */
export const roleNameMaxLength = 64
/** What a role's name is made of: small ASCII letters, digits and `_ . -`, a letter first. */
export const roleNamePattern = '^[a-z][a-z0-9_.-]*$'

const characters = new RegExp(roleNamePattern)

/** What is wrong with the name of a role, as the end of a sentence that starts with the field's name. */
export function roleNameProblem (name: string): string | undefined {
  if (name.length > roleNameMaxLength) return `must not be longer than ${roleNameMaxLength} characters`
  if (!characters.test(name)) return 'may only contain a-z, 0-9 and _ . -, a letter first'
}
