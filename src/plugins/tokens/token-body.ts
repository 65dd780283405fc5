import { type Static, Type } from '@sinclair/typebox'
import { ref } from '../../schema-ref.js'
import type { Token } from './token.js'

/** An active token in the form of the API. */
export const TokenBody = Type.Object({
  id: Type.String({ format: 'uuid', description: 'The `jti` claim of the token (RFC 7519, section 4.1.7).', examples: ['4e808214-e320-4173-bb6c-b75fbdd51003'] }),
  description: Type.String({ description: 'What the token is for; for a login token, the start of the User-Agent header.', examples: ['backup script'] }),
  created_at: Type.String({ format: 'date-time', examples: ['2026-11-23T20:44:00.000Z'] }),
  expires_at: Type.String({ format: 'date-time', examples: ['2026-12-23T20:44:00.000Z'] }),
  last_used_at: Type.Unsafe<string | null>({ type: ['string', 'null'], format: 'date-time', description: 'Accurate to about five minutes; null if the token was not used yet.', examples: ['2026-11-23T20:44:00.000Z'] }),
  current: Type.Boolean({ description: 'Whether it is the token of this request.', examples: [false] })
}, { $id: 'latchkey.Token', description: 'An active token, without the token itself.' })

/** All active tokens of an account in the form of the API. */
export const TokenList = Type.Object({
  tokens: Type.Array(ref(TokenBody), { description: 'Newest first.' })
}, { $id: 'latchkey.TokenList', description: 'All active tokens of an account.' })

/** Puts a token into the form of the API. */
export function tokenBody ({ id, description, createdAt, expiresAt, lastUsedAt }: Token, currentTokenId: string): Static<typeof TokenBody> {
  return {
    id,
    description,
    created_at: createdAt.toISOString(),
    expires_at: expiresAt.toISOString(),
    last_used_at: lastUsedAt?.toISOString() ?? null,
    current: id === currentTokenId
  }
}
