import Fastify, { type FastifyPluginAsync, type FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'

/** A `logController` that logs failed requests only, instead of two lines for every request. */
export class FailuresOnlyLogController extends Fastify.LogController {
  override incomingRequest (): void {}
  override requestCompleted (error: Error | null | undefined, request: FastifyRequest): void {
    if (error) request.log.error({ req: request, err: error }, 'request errored')
  }
}

/** Logs one line per request: when it is answered, or when its client disconnects. With the level debug, also when it arrives. */
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
