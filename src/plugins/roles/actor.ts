import type { FastifyRequest } from 'fastify'
import type { Actor } from './admin-conditions.js'

/** The admin who sent a request. */
export function actorOf ({ currentUser: { id: userId }, currentTokenId: tokenId }: Pick<FastifyRequest, 'currentUser' | 'currentTokenId'>): Actor {
  return { userId, tokenId }
}
