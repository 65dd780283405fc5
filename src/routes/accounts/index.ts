import type { FastifyPluginAsync } from 'fastify'
import type { ResolvedOptions } from '../../options.js'
import me from './me.js'
import { AccountBody, AccountDeletion, PasswordChange, SignupRequest, SignupResponse, UserBody } from './schemas.js'
import signup from './signup.js'

/** Accounts, and who may do what. */
const accounts: FastifyPluginAsync<Pick<ResolvedOptions, 'signup'>> = async (app, options) => {
  for (const schema of [UserBody, AccountBody, SignupRequest, SignupResponse, PasswordChange, AccountDeletion]) app.addSchema(schema)

  await app.register(signup, options) // POST /signup: anyone, unless it is closed
  await app.register(me) // GET, DELETE /me, POST /me/deletion, PUT /me/password: authenticated users, their own account
}

export default accounts
