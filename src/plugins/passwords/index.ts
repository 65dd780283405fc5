import { randomBytes } from 'node:crypto'
import { hash } from '@node-rs/argon2'
import type { FastifyPluginAsync, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { type HashJob, hashLimiter, type HashLimiterCounts } from './hash-limiter.js'
import { clientSite } from '../../lib/client-network.js'
import { createListeners } from '../../lib/listeners.js'
import type { ResolvedOptions } from '../../options.js'
import { bcryptPasswordBytes } from './bcrypt-hash.js'
import type { HashParameters } from './hash-format.js'
import { canonicalPassword, passwordMaxUnits } from './policy.js'
import { isNoPassword, parseHash, readHash } from './stored-hash.js'

/** Hashes and verifies passwords. Every hash of the process runs here, under the hash limiter. */
export interface Passwords {
  /**
   * Hashes a password with argon2id into a PHC string.
   *
   * @throws {RangeError} it is longer than any password
   * @throws {Overloaded} the hash limiter rejected the job
   */
  hash: (password: string, job?: HashJob) => Promise<string>
  /**
   * Whether a password matches a stored hash. Without a hash (there is no such user, or the account
   * has no password) it does the same work and returns false, so that the time reveals nothing. A text that is longer
   * than any password is rejected without a hash.
   *
   * @throws {Error} the stored hash cannot be verified, or its parameters exceed the bounds
   * @throws {Overloaded} the hash limiter rejected the job
   */
  verify: (storedHash: string | undefined, password: string, job?: HashJob) => Promise<boolean>
  /**
   * Whether a stored hash, which was just verified with this password, has other parameters than
   * a new one: it is weaker, or stronger, which takes another time at each login.
   */
  needsRehash: (storedHash: string, password: string) => boolean
  /** Makes a hook (onRequest) that rejects a request for which the queue has no place, before its body is read. */
  rejectWhenFull: (lane: 'login' | 'signup') => (request: FastifyRequest) => Promise<void>
  /** Calls a function at the start of each job from now on, with the time that the job waited, in milliseconds. What it throws is logged. */
  onJobStart: (listener: (waitedMs: number) => void) => void
  /** What the hash limiter has counted so far, and how many jobs run and wait now. */
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
  const { subscribe, notify } = createListeners<number>(app, 'a listener to hash jobs failed')
  const limiter = hashLimiter({ concurrency: hashConcurrency, queueLength: hashQueue, deadlineMs: hashDeadlineMs, onStart: notify })
  const options = { algorithm: argon2id, ...hashParameters }

  // For users that do not exist: a hash of random bytes, with the parameters of the real ones.
  const decoy = decoyHash(hashParameters)

  const passwords: Passwords = {
    async hash (password, job) {
      const canonical = canonicalPassword(password)
      return await limiter.run(() => hash(canonical, options), job)
    },

    async verify (hash, password, job) {
      const storedHash = hash === undefined || isNoPassword(hash) ? undefined : hash
      // Too long for a password, or with a NUL, which ends a copy of the password in bcrypt.
      if (password.length > passwordMaxUnits || password.includes('\0')) return false
      const canonical = canonicalPassword(password)
      const stored = readHash(storedHash ?? decoy)
      if ('problem' in stored) throw new Error(`a stored password hash is not acceptable: it ${stored.problem}`)
      const isSame = await limiter.run(() => stored.verify(canonical), job)
      return isSame && storedHash !== undefined
    },

    needsRehash (storedHash, password) {
      const stored = parseHash(storedHash)
      // bcrypt ignores the bytes beyond: they may be mistyped, and would become part of the password.
      if (stored?.algorithm === 'bcrypt') return Buffer.byteLength(canonicalPassword(password)) <= bcryptPasswordBytes
      return stored?.algorithm !== 'argon2id' ||
        stored.parameters?.memoryCost !== hashParameters.memoryCost ||
        stored.parameters.timeCost !== hashParameters.timeCost ||
        stored.parameters.parallelism !== hashParameters.parallelism
    },

    rejectWhenFull: (lane) => async (request) => limiter.rejectWhenFull(lane, clientSite(request.ip)),

    onJobStart: subscribe,

    load: () => ({ ...limiter.counts, ...limiter.load() })
  }
  app.decorate('passwords', passwords)
}

export default fp(plugin, { name: 'latchkey-passwords', fastify: '5.x' })
