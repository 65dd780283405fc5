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

/** What can be seen of the start of a text that a client chose: at most `maxLength` characters, of a text of any length. */
function visibleStart (text: string, maxLength: number): string {
  // Before anything else: a character has two UTF-16 units at most.
  return [...text.slice(0, 2 * maxLength).replaceAll(everyInvisible, '')].slice(0, maxLength).join('')
}

/** The description of a login's token: the start of the User-Agent header (RFC 9110, section 10.1.5), without what nobody can see. */
export function describeUserAgent (userAgent = ''): string {
  return visibleStart(userAgent, descriptionMaxLength)
}

/** The longest request id that is kept, in characters. */
const requestIdMaxLength = 128

/**
 * A request's id as it can be written down; null when there is nothing to write. The app
 * that embeds us makes it, or lets clients choose it, and it need not be a string.
 */
export function describeRequestId (id: unknown): string | null {
  if (typeof id !== 'string' && typeof id !== 'number' && typeof id !== 'bigint') return null
  return visibleStart(String(id), requestIdMaxLength) || null
}
