import { Type } from '@sinclair/typebox'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { ServiceUnavailable } from '../../errors.js'
import { ref } from '../../schema-ref.js'

const Health = Type.Object({
  status: Type.String({ enum: ['ok'], examples: ['ok'] })
}, { $id: 'latchkey.Health', description: 'The server works.' })

/** Health checks, for load balancers and orchestrators, open to any client. */
const health: FastifyPluginAsyncTypebox = async (app) => {
  app.addSchema(Health)

  app.get('/health/live', {
    schema: {
      operationId: 'isLive',
      tags: ['Health'],
      summary: 'Check liveness',
      description: 'Answers while the process runs, even if the database does not answer. If there is no answer, restart the process.',
      security: [],
      response: { 200: ref(Health) }
    }
  }, async () => ({ status: 'ok' }))

  app.get('/health/ready', {
    config: { errors: [ServiceUnavailable] },
    schema: {
      operationId: 'isReady',
      tags: ['Health'],
      summary: 'Check readiness',
      description: 'Queries the database. If the answer is not 200, send traffic to another server.',
      security: [],
      response: { 200: ref(Health) }
    }
  }, async (request) => {
    try {
      await app.latchkey.ping()
    } catch (error) {
      throw new ServiceUnavailable({ cause: error })
    }
    return { status: 'ok' }
  })
}

export default health
