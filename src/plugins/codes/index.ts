import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import type { ResolvedOptions } from '../../options.js'
import { type CodeLinks, codeLinks } from './links.js'
import { type Codes, codesRepository } from './repository.js'

declare module 'fastify' {
  interface FastifyInstance {
    /** The one-time codes: what proves a password reset, an email address, an invitation or a second factor. */
    codes: Codes & CodeLinks
  }
}

const plugin: FastifyPluginAsync<Pick<ResolvedOptions, 'publicUrl' | 'now'>> = async (app, { publicUrl, now }) => {
  const codes = codesRepository(app.store, now)
  app.decorate('codes', { ...codes, ...codeLinks(publicUrl) })
  app.cleanup.schedule({ deleteBatch: codes.deleteExpired, failure: 'expired codes could not be deleted' })
}

export default fp(plugin, { name: 'latchkey-codes', dependencies: ['latchkey-database', 'latchkey-cleanup'] })
