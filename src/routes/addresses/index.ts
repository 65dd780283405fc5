import type { FastifyPluginAsync } from 'fastify'
import failures from './failures.js'

/** Addresses, and who may do what. */
const addresses: FastifyPluginAsync = async (app) => {
  await app.register(failures) // DELETE /addresses/:address/failures: admins
}

export default addresses
