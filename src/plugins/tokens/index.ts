import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { type LastUsedTimes, lastUsedTimes } from './last-used.js'
import { type TokensRepository, tokensRepository } from './repository.js'

/** The tokens of users: their rows, and when they were used last. */
export interface Tokens extends TokensRepository, Pick<LastUsedTimes, 'touch'> {
  /** Writes the pending last-used times now. Rejects when that fails: they are retried. */
  flushLastUsed: () => Promise<void>
}

declare module 'fastify' {
  interface FastifyInstance {
    tokens: Tokens
  }
}

const plugin: FastifyPluginAsync<{ now: () => number }> = async (app, { now }) => {
  const { pending, touch, flush } = lastUsedTimes(app, now)
  const repository = tokensRepository(app.store, { now, pendingLastUsed: pending })
  app.decorate('tokens', { ...repository, touch, flushLastUsed: flush })
  app.cleanup.schedule({ deleteBatch: repository.deleteExpired, failure: 'expired tokens could not be removed' })
}

export default fp(plugin, { name: 'latchkey-tokens', dependencies: ['latchkey-database', 'latchkey-cleanup'] })
