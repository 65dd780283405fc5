import { verify } from '@node-rs/argon2'
import { bytesProblem, type HashParameters, type HashProblem, type StoredHash } from './hash-format.js'

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
/** Each pass starts and awaits threads, which takes longer than to fill little memory: 10,000 passes of 4 lanes take seconds. */
const timeCostMax = 1_000

// The PHC string format. https://github.com/P-H-C/phc-string-format/blob/master/phc-sf-spec.md
const phc = /^\$argon2(id|i|d)\$v=19\$m=([1-9]\d*),t=([1-9]\d*),p=([1-9]\d*)\$([^$]*)\$([^$]*)$/

function costProblem ({ memoryCost, timeCost, parallelism }: HashParameters): string | undefined {
  if (memoryCost > memoryCostMax) return `costs too much: m must be at most ${memoryCostMax} (128 MiB)`
  if (parallelism > parallelismMax) return `costs too much: p must be at most ${parallelismMax}`
  if (timeCost > timeCostMax) return `costs too much: t must be at most ${timeCostMax}`
  if (memoryCost * timeCost > workMax) return `costs too much: m times t must be at most ${workMax}`
  // RFC 9106, section 3.1: each lane needs 8 KiB.
  if (memoryCost < 8 * parallelism) return 'has parameters that argon2 does not permit: m must be at least 8 times p'
}

/** Parses argon2 in PHC form. */
export function parseArgon2 (hash: string): StoredHash | HashProblem | undefined {
  if (!/^\$argon2(?:id|i|d)\$/.test(hash)) return undefined
  const [whole, variant, memory, time, lanes, salt = '', digest = ''] = phc.exec(hash) ?? []
  if (whole === undefined) return { problem: 'is no argon2 hash of version 19: $argon2id$v=19$m=…,t=…,p=…$<salt>$<hash>' }
  const parameters = { memoryCost: Number(memory), timeCost: Number(time), parallelism: Number(lanes) }
  const problem = costProblem(parameters) ?? bytesProblem('salt', salt, 8, 64) ?? bytesProblem('hash', digest, 16, 64)
  if (problem !== undefined) return { problem }
  const algorithm = variant === 'id' ? 'argon2id' : variant === 'i' ? 'argon2i' : 'argon2d'
  return { algorithm, parameters, verify: (password) => verify(hash, password) }
}
