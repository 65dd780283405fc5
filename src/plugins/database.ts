import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { lostStatementAdvice } from '../database/errors.js'
import { openStore } from '../database/open.js'
import type { Store, StoreOptions } from '../database/store.js'

declare module 'fastify' {
  interface FastifyInstance {
    /** The database. */
    store: Store
  }
}

/** Opens the store, and closes it with the app, after the last response. */
const plugin: FastifyPluginAsync<Omit<StoreOptions, 'onFileChange' | 'onStatementLost'> & { url: string }> = async (app, { url, ...options }) => {
  const store = await openStore(url, {
    ...options,
    onStatementLost: () => app.log.error(lostStatementAdvice),
    onFileChange (problem) {
      if (problem === undefined) app.log.info('the database is back in its place')
      else app.log.error(problem)
    }
  })
  app.decorate('store', store)
  app.addHook('onClose', () => store.close())
}

export default fp(plugin, { name: 'latchkey-database', fastify: '5.x' })
