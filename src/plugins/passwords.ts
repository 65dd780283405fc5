import { randomBytes } from 'node:crypto'
import { hash, verify } from '@node-rs/argon2'
import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { bcryptPasswordBytes, type HashParameters, parseHash, recommendedParameters } from '../lib/password-hashes.js'
import { canonicalPassword } from '../lib/password-rules.js'

/** Hashing and verifying passwords. Every hash of the process passes through here. */
export interface Passwords {
  /** Hashes a password with argon2id into a PHC string. */
  hash: (password: string) => Promise<string>
  /**
   * Whether a password is the one of a stored hash. Without a hash (nobody has that
   * username) it does the same work and says no, so that the time tells nothing.
   *
   * @throws {Error} the stored hash is none that can be verified, or asks for more than is affordable
   */
  verify: (storedHash: string | undefined, password: string) => Promise<boolean>
  /** Whether a stored hash, which was just verified with this password, is weaker than a new one would be. */
  needsRehash: (storedHash: string, password: string) => boolean
}

declare module 'fastify' {
  interface FastifyInstance {
    passwords: Passwords
  }
}

/** The library's number for argon2id; its enum cannot be imported from a module that is compiled alone. */
const argon2id = 2

function decoyHash ({ memoryCost, timeCost, parallelism }: HashParameters): string {
  const [salt, digest] = [randomBytes(16), randomBytes(32)].map((bytes) => bytes.toString('base64').replace(/=+$/, ''))
  return `$argon2id$v=19$m=${memoryCost},t=${timeCost},p=${parallelism}$${salt}$${digest}`
}

const plugin: FastifyPluginAsync<{ hashParameters?: HashParameters }> = async (app, { hashParameters = recommendedParameters }) => {
  const options = { algorithm: argon2id, ...hashParameters }

  // For users that do not exist: a hash of nothing anybody knows, with the parameters of the real ones.
  const decoy = decoyHash(hashParameters)

  const passwords: Passwords = {
    hash: (password) => hash(canonicalPassword(password), options),

    async verify (storedHash, password) {
      const canonical = canonicalPassword(password)
      const stored = parseHash(storedHash ?? decoy)
      if (stored === undefined) throw new Error('a stored password hash is not acceptable')
      if (stored.algorithm === 'bcrypt') {
        // Most installations never see one.
        const bcrypt = await import('@node-rs/bcrypt')
        return await bcrypt.verify(canonical, String(storedHash))
      }
      const isSame = await verify(storedHash ?? decoy, canonical)
      return isSame && storedHash !== undefined
    },

    needsRehash (storedHash, password) {
      const stored = parseHash(storedHash)
      // bcrypt has not looked at the rest: it may be mistyped, and would become the password.
      if (stored?.algorithm === 'bcrypt') return Buffer.byteLength(canonicalPassword(password)) <= bcryptPasswordBytes
      return stored?.algorithm !== 'argon2id' ||
        stored.parameters.memoryCost < hashParameters.memoryCost ||
        stored.parameters.timeCost < hashParameters.timeCost
    }
  }
  app.decorate('passwords', passwords)
}

export default fp(plugin, { name: 'latchkey-passwords', fastify: '5.x' })
