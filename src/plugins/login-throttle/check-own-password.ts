import type { FastifyInstance, FastifyRequest } from 'fastify'
import { CodeIncorrect, PasswordIncorrect } from '../../errors.js'
import type { EventKind } from '../audit/event.js'
import type { HashJob } from '../passwords/hash-limiter.js'
import { networkOf } from './network.js'
import type { PasswordCheck } from './throttle.js'

/** What proves that the current user sends a request. */
export interface OwnCredentials {
  password: string
  /** Of the second factor: needed where that is on. */
  code?: string
}

/**
 * Checks what only the current user knows. It is limited like a login: a stolen token must not
 * help to guess it.
 *
 * @param check.verifiedHash the stored hash of the password
 * @param verify whether it is correct; what it throws is no attempt
 * @throws {TooManyAttempts} this address or this account has to wait
 * @throws {Overloaded} it waited too long for others
 */
export async function checkAsOwner (app: FastifyInstance, request: FastifyRequest, { verifiedHash, wait }: Pick<PasswordCheck, 'verifiedHash' | 'wait'>, verify: () => Promise<boolean>): Promise<boolean> {
  const { id: userId, username } = request.currentUser
  const lastLoginAt = await app.loginFailures.lastLoginAt(userId, networkOf(request))
  return await app.throttle.checkPassword(request, { username, userId, verifiedHash, lastLoginAt, wait, mustRecord: true }, verify)
}

/**
 * Checks the password of the current user and, where the second factor is on, a code of it.
 *
 * @param check.kind the kind of the event that a failure is recorded as
 * @returns the hash that the password was verified with
 * @throws {PasswordIncorrect}
 * @throws {CodeRequired} the password is correct, and there is no code
 * @throws {CodeIncorrect} the password is correct, the code is not
 * @throws {TooManyAttempts} this address or this account has to wait
 * @throws {Overloaded} it waited too long, or the hash limiter rejected the job
 */
export async function checkOwnPassword (app: FastifyInstance, request: FastifyRequest, { kind, password, code, job }: OwnCredentials & { kind: EventKind, job: HashJob }): Promise<string> {
  const { id } = request.currentUser
  const credentials = await app.users.findCredentialsById(id)
  const checked = { isPasswordCorrect: false }
  const isCorrect = await checkAsOwner(app, request, { verifiedHash: credentials?.passwordHash, wait: job }, async () => {
    checked.isPasswordCorrect = await app.passwords.verify(credentials?.passwordHash, password, job)
    return checked.isPasswordCorrect && credentials !== undefined && await app.secondFactor.accepts({ id, ...credentials }, code)
  })
  if (isCorrect && credentials !== undefined) return credentials.passwordHash
  app.audit.record({ kind, outcome: checked.isPasswordCorrect ? 'code_incorrect' : 'password_incorrect', userId: id }, request)
  throw checked.isPasswordCorrect ? new CodeIncorrect() : new PasswordIncorrect()
}
