/** How many characters of a text are examined. */
export const examinedMaxLength = 1_024

/** Words of placeholders in tutorials, templates and `.env.example` files, and of common passwords. */
const placeholderWords = `
  access account actual adipiscing admin administrator algorithm always amet and another any api app application
  are auth authentication authorization awesome backend base base64 baseball based batman battery before below
  better between bit bits brown but byte bytes cafebabe can cannot change changeit changeme char character
  characters chars client cloud code com company confidential config configuration consectetur cookie correct
  could create crypto data database deadbeef default demo deploy dev develop developer development digest docker
  does dog dolor dont dragon dummy edit elit enc encrypt encrypted encryption enough enter entropy env
  environment ever example express fake fastify file fill first foobar football for fox from frontend generate
  generated generator github global good google guess hard hash hashed have hello here hex hidden hmac horse
  hs256 http https hunter identity iloveyou insecure insert instead internal into ipsum its jsonwebtoken jumps
  just jwt keep key keyboard keys latchkey lazy least length let letmein local localhost login long longer lorem
  made main make manager master max min minimum mock monkey more must name need needs nestjs never new nextauth
  ninja nobody node nodejs none not nothing now null number oauth one only openssl our out over overwrite owner
  pass passphrase passwd password passwords paste pepper phrase placeholder please princess private prod product
  production project public put question quick qwerty rand random randomly real really refresh replace replaced
  required rotate safe salt same sample secret secrets secure secured securely security seed server service
  session set settings sha sha256 shadow shared should sign signature signed signing simple sit site some
  something staging staple start starwars store strength string strong submarine sunshine super superman system
  temp temporary test tester testing text than that the then these thing thirty this three todo token tokens too
  trustno1 tutorial two ultra undefined unique unsafe update use used user username users using value variable
  verify very want web webapp website welcome what when where which will with without word words world write xxx
  yellow you your yours
`.trim().split(/\s+/)

/** Digits and signs that replace letters, as in `p4$$w0rd`. */
const lookalikes: Record<string, string> = { 0: 'o', 1: 'i', 3: 'e', 4: 'a', 5: 's', 7: 't', '@': 'a', $: 's', '!': 'i' }
/** Shorter words written with lookalikes occur by chance in random keys. */
const lookalikeWordMinLength = 5

/** Adjacent keys of a keyboard, in rows and in columns. */
const keyboardRows = [
  '1234567890', 'qwertyuiop', 'asdfghjkl', 'zxcvbnm', 'qwertzuiop', 'yxcvbnm', 'azertyuiop', 'qsdfghjklm', 'wxcvbn',
  '1q2w3e4r5t6y7u8i9o0p', 'q1w2e3r4t5y6u7i8o9p0', 'qawsedrftgyhujikolp',
  '1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p', 'qazwsxedcrfvtgbyhnujmikolp', 'zaqxswcdevfrbgtnhymjukilop'
]
/** The signs of the digits 0 to 9 with the shift key. */
const shiftedDigits = ')!@#$%^&*('

/** The shortest repeat, sequence or part of a keyboard row that counts as a pattern. */
const patternLength = 4
/** `a1b2c3d4` interleaves two sequences; so many are found. */
const interleavedMax = 4

/** A part of a text that a guesser would try. */
interface Match { start: number, length: number }

const reverse = (text: string) => [...text].reverse().join('')

/** Every part of a text with this length, in order. */
function windows (text: string, length: number): string[] {
  return Array.from({ length: Math.max(0, text.length - length + 1) }, (_, start) => text.slice(start, start + length))
}

/** A pattern for any of these words. The longest one that matches counts. */
const anyOf = (words: string[]) => new RegExp(words.toSorted((a, b) => b.length - a.length).join('|'), 'g')
const anyWord = anyOf(placeholderWords)
const anyLongWord = anyOf(placeholderWords.filter(({ length }) => length >= lookalikeWordMinLength))

const matchesOf = (text: string, pattern: RegExp): Match[] =>
  [...text.matchAll(pattern)].map(({ 0: { length }, index: start }) => ({ start, length }))

/** Finds words: `secret`. */
const findWords = (text: string): Match[] => matchesOf(text, anyWord)

/** Finds words written with lookalikes: `s3cr3t`. */
function findLookalikeWords (text: string): Match[] {
  return matchesOf(text.replace(/[0134$57@!]/g, (sign) => String(lookalikes[sign])), anyLongWord)
}

const keyboardParts = new Set(keyboardRows.flatMap((row) => [...windows(row, patternLength), ...windows(reverse(row), patternLength)]))

/** Finds adjacent keys, in both directions, with or without the shift key: `qwer`, `rewq`, `!@#$`. */
function findKeyboardRows (text: string): Match[] {
  const unshifted = text.replace(/[!@#$%^&*()]/g, (sign) => String(shiftedDigits.indexOf(sign)))
  return windows(unshifted, patternLength).flatMap((part, start) => keyboardParts.has(part) ? [{ start, length: patternLength }] : [])
}

/** Finds parts that occur earlier in the text, forwards or backwards: the second `x7Gq` of `x7Gqx7Gq`. */
function findRepeats (text: string): Match[] {
  const seen = new Set<string>()
  const parts = windows(text, patternLength)
  return parts.flatMap((part, start) => {
    // A reversed part must not overlap its original: short palindromes occur by chance.
    if (start >= patternLength) seen.add(reverse(String(parts[start - patternLength])))
    const isRepeat = seen.has(part)
    seen.add(part)
    return isRepeat ? [{ start, length: patternLength }] : []
  })
}

/** Whether each of `count` interleaved sequences has a constant step: `abcd`, `8642`, and with 2 of them `a1b2c3d4`. */
function isSequence (text: string, count: number): boolean {
  const step = (i: number) => text.charCodeAt(i) - text.charCodeAt(i - count)
  for (let i = 2 * count; i < text.length; i++) if (step(i) !== step(i - count)) return false
  return true
}

/** Finds sequences, and up to four that are interleaved. */
function findSequences (text: string): Match[] {
  return Array.from({ length: text.length }, (_, start) => start).flatMap((start) => {
    const isLargeStep = Math.abs(text.charCodeAt(start + 1) - text.charCodeAt(start)) > 1
    return Array.from({ length: interleavedMax }, (_, i) => i + 1).flatMap((count) => {
      // A single sequence with a larger step, such as `aceg`, occurs by chance more often.
      const length = count === 1 && isLargeStep ? patternLength + 1 : patternLength * count
      return start + length <= text.length && isSequence(text.slice(start, start + length), count) ? [{ start, length }] : []
    })
  })
}

/**
 * How many characters of a text are left when all words, keyboard rows, repeats and sequences
 * are removed. Reads no more than `examinedMaxLength` characters.
 */
export function unguessableLength (text: string): number {
  // Not toLowerCase(), which changes the length of some texts.
  const lowerCase = text.slice(0, examinedMaxLength).replace(/[A-Z]/g, (letter) => letter.toLowerCase())
  const rest = lowerCase.split('')
  for (const find of [findWords, findLookalikeWords, findKeyboardRows, findRepeats, findSequences]) {
    for (const { start, length } of find(lowerCase)) rest.fill('\0', start, start + length)
  }
  // One or two characters between matches, and separators, count for nothing.
  const parts = rest.join('').split('\0').map((part) => part.replace(/^[-_ .,:;/+=]+|[-_ .,:;/+=]+$/g, ''))
  return parts.reduce((sum, { length }) => length > 2 ? sum + length : sum, 0)
}
