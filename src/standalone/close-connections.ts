import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'

/**
 * Lets a closing server close soon: what is in flight is answered with `Connection:
 * close`, so that no kept-alive connection holds the process until its timeout.
 */
const plugin: FastifyPluginAsync = async (app) => {
  let isDraining = false
  app.addHook('preClose', async () => { isDraining = true })
  app.addHook('onSend', (request, reply, payload, done) => {
    if (isDraining) reply.header('connection', 'close')
    done(null, payload)
  })
}

export default fp(plugin, { name: 'latchkey-close-connections', fastify: '5.x' })
