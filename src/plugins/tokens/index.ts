import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { bestEffort, scheduleCleanup } from '../../lib/background.js'
import { type Tokens, tokensRepository } from './repository.js'

/** How long last-used times are collected before one statement writes them all. */
const lastUsedDelayMs = 1_000

declare module 'fastify' {
  interface FastifyInstance {
    tokens: Tokens
  }
}

const plugin: FastifyPluginAsync<{ now: () => number }> = async (app, { now }) => {
  const tokens = tokensRepository(app.store, now)
  app.decorate('tokens', tokens)

  scheduleCleanup(app, { deleteBatch: tokens.deleteExpired, failure: 'expired tokens could not be removed' })
  const flushLastUsed = bestEffort(app, { work: tokens.flushLastUsed, failure: 'the last uses of tokens could not be written' })
  const timer = setInterval(flushLastUsed, lastUsedDelayMs).unref()
  app.addHook('onClose', async () => {
    clearInterval(timer)
    await flushLastUsed()
  })
}

export default fp(plugin, { name: 'latchkey-tokens', dependencies: ['latchkey-database'] })
