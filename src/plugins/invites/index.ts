import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { type Invites, invitesRepository } from './repository.js'

declare module 'fastify' {
  interface FastifyInstance {
    invites: Invites
  }
}

/** Invitations: who has the code of one may sign up. */
const plugin: FastifyPluginAsync<{ now: () => number }> = async (app, { now }) => {
  app.decorate('invites', invitesRepository(app, now))
}

export default fp(plugin, { name: 'latchkey-invites', dependencies: ['latchkey-database', 'latchkey-codes', 'latchkey-users'] })
