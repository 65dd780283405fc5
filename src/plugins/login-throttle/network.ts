import type { FastifyRequest } from 'fastify'
import { clientNetwork } from '../../lib/client-network.js'

const networks = new WeakMap<FastifyRequest, string>()

/** The network that a request came from; computed once. */
export function networkOf (request: FastifyRequest): string {
  const known = networks.get(request)
  if (known !== undefined) return known
  const network = clientNetwork(request.ip)
  networks.set(request, network)
  return network
}

/**
 * What the attempts at an account count with in the limits of an address. On a network that its
 * user has logged in from before, an account has a budget of its own: attempts at other accounts
 * cannot use it up.
 */
export function addressKey (network: string, userId: number | undefined, lastLoginAt: Date | null): string {
  return lastLoginAt === null ? network : `${network} ${userId}`
}

/** The network in such a key. */
export const networkIn = (key: string) => key.replace(/ .*/, '')
