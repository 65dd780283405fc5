import { type BinaryLike, scrypt, type ScryptOptions, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'
import { bytesOf, bytesProblem, type HashProblem, type StoredHash, unpadded } from './hash-format.js'

/** What a scrypt hash costs (RFC 7914, section 2). */
export interface ScryptCost {
  /** The logarithm of N, to the base 2. */
  ln: number
  r: number
  p: number
}

// OWASP's recommendations are all within these bounds; the first of them (ln=17, r=8, p=1) takes
// 128 MiB and some 300 ms of processor time, the most that is permitted.
const memoryMaxBytes = 134_217_728
const workMax = 2 ** 20
const [rMax, pMax] = [32, 16]

const derive: (password: BinaryLike, salt: BinaryLike, length: number, options: ScryptOptions) => Promise<Buffer> = promisify(scrypt)

/** What is wrong with the cost of a scrypt hash; `undefined` when nothing is. */
export function scryptCostProblem ({ ln, r, p }: ScryptCost): string | undefined {
  if (r > rMax) return `costs too much: r must be at most ${rMax}`
  if (p > pMax) return `costs too much: p must be at most ${pMax}`
  if (128 * 2 ** ln * r > memoryMaxBytes) return 'costs too much: 128 * 2^ln * r must be at most 128 MiB'
  if (2 ** ln * r * p > workMax) return `costs too much: 2^ln * r * p must be at most ${workMax}`
  // RFC 7914, section 2: N must be less than 2^(128 * r / 8).
  if (ln >= 16 * r) return 'has parameters that scrypt does not permit: ln must be less than 16 times r'
}

/** Derives a key from a password, at a cost without a problem. */
export async function deriveScrypt (password: string, salt: Buffer, bytes: number, { ln, r, p }: ScryptCost): Promise<Buffer> {
  // Some memory is needed besides what the bound is about.
  return await derive(password, salt, bytes, { N: 2 ** ln, r, p, maxmem: 2 * memoryMaxBytes })
}

const phc = /^\$scrypt\$ln=([1-9]\d*),r=([1-9]\d*),p=([1-9]\d*)\$([^$]*)\$([^$]*)$/

/** Parses scrypt in PHC form, as passlib and others write it. */
export function parseScrypt (hash: string): StoredHash | HashProblem | undefined {
  if (!hash.startsWith('$scrypt$')) return undefined
  const [whole, ln, r, p, ...encoded] = phc.exec(hash) ?? []
  if (whole === undefined) return { problem: 'is no scrypt hash: $scrypt$ln=…,r=…,p=…$<salt>$<hash>' }
  const [salt = '', digest = ''] = encoded.map(unpadded)
  const cost = { ln: Number(ln), r: Number(r), p: Number(p) }
  const problem = scryptCostProblem(cost) ?? bytesProblem('salt', salt, 1, 64) ?? bytesProblem('hash', digest, 16, 64)
  if (problem !== undefined) return { problem }
  const expected = bytesOf(digest)
  return { algorithm: 'scrypt', verify: async (password) => timingSafeEqual(await deriveScrypt(password, bytesOf(salt), expected.length, cost), expected) }
}
