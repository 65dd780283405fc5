import { randomUUID } from 'node:crypto'

/** What an argon2 hash costs. */
export interface HashParameters {
  /** Memory in KiB. */
  memoryCost: number
  /** Passes over the memory. */
  timeCost: number
  /** Lanes. */
  parallelism: number
}

/** The algorithm and parameters of a stored hash. Ours are argon2id; the others were imported. */
export type StoredHash =
  | { algorithm: 'argon2id' | 'argon2i' | 'argon2d', parameters: HashParameters }
  | { algorithm: 'bcrypt' }

/** What the hash of an account without a password begins with: no hash does. */
const noPasswordMark = '!'

/** The stored value of an account without a password: another one for each account. */
export function createNoPassword (): string {
  return `${noPasswordMark}${randomUUID()}`
}

/** Whether a stored value is that of an account without a password. */
export function isNoPassword (hash: string): boolean {
  return hash.startsWith(noPasswordMark)
}

/**
 * argon2id with 19 MiB, 2 passes, 1 lane.
 * @see https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html
 */
export const recommendedParameters: HashParameters = { memoryCost: 19_456, timeCost: 2, parallelism: 1 }

// A stored hash is verified only within these bounds: a manipulated row must neither allocate a
// gigabyte nor block a thread for seconds. They leave room for RFC 9106's second recommendation
// (64 MiB, 3 passes) and 10 times today's work.
const memoryCostMax = 131_072
const parallelismMax = 8
const workMax = 10 * recommendedParameters.memoryCost * recommendedParameters.timeCost
// Each step doubles bcrypt's work: 12, the usual cost, takes some 300 ms of processor time, 13
// twice that, and an answer should be there within a second.
const bcryptCostMax = 13

/** How many bytes of a password bcrypt uses. */
export const bcryptPasswordBytes = 72

// The PHC string format. https://github.com/P-H-C/phc-string-format/blob/master/phc-sf-spec.md
const phc = /^\$(argon2(?:id|i|d))\$v=19\$m=([1-9]\d{0,9}),t=([1-9]\d{0,9}),p=([1-9]\d{0,9})\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{22,86})$/
// Of the variants of bcrypt the three that are one algorithm; `$2x$` marks a bug.
const bcrypt = /^\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}$/

/** Longer texts are a hash in neither format. */
const hashMaxLength = 250

/** Whether a text is base64 in its canonical form, without padding. */
function isCanonical (text: string): boolean {
  return Buffer.from(text, 'base64').toString('base64').replace(/=+$/, '') === text
}

/** Parses a stored hash; `undefined` when it cannot be verified, or its parameters exceed the bounds. */
export function parseHash (hash: string): StoredHash | undefined {
  if (hash.length > hashMaxLength) return undefined
  const [, bcryptCost] = bcrypt.exec(hash) ?? []
  if (bcryptCost !== undefined) return Number(bcryptCost) >= 4 && Number(bcryptCost) <= bcryptCostMax ? { algorithm: 'bcrypt' } : undefined

  const [, variant, memory, time, lanes, salt = '', digest = ''] = phc.exec(hash) ?? []
  const [memoryCost = 0, timeCost = 0, parallelism = 0] = [memory, time, lanes].map(Number)
  // RFC 9106, section 3.1: each lane needs 8 KiB.
  const isPossible = memoryCost >= 8 * parallelism && isCanonical(salt) && isCanonical(digest)
  const isAffordable = memoryCost <= memoryCostMax && parallelism <= parallelismMax && memoryCost * timeCost <= workMax
  if (!isAffordable || !isPossible) return undefined
  const parameters = { memoryCost, timeCost, parallelism }
  if (variant === 'argon2id' || variant === 'argon2i' || variant === 'argon2d') return { algorithm: variant, parameters }
}
