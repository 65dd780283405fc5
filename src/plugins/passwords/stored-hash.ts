/** What an argon2 hash costs. */
export interface HashParameters {
  /** Memory in KiB. */
  memoryCost: number
  /** Passes over the memory. */
  timeCost: number
  /** Lanes. */
  parallelism: number
}

/** What a stored hash says about itself. Ours are argon2id; the others came with an import. */
export type StoredHash =
  | { algorithm: 'argon2id' | 'argon2i' | 'argon2d', parameters: HashParameters }
  | { algorithm: 'bcrypt' }

/**
 * argon2id with 19 MiB, 2 passes, 1 lane.
 * @see https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html
 */
export const recommendedParameters: HashParameters = { memoryCost: 19_456, timeCost: 2, parallelism: 1 }

// A stored hash is believed only within these bounds: a row that asks for a gigabyte must
// not cost one, nor hold a thread for seconds. They leave room for RFC 9106's second
// recommendation (64 MiB, 3 passes) and 10 times today's work.
const memoryCostMax = 131_072
const parallelismMax = 8
const workMax = 10 * recommendedParameters.memoryCost * recommendedParameters.timeCost
// Each step doubles bcrypt's work: 12, where most systems are, takes some 300 ms of a
// processor, 13 twice that, and an answer should be there within a second.
const bcryptCostMax = 13

/** The bytes of a password that bcrypt looks at. */
export const bcryptPasswordBytes = 72

// The PHC string format. https://github.com/P-H-C/phc-string-format/blob/master/phc-sf-spec.md
const phc = /^\$(argon2(?:id|i|d))\$v=19\$m=([1-9]\d{0,9}),t=([1-9]\d{0,9}),p=([1-9]\d{0,9})\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{22,86})$/
// Of the variants of bcrypt the three that are one algorithm; `$2x$` marks a bug.
const bcrypt = /^\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}$/

/** Longer is no hash in either format. */
const hashMaxLength = 250

/** Base64 as it is written, without padding, and in one way only. */
function isCanonical (text: string): boolean {
  return Buffer.from(text, 'base64').toString('base64').replace(/=+$/, '') === text
}

/** Reads a stored hash; `undefined` when it is none that can be verified, or asks for more than is affordable. */
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
