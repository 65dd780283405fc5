import type { FastifyReply, FastifyRequest } from 'fastify'
import { clientSite } from '../../lib/client-network.js'
import { disconnectSignal } from '../../lib/disconnect-signal.js'
import type { HashJob } from './hash-limiter.js'

/**
 * The hash job of a request. All of its waits share one deadline, which counts from now, and
 * end when its client disconnects.
 */
export function hashJobOf (request: FastifyRequest, reply: FastifyReply): HashJob {
  return { network: clientSite(request.ip), signal: disconnectSignal(reply), waitingSinceMs: performance.now() }
}
