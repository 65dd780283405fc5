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
