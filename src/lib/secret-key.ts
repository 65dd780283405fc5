import { randomBytes } from 'node:crypto'

/** The least entropy that a key for HS256 must be able to hold, in bytes (RFC 7518, section 3.2). */
export const secretKeyMinBytes = 32
/** Fewer different characters than this is a pattern, not a secret. */
const secretKeyMinVariety = 8
/**
 * How many characters must be left when everything guessable has been struck out: more than
 * the half of a key that consists of the same 16 characters twice. Of three million random
 * keys of 32 hexadecimal digits none had fewer left; a million UUIDs and a million keys in
 * Base64 had at least 18.
 */
const unguessableMinLength = 17
/** How much of a key is looked at, in characters. */
const inspectedMaxLength = 1_024

// Keys that stand in tutorials and documentation, long enough to look like one.
const publishedKeys = new Set([
  'a-string-secret-at-least-256-bits-long',
  'a-valid-string-secret-that-is-at-least-512-bits-long-which-is-very-long',
  'your-256-bit-secret-your-256-bit-secret',
  'ad132b10-fa43-4048-ae5b-ab5b0a782c5c',
  '09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7',
  'super-secret-jwt-token-with-at-least-32-characters-long',
  '31415926535897932384626433832795',
  '404e635266556a586e3272357538782f413f4428472b4b6250645367566b5970',
  'aym1sysppbydfgzld3umj1qzkobwvmkoqq-estjqlr_t-1qs0gzh75aktmn3yj0ips4hcguutwjazzr1z9caow',
  'wjalrxutnfemi/k7mdeng/bpxrficyexamplekey',
  '123e4567-e89b-12d3-a456-426614174000',
  '550e8400-e29b-41d4-a716-446655440000',
  '6ba7b810-9dad-11d1-80b4-00c04fd430c8',
  'f47ac10b-58cc-4372-a567-0e02b2c3d479'
])

/** What stands in the place of a key in tutorials, templates and `.env.example` files, and in passwords. */
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

/** Digits and signs that are written for letters. */
const lookalikes: Record<string, string> = { 0: 'o', 1: 'i', 3: 'e', 4: 'a', 5: 's', 7: 't', '@': 'a', $: 's', '!': 'i' }
/** With so many letters a word is one also where it is written with lookalikes. */
const lookalikeMinLength = 5

/** The longest first: what several words match counts as the longest. */
const anyOf = (words: string[]) => new RegExp(words.toSorted((a, b) => b.length - a.length).join('|'), 'g')
const words = anyOf(placeholderWords)
const longWords = anyOf(placeholderWords.filter(({ length }) => length >= lookalikeMinLength))

/** Keys that lie beside each other, in rows and in columns. */
const keyboardRows = [
  '1234567890', 'qwertyuiop', 'asdfghjkl', 'zxcvbnm', 'qwertzuiop', 'yxcvbnm', 'azertyuiop', 'qsdfghjklm', 'wxcvbn',
  '1q2w3e4r5t6y7u8i9o0p', 'q1w2e3r4t5y6u7i8o9p0', 'qawsedrftgyhujikolp',
  '1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p', 'qazwsxedcrfvtgbyhnujmikolp', 'zaqxswcdevfrbgtnhymjukilop'
]
/** The digits with the shift key held, from 0 to 9. */
const shiftedDigits = ')!@#$%^&*('
/** So many characters that are repeated, or in a row, are a pattern. */
const patternLength = 4
/** Sequences can be interleaved, as in `a1b2c3d4`. */
const interleavedMax = 4

const reverse = (text: string) => [...text].reverse().join('')
const partsOf = (text: string) => Array.from({ length: Math.max(0, text.length - patternLength + 1) }, (_, i) => text.slice(i, i + patternLength))
const keyboardParts = new Set(keyboardRows.flatMap((row) => [...partsOf(row), ...partsOf(reverse(row))]))

/**
 * Of how many characters of a key nobody can say why they stand there: it is neither in a
 * word that placeholders are made of, nor in something that stood before, forwards or
 * backwards, nor in a sequence, nor in a row of a keyboard.
 */
function unguessableLength (key: string): number {
  const text = key.slice(0, inspectedMaxLength).replace(/[A-Z]/g, (letter) => letter.toLowerCase())
  const isGuessable = new Array<boolean>(text.length).fill(false)
  const strikeOut = (start: number, length: number) => { isGuessable.fill(true, start, start + length) }

  for (const { 0: word, index } of text.matchAll(words)) strikeOut(index, word.length)
  const spelled = text.replace(/[0134$57@!]/g, (sign) => String(lookalikes[sign]))
  for (const { 0: word, index } of spelled.matchAll(longWords)) strikeOut(index, word.length)

  const typed = text.replace(/[!@#$%^&*()]/g, (sign) => String(shiftedDigits.indexOf(sign)))
  for (const [i, part] of partsOf(typed).entries()) if (keyboardParts.has(part)) strikeOut(i, patternLength)

  const seen = new Set<string>()
  const parts = partsOf(text)
  for (const [i, part] of parts.entries()) {
    // Backwards it must have ended before this begins: short palindromes are chance.
    if (i >= patternLength) seen.add(reverse(String(parts[i - patternLength])))
    if (seen.has(part)) strikeOut(i, patternLength)
    seen.add(part)
  }

  // A sequence goes on by the same step: what changes its steps adds up to nothing.
  const code = (i: number) => text.charCodeAt(i)
  for (let stride = 1; stride <= interleavedMax; stride++) {
    let count = 0
    for (let i = 2 * stride; i < text.length; i++) {
      const step = code(i) - code(i - stride)
      count = step === code(i - stride) - code(i - 2 * stride) ? count + 1 : 0
      // Steps other than one up, one down or none are chance more often.
      const needed = stride > 1 ? 2 * stride : Math.abs(step) > 1 ? patternLength - 1 : patternLength - 2
      if (count >= needed) strikeOut(i - needed - 2 * stride + 1, needed + 2 * stride)
    }
  }

  // Between two words a hyphen or an article may be left, which is nothing.
  const left = text.replace(/[^]/g, (character, i) => isGuessable[i] === true ? '\0' : character)
  const rests = left.split('\0').map((rest) => rest.replace(/^[-_ .,:;/+=]+|[-_ .,:;/+=]+$/g, '').length)
  return rests.reduce((sum, length) => length > 2 ? sum + length : sum, 0)
}

/** What a secret key must be, as the end of a sentence that starts with the setting's name. */
export const secretKeyRule = `must be a secret of at least ${secretKeyMinBytes} bytes, without spaces around it, from no documentation, and not made of words, repeats or sequences`

/** Whether a key is the hexadecimal or Base64 form of a text that can be guessed. */
function encodesGuessable (key: string): boolean {
  return (['hex', 'base64'] as const).some((encoding) => {
    const text = Buffer.from(key.slice(0, inspectedMaxLength), encoding).toString('latin1')
    return /^[\x20-\x7e]{16,}$/.test(text) && unguessableLength(text) < text.length / 2
  })
}

/** Whether a string can be trusted to sign tokens. */
export function isSecretKey (key: string): boolean {
  return Buffer.byteLength(key) >= secretKeyMinBytes &&
    key.trim() === key &&
    new Set(key).size >= secretKeyMinVariety &&
    !publishedKeys.has(key.toLowerCase()) &&
    unguessableLength(key) >= unguessableMinLength &&
    !encodesGuessable(key)
}

/** A fresh secret key: 48 random bytes, in characters that need no quoting anywhere. */
export function createSecretKey (): string {
  return randomBytes(secretKeyMinBytes * 1.5).toString('base64url')
}
