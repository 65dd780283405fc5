import type { FastifyPluginAsync } from 'fastify'
import list from './list.js'
import { EventBody, EventList } from './schemas.js'

/** Events: who may see what. */
const events: FastifyPluginAsync = async (app) => {
  for (const schema of [EventBody, EventList]) app.addSchema(schema)

  await app.register(list) // GET /events: admins; GET /me/events: whoever has a token, their own
}

export default events
