import type { Static } from '@sinclair/typebox'
import type { Token } from '../../plugins/tokens/token.js'
import type { TokenBody } from './schemas.js'

/** A token in the form of the API. */
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
