/** What is wrong with an empty field, as the end of a sentence that starts with its name. */
export const emptyProblem = 'is empty'

/** The longest description of a token or a role, in characters. */
export const descriptionMaxLength = 200
/** The same in UTF-16 code units. Longer text is rejected unread. */
const descriptionMaxUnits = 2 * descriptionMaxLength

const invisible = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u
/** Every control, format and other invisible character: for `replaceAll`. */
export const everyInvisible = new RegExp(invisible, 'gu')

/** What is wrong with a description, as the end of a sentence that starts with the field's name. */
export function descriptionProblem (description: string): string | undefined {
  if (description.length <= descriptionMaxUnits && description.trim() === '') return emptyProblem
  if (description.length > descriptionMaxUnits || [...description].length > descriptionMaxLength) return `must not be longer than ${descriptionMaxLength} characters`
  if (invisible.test(description)) return 'must be one line without control characters'
}

/** The first visible characters of a text from a client: at most `maxLength`, however long the text is. */
function visibleStart (text: string, maxLength: number): string {
  // Shortened first, to bound the work: a character has at most two UTF-16 units.
  return [...text.slice(0, 2 * maxLength).replaceAll(everyInvisible, '')].slice(0, maxLength).join('')
}

/** The description of a login token: the start of the User-Agent header (RFC 9110, section 10.1.5), without invisible characters. */
export function describeUserAgent (userAgent = ''): string {
  return visibleStart(userAgent, descriptionMaxLength)
}

/** The longest request id in the audit log, in characters. */
const requestIdMaxLength = 128

/**
 * A request id for the audit log; null when it has no visible character. The embedding app
 * creates the id, or lets clients choose it, and it can be a number.
 */
export function describeRequestId (id: unknown): string | null {
  if (typeof id !== 'string' && typeof id !== 'number' && typeof id !== 'bigint') return null
  return visibleStart(String(id), requestIdMaxLength) || null
}
