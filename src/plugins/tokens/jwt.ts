import { randomUUID } from 'node:crypto'
import fastifyJwt, { type FastifyJWTOptions, type JWT } from '@fastify/jwt'
import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { LRUCache } from 'lru-cache'
import { isTokenId, isUserId, validateTimeClaims, NIL_UUID, type TokenClaims } from './claims.js'
import { TokenClaimsInvalid, TokenExpired, TokenInvalid } from '../../errors.js'
import type { ResolvedOptions } from '../../options.js'
import type { NewToken } from './repository.js'
import type { IssuedToken } from './token.js'

/** Issuing and verifying access tokens. */
export interface AccessTokens {
  /**
   * Signs a token for a user and adds its row. `undefined` when the user is gone; for a personal
   * token also when the login that asks is gone, or the user has too many.
   *
   * @param token.lifetimeSeconds its life; TOKEN_TTL_SECONDS by default
   * @param token.askingId for a personal token: the id of the login's token that asks for it; undefined where the operator asks
   */
  issue: (token: Omit<NewToken, 'createdAt' | 'expiresAt'> & { lifetimeSeconds?: number }) => Promise<IssuedToken | undefined>
  /**
   * Verifies everything that a token says by itself: form, algorithm, signature, times, claims.
   * Whether its user and its row live is the database's to say.
   *
   * @throws {TokenInvalid} for whatever is wrong with it
   * @throws {TokenExpired} its time has passed
   * @throws {TokenClaimsInvalid} it names no user
   */
  verify: (token: string) => VerifiedToken
}

/** What a token says that was verified. */
export interface VerifiedToken {
  userId: number
  /** The `jti` claim, or an id that no row has in place of one that no row can have. */
  tokenId: string
}

/** The plugin's options. */
export type JwtOptions = Pick<ResolvedOptions, 'secretKey' | 'secretKeyPrevious' | 'tokenTtlSeconds' | 'now'>

declare module 'fastify' {
  interface FastifyInstance {
    accessTokens: AccessTokens
  }
}

const algorithm = 'HS256'

// Header members that a token of ours has. Anything else (jku, x5u, jwk, kid, crit, …)
// asks the verifier to fetch, trust or understand something: refused unread (RFC 8725,
// sections 3.1 and 3.10).
const headerMembers = new Set(['alg', 'typ'])

// The 32 bytes of HMAC-SHA-256 in base64url: 43 characters, of which the last has two bits
// to spare. Only the canonical form passes (RFC 4648, section 3.5): a token has one spelling.
// Before it the two other parts of a JWS Compact Serialization (RFC 7515, section 7.1).
const ourForm = /^[\w-]+\.[\w-]+\.[\w-]{42}[AEIMQUYcgkosw048]$/

/**
 * How many tokens are remembered whose signature was verified: enough for those that are in
 * use at once, and at most a few MiB. A longer one than ours is verified each time.
 */
const verifiedTokensMax = 10_000
const verifiedTokenMaxLength = 512

function hasOurHeader (token: string): boolean {
  let header: unknown
  try {
    header = JSON.parse(Buffer.from(token.slice(0, token.indexOf('.')), 'base64url').toString())
  } catch {
    return false
  }
  return typeof header === 'object' && header !== null && !Array.isArray(header) &&
    Object.keys(header).every((member) => headerMembers.has(member)) &&
    (!('typ' in header) || header.typ === 'JWT')
}

/** @see https://github.com/fastify/fastify-jwt */
const plugin: FastifyPluginAsync<JwtOptions> = async (app, { secretKey, secretKeyPrevious, tokenTtlSeconds, now }) => {
  // The times are judged by our own rules and clock; the library checks form, algorithm and signature.
  const options: Omit<FastifyJWTOptions, 'secret'> = {
    sign: { algorithm },
    verify: { algorithms: [algorithm], ignoreExpiration: true, ignoreNotBefore: true }
  }

  // In scopes of their own: an app that embeds us may use @fastify/jwt itself.
  const isolated = async (secret: string): Promise<JWT> => {
    // Names of its own as well: the app may have registered it before us.
    const namespace = `latchkey-${randomUUID()}`
    let isolatedScope = app
    await app.register(async (scope) => {
      await scope.register(fastifyJwt, { ...options, secret, namespace, decoratorName: namespace })
      isolatedScope = scope
    })
    return Object(isolatedScope.jwt)[namespace]
  }
  const current = await isolated(secretKey)
  const keys = secretKeyPrevious === undefined ? [current] : [current, await isolated(secretKeyPrevious)]

  // What a signature has made true for good. The times are judged anew each time, and what is
  // refused is not kept; the row is the database's to know.
  const verified = new LRUCache<string, VerifiedToken & { payload: object }>({ max: verifiedTokensMax })

  function verifySignature (token: string): object {
    if (!ourForm.test(token) || !hasOurHeader(token)) throw new TokenInvalid()
    for (const key of keys) {
      try {
        return key.verify<object>(token)
      } catch {
        // Whatever verification throws means that this is no token of ours: never a 500.
      }
    }
    throw new TokenInvalid()
  }

  app.decorate('accessTokens', {
    async issue ({ lifetimeSeconds = tokenTtlSeconds, ...token }) {
      const createdAt = new Date(now())
      const iat = Math.floor(createdAt.getTime() / 1_000)
      const exp = iat + lifetimeSeconds
      // Times of claims are whole seconds; the row's are exact, so that they keep their order.
      const expiresAt = new Date(createdAt.getTime() + lifetimeSeconds * 1_000)
      const id = await app.tokens.create({ ...token, createdAt, expiresAt })
      if (id === undefined) return undefined
      const claims: TokenClaims = { user_id: token.userId, jti: id, iat, exp }
      return { id, token: current.sign(claims), lifetimeSeconds, createdAt, expiresAt }
    },

    verify (token) {
      const known = verified.get(token)
      const payload: { user_id?: unknown, jti?: unknown } = known?.payload ?? verifySignature(token)
      const verdict = validateTimeClaims(payload, now() / 1_000)
      if (verdict !== 'valid') {
        verified.delete(token)
        throw verdict === 'expired' ? new TokenExpired() : new TokenInvalid()
      }
      if (known !== undefined) return known
      const { user_id: userId, jti } = payload
      if (!isUserId(userId)) throw new TokenClaimsInvalid()
      const found = Object.freeze({ payload, userId, tokenId: isTokenId(jti) ? jti : NIL_UUID })
      // A copy: what is cut out of a header keeps all of the header, which can be long, in memory.
      if (token.length <= verifiedTokenMaxLength) verified.set(Buffer.from(token, 'latin1').toString('latin1'), found)
      return found
    }
  } satisfies AccessTokens)
}

export default fp(plugin, { name: 'latchkey-jwt', dependencies: ['latchkey-tokens'] })
