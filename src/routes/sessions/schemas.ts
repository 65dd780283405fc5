import { Type } from '@sinclair/typebox'

export const LoginRequest = Type.Object({
  username: Type.String({ minLength: 1, description: 'In any case.', examples: ['bob'] }),
  password: Type.String({ minLength: 1, format: 'current-password', description: 'At most 256 characters.', examples: ['correct horse battery staple'] })
}, { $id: 'LoginRequest', description: 'A username and its password.' })

export const LoginResponse = Type.Object({
  token: Type.String({ description: 'A JSON Web Token. Send it as `Authorization: Bearer <token>`.', examples: ['eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJ1c2VyX2lkIjoxfQ.c2lnbmF0dXJl'] }),
  token_type: Type.String({ enum: ['Bearer'], description: 'How to send it (RFC 6750).', examples: ['Bearer'] }),
  expires_in: Type.Integer({ description: 'Its life, in seconds.', examples: [172_800] })
}, { $id: 'LoginResponse', description: 'A token, in the shape of RFC 6749, section 5.1.' })
