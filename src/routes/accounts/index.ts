import type { FastifyPluginAsync } from 'fastify'
import { SignupRequest, SignupResponse, UserBody } from './schemas.js'
import signup from './signup.js'

/** Accounts: who may do what. */
const accounts: FastifyPluginAsync<{ signup: 'open' | 'closed' }> = async (app, options) => {
  for (const schema of [UserBody, SignupRequest, SignupResponse]) app.addSchema(schema)

  await app.register(signup, options) // POST /signup: anyone, unless it is closed
}

export default accounts
