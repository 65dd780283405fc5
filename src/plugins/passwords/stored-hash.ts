import { randomUUID } from 'node:crypto'
import { parseArgon2 } from './argon2-hash.js'
import { parseBcrypt } from './bcrypt-hash.js'
import { parseFirebaseScrypt } from './firebase-scrypt-hash.js'
import type { HashParser, HashProblem, StoredHash } from './hash-format.js'
import { parsePbkdf2 } from './pbkdf2-hash.js'
import { parseScrypt } from './scrypt-hash.js'

/** What the hash of an account without a password begins with: no hash does. */
export const noPasswordMark = '!'

/** The stored value of an account without a password: another one for each account. */
export function createNoPassword (): string {
  return `${noPasswordMark}${randomUUID()}`
}

/** Whether a stored value is that of an account without a password. */
export function isNoPassword (hash: string): boolean {
  return hash.startsWith(noPasswordMark)
}

/** Longer texts are no hash in any format. */
const hashMaxLength = 500

/** What is verified at a login; everything but argon2id with the configured parameters is then replaced. */
const parsers: HashParser[] = [parseArgon2, parseBcrypt, parsePbkdf2, parseScrypt, parseFirebaseScrypt]

/** Reads a stored hash, or says why it cannot be verified. */
export function readHash (hash: string): StoredHash | HashProblem {
  if (hash.length > hashMaxLength) return { problem: `is longer than ${hashMaxLength} characters` }
  for (const parse of parsers) {
    const found = parse(hash)
    if (found !== undefined) return found
  }
  return { problem: 'has an unknown format: argon2, bcrypt, PBKDF2 (of Django or passlib), scrypt ($scrypt$ln=…) and Firebase scrypt are known' }
}

/** Parses a stored hash; `undefined` when it cannot be verified, or its cost exceeds the bounds. */
export function parseHash (hash: string): StoredHash | undefined {
  const found = readHash(hash)
  return 'problem' in found ? undefined : found
}

/** Why a stored hash cannot be verified, as the end of a sentence that starts with the hash and repeats nothing of it; `undefined` when it can. */
export function hashProblem (hash: string): string | undefined {
  const found = readHash(hash)
  return 'problem' in found ? found.problem : undefined
}
