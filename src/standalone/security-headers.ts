import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { apiHeaders } from './header-values.js'

/** The headers of every answer; what shows pages sets those of pages. */
const plugin: FastifyPluginAsync = async (app) => {
  const headers = Object.entries(apiHeaders)
  app.addHook('onRequest', (request, reply, done) => {
    for (const [name, value] of headers) reply.header(name, value)
    done()
  })
}

export default fp(plugin, { name: 'latchkey-security-headers', fastify: '5.x' })
