import { everyInvisible } from './single-line.js'

/** How much of a text from outside a message repeats, in characters. */
const shownMaxLength = 40

/**
 * A text from outside, for a message of one line: in quotation marks, cut after 40 characters,
 * and with control characters and other invisible ones escaped, such as `\u{1b}`.
 */
export function printable (text: string): string {
  // Shortened first, to bound the work: a character has at most two UTF-16 units.
  const characters = [...text.slice(0, 2 * shownMaxLength + 2)]
  const shown = characters.slice(0, shownMaxLength).join('').replaceAll(everyInvisible, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`)
  return `"${shown}${characters.length > shownMaxLength ? '…' : ''}"`
}

/** White space of Unicode, and what looks like it at the end of a copied text: zero-width characters and byte order marks. */
const spaceAround = /^[\s\u0085\u180e\u200b-\u200d\u2060]|[\s\u0085\u180e\u200b-\u200d\u2060]$/

/** Whether a text begins or ends with white space. */
export function hasSpaceAround (text: string): boolean {
  return spaceAround.test(text)
}
