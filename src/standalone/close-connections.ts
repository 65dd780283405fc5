import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'

/**
 * Answers requests in flight with `Connection: close` once the server is closing. Otherwise
 * keep-alive connections would delay the end of the process until their timeout.
 */
const plugin: FastifyPluginAsync = async (app) => {
  let isClosing = false
  app.addHook('preClose', async () => { isClosing = true })
  app.addHook('onSend', (request, reply, payload, done) => {
    if (isClosing) reply.header('connection', 'close')
    done(null, payload)
  })
}

export default fp(plugin, { name: 'latchkey-close-connections', fastify: '5.x' })
