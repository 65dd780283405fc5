import Fastify, { type FastifyReply, type FastifyRequest } from 'fastify'

/**
 * One line for each request, when it is answered; with the level debug another one when it comes.
 *
 * @see https://fastify.dev/docs/latest/Reference/Logging/
 */
export class RequestLog extends Fastify.LogController {
  override incomingRequest (request: FastifyRequest): void {
    request.log.debug({ req: request }, 'incoming request')
  }

  override requestCompleted (error: Error | null | undefined, request: FastifyRequest, reply: FastifyReply): void {
    const { log, elapsedTime: responseTime } = reply
    if (error) log.error({ req: request, res: reply, err: error, responseTime }, 'request errored')
    else log.info({ req: request, res: reply, responseTime }, 'request completed')
  }
}
