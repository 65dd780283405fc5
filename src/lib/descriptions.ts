/** The longest description of a token or a role, in characters. */
export const descriptionMaxLength = 200
/** The same in UTF-16 code units: of longer text nothing is looked at. */
const descriptionMaxUnits = 2 * descriptionMaxLength

const invisible = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u
const everyInvisible = new RegExp(invisible, 'gu')

/** What is wrong with a description, as the end of a sentence that starts with the field's name. */
export function descriptionProblem (description: string): string | undefined {
  if (description.length <= descriptionMaxUnits && description.trim() === '') return 'is empty'
  if (description.length > descriptionMaxUnits || [...description].length > descriptionMaxLength) return `must not be longer than ${descriptionMaxLength} characters`
  if (invisible.test(description)) return 'must be one line without control characters'
}

/** The description of a login's token: the start of the User-Agent header (RFC 9110, section 10.1.5), without what nobody can see. */
export function describeUserAgent (userAgent = ''): string {
  return [...userAgent.slice(0, descriptionMaxUnits).replaceAll(everyInvisible, '')].slice(0, descriptionMaxLength).join('')
}
