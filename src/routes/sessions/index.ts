import type { FastifyPluginAsync } from 'fastify'
import login from './login.js'
import { LoginRequest, LoginResponse } from './schemas.js'

/** Sessions: who may do what. */
const sessions: FastifyPluginAsync<{ loginErrors: 'detailed' | 'uniform' }> = async (app, options) => {
  for (const schema of [LoginRequest, LoginResponse]) app.addSchema(schema)

  await app.register(login, options) // POST /login: anyone
}

export default sessions
