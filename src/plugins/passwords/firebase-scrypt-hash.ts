import { createCipheriv, timingSafeEqual } from 'node:crypto'
import { bytesOf, bytesProblem, type HashProblem, type StoredHash, unpadded } from './hash-format.js'
import { deriveScrypt, scryptCostProblem } from './scrypt-hash.js'

// The parameters of a Firebase project, which its console shows, and the salt and hash of a user,
// in one text of our own. All of it is base64, with or without padding.
const format = /^\$firebase-scrypt\$ln=([1-9]\d*),r=([1-9]\d*),ss=([^,$]*),sk=([^,$]*)\$([^$]*)\$([^$]*)$/

/**
 * Parses the modified scrypt of Firebase Authentication. It derives a key from the password, and
 * encrypts the signer key of the project with it: the result is the hash.
 *
 * @see https://github.com/firebase/scrypt
 */
export function parseFirebaseScrypt (hash: string): StoredHash | HashProblem | undefined {
  if (!hash.startsWith('$firebase-scrypt$')) return undefined
  const [whole, ln, r, ...encoded] = format.exec(hash) ?? []
  if (whole === undefined) return { problem: 'is no Firebase scrypt hash: $firebase-scrypt$ln=<mem_cost>,r=<rounds>,ss=<salt separator>,sk=<signer key>$<salt>$<hash>' }
  const [separator = '', key = '', salt = '', digest = ''] = encoded.map(unpadded)
  const [signerKey, expected] = [bytesOf(key), bytesOf(digest)]
  const cost = { ln: Number(ln), r: Number(r), p: 1 }
  const problem = scryptCostProblem(cost) ??
    bytesProblem('salt separator', separator, 0, 16) ??
    bytesProblem('signer key', key, 16, 64) ??
    bytesProblem('salt', salt, 1, 64) ??
    // It is the encrypted signer key.
    bytesProblem('hash', digest, signerKey.length, signerKey.length)
  if (problem !== undefined) return { problem }
  return {
    algorithm: 'firebase-scrypt',
    async verify (password) {
      const derived = await deriveScrypt(password, Buffer.concat([bytesOf(salt), bytesOf(separator)]), 32, cost)
      return timingSafeEqual(createCipheriv('aes-256-ctr', derived, Buffer.alloc(16)).update(signerKey), expected)
    }
  }
}
