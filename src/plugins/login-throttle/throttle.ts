import type { FastifyRequest, onErrorHookHandler } from 'fastify'
import type { Wait } from '../../lib/waiter.js'
import type { User } from '../users/user.js'

/** A password check. */
export interface PasswordCheck {
  username: string
  /** Undefined where there is no such user. */
  userId: number | undefined
  /** The stored hash that the password is checked with. */
  verifiedHash: string | undefined
  /** When the user last logged in from the network of this request; null when they never did. */
  lastLoginAt: Date | null
  /** For whom and since when it waits. */
  wait: Wait
  /**
   * Accepts a correct password only if that can be written, as the failure of an incorrect one
   * is: while the database refuses writes, no answer tells them apart. False by default.
   */
  mustRecord?: boolean
}

/** Who logs in, and from where. */
export type Login = Pick<PasswordCheck, 'lastLoginAt'> & { userId: number }

/** How many requests were rejected so far, by the limit that they met. */
export interface ThrottleCounts {
  /** Failed logins of an address. */
  address: number
  /** Failed logins for an account. */
  account: number
  /** Signups of an address. */
  signup: number
  /** Requests of an address for a new password. */
  reset: number
  /** Successful logins of an address. */
  address_logins: number
  /** Successful logins of an account. */
  account_logins: number
  /** Renewals of an account's tokens. */
  account_renewals: number
  /** Personal access tokens of an account. */
  account_tokens: number
  /** Codes mailed for an account. */
  account_mails: number
  /** Codes mailed to an address. */
  recipient_mails: number
}

/**
 * Limits password checks, logins, signups, requests for a new password and personal access tokens, by address and by account.
 * On a network that its user has logged in from before, an account has a budget of its own: no
 * attempt at another account from the same address can hold its owner up.
 */
export interface Throttle {
  /**
   * Makes a hook that rejects an address which has to wait, unless the account is known there: as
   * onRequest before the body is read, as preValidation before it is validated. A login names its
   * account in the body: as preHandler, so that an invalid body tells nothing about an account.
   */
  rejectAddress: (action: 'login' | 'password' | 'signup' | 'reset') => (request: FastifyRequest) => Promise<void>
  /** Makes an onError hook that counts a malformed or invalid body like a failed attempt: it costs time as well. */
  countMalformed: (action: 'password' | 'signup') => onErrorHookHandler
  /**
   * An error handler for the login, which leaves the answer to the next one. It counts a malformed
   * or invalid body like a failed attempt. While the address has to wait it rejects it as any
   * other attempt, so that it tells nothing about an account.
   */
  rejectMalformedLogin: (error: unknown, request: FastifyRequest) => Promise<never>
  /**
   * Rejects the login of a user who has logged in too often in the last minute, before the
   * password is checked.
   *
   * @throws {TooManyAttempts} this account has to wait
   */
  rejectAccount: (request: FastifyRequest, userId: number) => Promise<void>
  /**
   * Checks a password. The checks of one account run one at a time: those from networks that its
   * user is known on, by network, and those from all other networks. Each failure is counted
   * before the next check begins.
   *
   * @param verify whether the password is correct
   * @returns what `verify` returns
   * @throws {TooManyAttempts} this address or this account has to wait
   * @throws {Overloaded} it waited too long for others
   * @throws {ClientDisconnected} its client disconnected while it waited
   */
  checkPassword: (request: FastifyRequest, check: PasswordCheck, verify: () => Promise<boolean>) => Promise<boolean>
  /**
   * Issues the token of a login, and counts it.
   *
   * @returns what `issue` returns
   * @throws {TooManyAttempts} this address or this account has to wait
   */
  logIn: <Issued>(request: FastifyRequest, login: Login, issue: () => Promise<Issued>) => Promise<Issued>
  /**
   * Counts a renewal of a user's token.
   *
   * @throws {TooManyAttempts} this account has to wait
   */
  countRenewal: (request: FastifyRequest, userId: number) => void
  /**
   * Issues a personal access token, and counts it, unless there is none.
   *
   * @returns what `issue` returns
   * @throws {TooManyAttempts} this account has to wait
   */
  createToken: <Issued>(request: FastifyRequest, userId: number, issue: () => Promise<Issued>) => Promise<Issued>
  /**
   * Mails a code for an account to an address, and counts it for both, unless none was mailed.
   *
   * @param mail whether it has mailed one
   * @returns what `mail` returns
   * @throws {TooManyAttempts} this account, or who mails to this address, has to wait
   */
  mailCode: (request: FastifyRequest, recipient: { userId: number, email: string }, mail: () => Promise<boolean>) => Promise<boolean>
  /**
   * Gives a name or an email to somebody. Where it is taken, the rejection is counted for the
   * address: it reveals as much as a failed login.
   *
   * @returns what `claim` returns
   * @throws {TooManyAttempts} this address has to wait
   * @throws {Overloaded} it waited too long for others
   */
  claimName: <Claimed>(request: FastifyRequest, wait: Wait, claim: () => Promise<Claimed>) => Promise<Claimed>
  /**
   * Creates an account, and counts it; where its name or email is taken, or its invitation is not
   * valid, the rejection is counted.
   * Signups for one name run one at a time, so that only one of them needs a hash.
   *
   * @returns what `create` returns
   * @throws {TooManyAttempts} this address has to wait
   * @throws {Overloaded} it waited too long for others
   */
  signUp: <Created>(request: FastifyRequest, signup: { username: string, wait: Wait }, create: () => Promise<Created>) => Promise<Created>
  /**
   * Counts a request for a new password.
   *
   * @throws {TooManyAttempts} this address has to wait
   */
  requestReset: (request: FastifyRequest) => Promise<void>
  /** Deletes the failures for the name of a new user, and records the network that they are on. */
  registerNewUser: (request: FastifyRequest, user: User) => Promise<void>
  /**
   * Forgets the failed logins, the logins, the signups and the requests for a new password of an address, also on all other servers.
   *
   * @returns the network whose attempts are forgotten
   */
  unlockAddress: (address: string) => Promise<string>
  /** How many requests were rejected so far. */
  counts: ThrottleCounts
}
