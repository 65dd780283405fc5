import { pbkdf2, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'
import { bytesOf, bytesProblem, type HashProblem, type StoredHash, unpadded } from './hash-format.js'

/** Some 300 ms of processor time with SHA-256, twice that with SHA-512. Django 6.0 has 1,200,000. */
const iterationsMax = 2_000_000

/** The bytes of a hash. What is longer would repeat all iterations for each block (RFC 8018, section 5.2). */
const digestBytes = { sha1: 20, sha256: 32, sha512: 64 }

const derive = promisify(pbkdf2)

// Of Django: the salt is text. https://docs.djangoproject.com/en/stable/topics/auth/passwords/
const django = /^pbkdf2_(sha1|sha256)\$([1-9]\d*)\$([^$]*)\$([^$]*)$/
// Of passlib: SHA-1 has no name, and the base64 has dots for pluses.
// https://passlib.readthedocs.io/en/stable/lib/passlib.hash.pbkdf2_digest.html
const passlib = /^\$pbkdf2(?:-(sha256|sha512))?\$([1-9]\d*)\$([^$]*)\$([^$]*)$/

interface Parts { digest: keyof typeof digestBytes, iterations: number, salt: Buffer, expected: string, saltProblem: string | undefined }

function textSaltProblem (salt: string): string | undefined {
  if (salt.length < 1 || salt.length > 64) return 'has a salt of a wrong length: 1 to 64 characters are permitted'
  if (!/^[\x20-\x7e]+$/.test(salt)) return 'has a salt that is not ASCII'
}

const digestOf = (name: string | undefined) => name === 'sha256' || name === 'sha512' ? name : 'sha1'

function split (hash: string): Parts | undefined {
  const [byDjango, name, iterations, salt = '', expected = ''] = django.exec(hash) ?? []
  if (byDjango !== undefined) return { digest: digestOf(name), iterations: Number(iterations), salt: Buffer.from(salt), expected: unpadded(expected), saltProblem: textSaltProblem(salt) }
  const [byPasslib, variant, rounds, ...encoded] = passlib.exec(hash) ?? []
  if (byPasslib === undefined) return undefined
  const [saltText = '', expectedText = ''] = encoded.map((part) => part.replaceAll('.', '+'))
  return { digest: digestOf(variant), iterations: Number(rounds), salt: bytesOf(saltText), expected: expectedText, saltProblem: bytesProblem('salt', saltText, 1, 64) }
}

/** Parses PBKDF2 as Django and passlib write it (RFC 8018, section 5.2). */
export function parsePbkdf2 (hash: string): StoredHash | HashProblem | undefined {
  if (!/^(?:pbkdf2_|\$pbkdf2)/.test(hash)) return undefined
  const parts = split(hash)
  if (parts === undefined) return { problem: 'is no PBKDF2 hash of Django or passlib: pbkdf2_sha256$<iterations>$<salt>$<hash> or $pbkdf2-sha256$<iterations>$<salt>$<hash>' }
  const { digest, iterations, salt, expected, saltProblem } = parts
  const bytes = digestBytes[digest]
  const problem = iterations > iterationsMax ? `costs too much: at most ${iterationsMax} iterations are permitted` : saltProblem ?? bytesProblem('hash', expected, bytes, bytes)
  if (problem !== undefined) return { problem }
  return { algorithm: 'pbkdf2', verify: async (password) => timingSafeEqual(await derive(password, salt, iterations, bytes, digest), bytesOf(expected)) }
}
