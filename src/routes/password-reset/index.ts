import type { FastifyPluginAsync } from 'fastify'
import request from './request.js'
import { PasswordReset, PasswordResetRequest } from './schemas.js'
import setPassword from './set-password.js'

/** Forgotten passwords, and who may do what. */
const passwordReset: FastifyPluginAsync = async (app) => {
  for (const schema of [PasswordResetRequest, PasswordReset]) app.addSchema(schema)

  await app.register(request) // POST /password-reset: anyone
  await app.register(setPassword) // PUT /password-reset: whoever has the code
}

export default passwordReset
