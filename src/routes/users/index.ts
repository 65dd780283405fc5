import type { FastifyPluginAsync } from 'fastify'
import { TokenBody, TokenList } from '../../plugins/tokens/token-body.js'
import create from './create.js'
import disabled from './disabled.js'
import failures from './failures.js'
import list from './list.js'
import passwordReset from './password-reset.js'
import { ManagedUser, NewUser, NewUserRequest, ResetCode, ResetCodeRequest, UserDetailsBody, UserList } from './schemas.js'
import tokens from './tokens.js'
import user from './user.js'

/** The accounts of others, and who may do what. */
const users: FastifyPluginAsync = async (app) => {
  for (const schema of [ManagedUser, UserList, UserDetailsBody, NewUserRequest, NewUser, ResetCodeRequest, ResetCode, TokenBody, TokenList]) app.addSchema(schema)

  await app.register(list) // GET /users: admins
  await app.register(create) // POST /users: admins
  await app.register(user) // GET, DELETE /users/:username: admins
  await app.register(disabled) // PUT, DELETE /users/:username/disabled: admins
  await app.register(tokens) // GET, DELETE /users/:username/tokens: admins
  await app.register(failures) // DELETE /users/:username/failures: admins
  await app.register(passwordReset) // POST /users/:username/password-reset: admins
}

export default users
