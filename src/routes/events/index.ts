import type { FastifyPluginAsync } from 'fastify'
import list from './list.js'
import { EventBody, EventList } from './schemas.js'

/** Events, and who may see them. */
const events: FastifyPluginAsync = async (app) => {
  for (const schema of [EventBody, EventList]) app.addSchema(schema)

  await app.register(list) // GET /events: admins; GET /me/events: authenticated users, their own events
}

export default events
