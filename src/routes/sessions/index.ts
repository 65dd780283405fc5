import type { FastifyPluginAsync } from 'fastify'
import type { ResolvedOptions } from '../../options.js'
import { TokenBody, TokenList } from '../../plugins/tokens/token-body.js'
import login from './login.js'
import logout from './logout.js'
import renew from './renew.js'
import { LoginRequest, LoginResponse, Message, NewTokenBody, TokenRequest } from './schemas.js'
import tokens from './tokens.js'

/** Sessions, and who may do what. */
const sessions: FastifyPluginAsync<Pick<ResolvedOptions, 'loginErrors' | 'tokenTtlSeconds' | 'sessionMaxSeconds'>> = async (app, options) => {
  for (const schema of [LoginRequest, LoginResponse, Message, TokenBody, TokenList, TokenRequest, NewTokenBody]) app.addSchema(schema)

  await app.register(login, options) // POST /login: anyone
  await app.register(renew, options) // POST /renew: authenticated users, with the token of a login
  await app.register(logout) // POST /logout: authenticated users
  await app.register(tokens) // GET, POST, DELETE /tokens, DELETE /tokens/:id: authenticated users, their own tokens
}

export default sessions
