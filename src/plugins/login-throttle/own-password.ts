import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { disconnectSignal } from '../../lib/disconnect-signal.js'
import type { HashJob } from '../passwords/hash-limiter.js'
import { clientNetwork, clientSite } from '../../lib/client-network.js'

/** A turn at the hash gate, for whoever asks. */
export function turnOf (request: FastifyRequest, reply: FastifyReply): HashJob {
  return { network: clientSite(request.ip), signal: disconnectSignal(reply) }
}

/**
 * Whether a password is that of the user who asks. With a stolen token it could be guessed as
 * well, so it counts as a login does.
 *
 * @param hash the hash that is stored for this user
 * @throws {TooManyAttempts} this address or this account has to wait
 * @throws {Overloaded} there is too much to do
 */
export async function isOwnPassword (app: FastifyInstance, request: FastifyRequest, hash: string | undefined, password: string, turn: HashJob): Promise<boolean> {
  const { currentUser: { id: userId, username }, ip } = request
  const lastLoginAt = await app.loginFailures.lastLoginAt(userId, clientNetwork(ip))
  return await app.throttle.guess(request, { username, userId, lastLoginAt }, () => app.passwords.verify(hash, password, turn))
}
