/** The longest description of a token or a role, in characters. */
export const descriptionMaxLength = 200

const invisible = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u
const everyInvisible = new RegExp(invisible, 'gu')

/** What is wrong with a description, as the end of a sentence that starts with the field's name. */
export function descriptionProblem (description: string): string | undefined {
  if (description.trim() === '') return 'is empty'
  if ([...description].length > descriptionMaxLength) return `must not be longer than ${descriptionMaxLength} characters`
  if (invisible.test(description)) return 'must be one line without control characters'
}

/** The description of a login's token: the start of the User-Agent header (RFC 9110, section 10.1.5), without what nobody can see. */
export function describeUserAgent (userAgent = ''): string {
  return [...userAgent.replaceAll(everyInvisible, '')].slice(0, descriptionMaxLength).join('')
}
