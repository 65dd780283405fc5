import type { FastifyPluginAsync } from 'fastify'
import type { ResolvedOptions } from '../../options.js'
import { UserBody } from '../../plugins/users/user-body.js'
import email from './email.js'
import emailVerification from './email-verification.js'
import me from './me.js'
import { AccountBody, AccountDeletion, EmailChange, EmailVerification, PasswordChange, SignupRequest, SignupResponse, UsernameChange } from './schemas.js'
import signup from './signup.js'
import username from './username.js'

/** Accounts, and who may do what. */
const accounts: FastifyPluginAsync<Pick<ResolvedOptions, 'signup'>> = async (app, options) => {
  for (const schema of [UserBody, AccountBody, SignupRequest, SignupResponse, PasswordChange, AccountDeletion, UsernameChange, EmailChange, EmailVerification]) app.addSchema(schema)

  await app.register(signup, options) // POST /signup: anyone, unless it is closed or only for the invited
  await app.register(me) // GET, DELETE /me, POST /me/deletion, PUT /me/password: authenticated users, their own account
  await app.register(username) // PUT /me/username: authenticated users, their own account
  await app.register(email) // PUT /me/email: authenticated users, their own account
  await app.register(emailVerification) // POST /email-verification: authenticated users, their own account; PUT: whoever has a code
}

export default accounts
