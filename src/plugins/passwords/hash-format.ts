/** What an argon2 hash costs. */
export interface HashParameters {
  /** Memory in KiB. */
  memoryCost: number
  /** Passes over the memory. */
  timeCost: number
  /** Lanes. */
  parallelism: number
}

/** A stored hash that can be verified. New ones are argon2id; the others were imported. */
export interface StoredHash {
  algorithm: 'argon2id' | 'argon2i' | 'argon2d' | 'bcrypt' | 'pbkdf2' | 'scrypt' | 'firebase-scrypt'
  /** Of argon2. */
  parameters?: HashParameters
  /** Whether a password matches. It takes a thread of the pool, up to a second and up to 128 MiB: the hash limiter runs it. */
  verify: (password: string) => Promise<boolean>
}

/** Why a stored hash cannot be verified. */
export interface HashProblem {
  /** The end of a sentence that starts with the hash. It repeats nothing of the hash. */
  problem: string
}

/**
 * Parses the stored hashes of one algorithm, of at most `hashMaxLength` characters; `undefined`
 * for those of others.
 */
export type HashParser = (hash: string) => StoredHash | HashProblem | undefined

/** Base64 without its padding. */
export function unpadded (base64: string): string {
  return base64.length % 4 === 0 ? base64.replace(/={1,2}$/, '') : base64
}

/** The bytes of base64, with or without padding. */
export function bytesOf (base64: string): Buffer {
  return Buffer.from(base64, 'base64')
}

/**
 * What is wrong with base64 that has no padding, in its canonical form; `undefined` when nothing is.
 *
 * @param name what the bytes are
 */
export function bytesProblem (name: string, base64: string, minBytes: number, maxBytes: number): string | undefined {
  const bytes = bytesOf(base64)
  if (unpadded(bytes.toString('base64')) !== base64) return `has a ${name} that is not base64`
  if (bytes.length < minBytes || bytes.length > maxBytes) return `has a ${name} of a wrong length: ${minBytes === maxBytes ? '' : `${minBytes} to `}${maxBytes} bytes are permitted`
}
