import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { type Users, usersRepository } from './repository.js'

declare module 'fastify' {
  interface FastifyInstance {
    users: Users
  }
}

const plugin: FastifyPluginAsync<{ now: () => number }> = async (app, { now }) => {
  app.decorate('users', usersRepository(app.store, now))
}

export default fp(plugin, { name: 'latchkey-users', dependencies: ['latchkey-database'] })
