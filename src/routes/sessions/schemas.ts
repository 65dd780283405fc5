import { Type } from '@sinclair/typebox'
import { tokenMaxLifetimeSeconds } from '../../plugins/tokens/claims.js'
import { descriptionMaxLength } from '../../lib/single-line.js'
import { personalTokenLifetimeSeconds, recentLoginSeconds } from '../../plugins/tokens/limits.js'
import { TokenBody } from '../../plugins/tokens/token-body.js'

export const LoginRequest = Type.Object({
  username: Type.String({ minLength: 1, description: 'In any case.', examples: ['ada'] }),
  password: Type.String({ minLength: 1, format: 'current-password', description: 'At most 256 characters.', examples: ['correct horse battery staple'] })
}, { $id: 'latchkey.LoginRequest', description: 'A username and its password.' })

export const LoginResponse = Type.Object({
  token: Type.String({ description: 'A JSON Web Token. Send it as `Authorization: Bearer <token>`.', examples: ['eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJ1c2VyX2lkIjoxfQ.c2lnbmF0dXJl'] }),
  token_type: Type.String({ enum: ['Bearer'], description: 'The scheme of the token (RFC 6750).', examples: ['Bearer'] }),
  expires_in: Type.Integer({ description: 'The lifetime of the token, in seconds.', examples: [172_800] })
}, { $id: 'latchkey.LoginResponse', description: 'A token, in the shape of RFC 6749, section 5.1.' })

export const Message = Type.Object({
  msg: Type.String({ description: 'What was done, for humans.', examples: ['logged out'] })
}, { $id: 'latchkey.Message', description: 'A confirmation.' })

export const TokenRequest = Type.Object({
  description: Type.String({ minLength: 1, maxLength: descriptionMaxLength, format: 'description', description: 'What the token is for, in one line.', examples: ['backup script'] }),
  expires_in: Type.Optional(Type.Integer({ minimum: 1, maximum: tokenMaxLifetimeSeconds, default: personalTokenLifetimeSeconds, description: 'The lifetime of the token, in seconds: 30 days by default, at most one year.', examples: [personalTokenLifetimeSeconds] })),
  password: Type.Optional(Type.String({ minLength: 1, format: 'current-password', description: `The password of the account: required if the login is older than ${recentLoginSeconds / 60} minutes.`, examples: ['correct horse battery staple'] }))
}, { $id: 'latchkey.TokenRequest', description: 'A request for a personal access token.' })

export const NewTokenBody = Type.Object({
  ...TokenBody.properties,
  token: LoginResponse.properties.token
}, { $id: 'latchkey.NewToken', description: 'A new token. The server shows its text only once.' })
