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
    const { id: reqId } = request
    const startMs = performance.now()
    app.log.debug({ reqId, req: request }, 'incoming request')
    // One listener; Fastify's hooks for responses and disconnects add four. The logger of the request need not be created.
    reply.raw.on('close', () => {
      if (reply.raw.writableEnded) app.log.info({ reqId, req: request, res: reply, responseTime: performance.now() - startMs }, 'request completed')
      else app.log.info({ reqId, req: request }, 'request aborted')
    })
    done()
  })
}

export default fp(plugin, { name: 'latchkey-request-log', fastify: '5.x' })
