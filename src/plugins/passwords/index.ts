import { randomBytes } from 'node:crypto'
import { hash, verify } from '@node-rs/argon2'
import type { FastifyPluginAsync, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { type HashJob, hashLimiter, type HashLimiterCounts } from './hash-limiter.js'
import { clientSite } from '../../lib/client-network.js'
import type { ResolvedOptions } from '../../options.js'
import { bcryptPasswordBytes, type HashParameters, parseHash } from './stored-hash.js'
import { canonicalPassword, passwordMaxUnits } from './policy.js'

/** Hashing and verifying passwords. Every hash of the process passes through here, a few at once. */
export interface Passwords {
  /**
   * Hashes a password with argon2id into a PHC string.
   *
   * @throws {RangeError} it is longer than any password
   * @throws {Overloaded} there is too much to do
   */
  hash: (password: string, turn?: HashJob) => Promise<string>
  /**
   * Whether a password is the one of a stored hash. Without a hash (nobody has that
   * username) it does the same work and says no, so that the time tells nothing. What is
   * longer than any password is none, and costs nothing.
   *
   * @throws {Error} the stored hash is none that can be verified, or asks for more than is affordable
   * @throws {Overloaded} there is too much to do
   */
  verify: (storedHash: string | undefined, password: string, turn?: HashJob) => Promise<boolean>
  /**
   * Whether a stored hash, which was just verified with this password, is another than a new
   * one would be: weaker, or stronger, which takes a time of its own at each login.
   */
  needsRehash: (storedHash: string, password: string) => boolean
  /** Makes a hook (onRequest) that refuses what would find no room, before its body is read. */
  rejectWhenFull: (share: 'login' | 'signup') => (request: FastifyRequest) => Promise<void>
  /** Has a function called with the time that each hash waited, in milliseconds, from now on. */
  onWait: (listener: (waitedMs: number) => void) => void
  /** What has happened at the gate so far, and what is there now. */
  load: () => HashLimiterCounts & { running: number, queued: number }
}

/** The plugin's options. */
export type PasswordsOptions = Pick<ResolvedOptions, 'hashParameters' | 'hashConcurrency' | 'hashQueue' | 'hashDeadlineMs'>

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

const plugin: FastifyPluginAsync<PasswordsOptions> = async (app, { hashParameters, hashConcurrency, hashQueue, hashDeadlineMs }) => {
  let listener = (_waitedMs: number) => {}
  const limiter = hashLimiter({ concurrency: hashConcurrency, queueLength: hashQueue, deadlineMs: hashDeadlineMs, onPass: (waitedMs) => listener(waitedMs) })
  const options = { algorithm: argon2id, ...hashParameters }

  // For users that do not exist: a hash of nothing anybody knows, with the parameters of the real ones.
  const decoy = decoyHash(hashParameters)

  const passwords: Passwords = {
    async hash (password, turn) {
      const canonical = canonicalPassword(password)
      return await limiter.run(() => hash(canonical, options), turn)
    },

    async verify (storedHash, password, turn) {
      // What no password can be is nobody's; to bcrypt NUL is where a copy of the password ends.
      if (password.length > passwordMaxUnits || password.includes('\0')) return false
      const canonical = canonicalPassword(password)
      const stored = parseHash(storedHash ?? decoy)
      if (stored === undefined) throw new Error('a stored password hash is not acceptable')
      if (stored.algorithm === 'bcrypt') {
        // Most installations never see one.
        const bcrypt = await import('@node-rs/bcrypt')
        return await limiter.run(() => bcrypt.verify(canonical, String(storedHash)), turn)
      }
      const isSame = await limiter.run(() => verify(storedHash ?? decoy, canonical), turn)
      return isSame && storedHash !== undefined
    },

    needsRehash (storedHash, password) {
      const stored = parseHash(storedHash)
      // bcrypt has not looked at the rest: it may be mistyped, and would become the password.
      if (stored?.algorithm === 'bcrypt') return Buffer.byteLength(canonicalPassword(password)) <= bcryptPasswordBytes
      return stored?.algorithm !== 'argon2id' ||
        stored.parameters.memoryCost !== hashParameters.memoryCost ||
        stored.parameters.timeCost !== hashParameters.timeCost ||
        stored.parameters.parallelism !== hashParameters.parallelism
    },

    rejectWhenFull: (share) => async (request) => limiter.rejectWhenFull(share, clientSite(request.ip)),

    onWait (next) {
      listener = next
    },

    load: () => ({ ...limiter.counts, ...limiter.load() })
  }
  app.decorate('passwords', passwords)
}

export default fp(plugin, { name: 'latchkey-passwords', fastify: '5.x' })
