import { Type } from '@sinclair/typebox'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { ServiceUnavailable } from '../../errors.js'
import { ref } from '../../schema-ref.js'

const Health = Type.Object({
  status: Type.String({ enum: ['ok'], examples: ['ok'] })
}, { $id: 'latchkey.Health', description: 'All is well.' })

/** Health: for load balancers, orchestrators and people; anyone may ask. */
const health: FastifyPluginAsyncTypebox = async (app) => {
  app.addSchema(Health)

  app.get('/health/live', {
    schema: {
      operationId: 'isLive',
      tags: ['Health'],
      summary: 'Is the process alive?',
      description: 'Answers while the process turns, whatever its database does. When it does not, restart it.',
      security: [],
      response: { 200: ref(Health) }
    }
  }, async () => ({ status: 'ok' }))

  app.get('/health/ready', {
    config: { errors: [ServiceUnavailable] },
    schema: {
      operationId: 'isReady',
      tags: ['Health'],
      summary: 'Can it serve?',
      description: 'Asks the database. When it has no answer, send the traffic elsewhere.',
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
