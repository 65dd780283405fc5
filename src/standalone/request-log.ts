import Fastify, { type FastifyPluginAsync, type FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'

/** Fastify's log without its two lines for each request: its `logController`. */
export class WithoutRequests extends Fastify.LogController {
  override incomingRequest (): void {}
  override requestCompleted (error: Error | null | undefined, request: FastifyRequest): void {
    if (error) request.log.error({ req: request, err: error }, 'request errored')
  }
}

/** One line for each request, when it is answered or its client has left; with the level debug another one when it comes. */
const plugin: FastifyPluginAsync = async (app) => {
  app.addHook('onRequest', (request, reply, done) => {
    request.log.debug({ req: request }, 'incoming request')
    done()
  })
  app.addHook('onResponse', (request, reply, done) => {
    request.log.info({ req: request, res: reply, responseTime: reply.elapsedTime }, 'request completed')
    done()
  })
  app.addHook('onRequestAbort', (request, done) => {
    request.log.info({ req: request }, 'request aborted')
    done()
  })
}

export default fp(plugin, { name: 'latchkey-request-log', fastify: '5.x' })
