import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'

const algorithm = 'aes-256-gcm'
/** The length of the nonce and of the tag, in bytes (NIST SP 800-38D, sections 5.2.1.1 and 5.2.1.2). */
const nonceBytes = 12
const tagBytes = 16
const version = 'v1'

/** Encrypts and decrypts secrets that are stored. */
export interface Sealing {
  /** Encrypts a secret. */
  seal: (secret: Buffer) => string
  /**
   * Decrypts a secret.
   *
   * @returns the secret, and whether it should be sealed again because an older key has sealed it
   * @throws {Error} no key of the server has sealed it
   */
  open: (sealed: string) => { secret: Buffer, isOutdated: boolean }
}

/** A key for this purpose alone, derived from the server's key (RFC 5869). */
function deriveKey (secretKey: string): Buffer {
  return Buffer.from(hkdfSync('sha256', secretKey, '', 'latchkey second factor', 32))
}

function open (key: Buffer, sealed: Buffer): Buffer | undefined {
  const decipher = createDecipheriv(algorithm, key, sealed.subarray(0, nonceBytes), { authTagLength: tagBytes })
  decipher.setAuthTag(sealed.subarray(nonceBytes, nonceBytes + tagBytes))
  const secret = decipher.update(sealed.subarray(nonceBytes + tagBytes))
  try {
    return Buffer.concat([secret, decipher.final()])
  } catch {
    // Another key has sealed it, or it was changed.
    return undefined
  }
}

/**
 * Seals secrets with AES-256-GCM under a key that is derived from SECRET_KEY: a copy of the
 * database alone shows no secret. What SECRET_KEY_PREVIOUS has sealed can be opened as well.
 */
export function createSealing (secretKey: string, secretKeyPrevious?: string): Sealing {
  const key = deriveKey(secretKey)
  const previousKey = secretKeyPrevious === undefined ? undefined : deriveKey(secretKeyPrevious)

  return {
    seal (secret) {
      const nonce = randomBytes(nonceBytes)
      const cipher = createCipheriv(algorithm, key, nonce, { authTagLength: tagBytes })
      const encrypted = Buffer.concat([cipher.update(secret), cipher.final()])
      return `${version}.${Buffer.concat([nonce, cipher.getAuthTag(), encrypted]).toString('base64url')}`
    },

    open (text) {
      const [mark, data = ''] = text.split('.')
      const sealed = Buffer.from(data, 'base64url')
      if (mark === version && sealed.length > nonceBytes + tagBytes) {
        const secret = open(key, sealed)
        if (secret !== undefined) return { secret, isOutdated: false }
        const previous = previousKey && open(previousKey, sealed)
        if (previous !== undefined) return { secret: previous, isOutdated: true }
      }
      throw new Error('the secret of a second factor cannot be opened: another SECRET_KEY has sealed it')
    }
  }
}
