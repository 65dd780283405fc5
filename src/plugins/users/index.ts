import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { bestEffort } from '../../lib/background.js'
import { type Directory, directoryRepository } from './directory.js'
import { type Disabling, disablingRepository } from './disabling.js'
import { type Users, usersRepository } from './repository.js'

declare module 'fastify' {
  interface FastifyInstance {
    users: Users & Directory & Disabling
  }
}

/** How many usernames the warning lists. */
const listedUsernames = 10

const plugin: FastifyPluginAsync<{ now: () => number }> = async (app, { now }) => {
  const users = usersRepository(app.store, now)
  app.decorate('users', { ...users, ...directoryRepository(app.store, now), ...disablingRepository(app.store, now) })
  app.addHook('onReady', bestEffort(app, {
    async work () {
      const names = await users.listUnaddressable(listedUsernames + 1)
      if (names.length === 0) return
      const listed = `${names.slice(0, listedUsernames).join(' ')}${names.length > listedUsernames ? ' and others' : ''}`
      app.log.warn(`usernames that an older version permitted, and that URLs or commands read as something else: ${listed}. Create other accounts for their owners, and delete these: latchkey user delete -- <name>`)
    },
    failure: 'looking for usernames that are no longer permitted failed'
  }))
}

export default fp(plugin, { name: 'latchkey-users', dependencies: ['latchkey-database'] })
