import Fastify, { type FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'

/** Fastify's log without its two lines for each request: its `logController`. */
export class WithoutRequests extends Fastify.LogController {
  override incomingRequest (): void {}
  override requestCompleted (): void {}
}

/** One line for each request, when it is answered; with the level debug another one when it comes. */
const plugin: FastifyPluginAsync = async (app) => {
  app.addHook('onRequest', (request, reply, done) => {
    request.log.debug({ req: request }, 'incoming request')
    done()
  })
  app.addHook('onResponse', (request, reply, done) => {
    request.log.info({ req: request, res: reply, responseTime: reply.elapsedTime }, 'request completed')
    done()
  })
}

export default fp(plugin, { name: 'latchkey-request-log', fastify: '5.x' })
