import type { FastifyReply } from 'fastify'

/** Aborted when there is nobody any more to answer. */
export function disconnectSignal (reply: FastifyReply): AbortSignal {
  const controller = new AbortController()
  reply.raw.once('close', () => { if (!reply.raw.writableFinished) controller.abort() })
  return controller.signal
}
