import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { HashJob } from '../passwords/hash-limiter.js'
import { networkOf } from './network.js'

/**
 * Whether a password is that of the current user. It is limited like a login: a stolen token
 * must not help to guess the password.
 *
 * @param check.hash the stored hash of the user
 * @throws {TooManyAttempts} this address or this account has to wait
 * @throws {Overloaded} it waited too long, or the hash limiter rejected the job
 */
export async function checkOwnPassword (app: FastifyInstance, request: FastifyRequest, { hash, password, job }: { hash: string | undefined, password: string, job: HashJob }): Promise<boolean> {
  const { id: userId, username } = request.currentUser
  const lastLoginAt = await app.loginFailures.lastLoginAt(userId, networkOf(request))
  return await app.throttle.checkPassword(request, { username, userId, verifiedHash: hash, lastLoginAt, wait: job, mustRecord: true }, () => app.passwords.verify(hash, password, job))
}
