import { randomUUID } from 'node:crypto'
import fastifyJwt, { type FastifyJWTOptions, type JWT } from '@fastify/jwt'
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { LRUCache } from 'lru-cache'
import { TokenClaimsInvalid, TokenExpired, TokenInvalid } from '../../errors.js'
import type { ResolvedOptions } from '../../options.js'
import { isTokenId, isUserId, NIL_UUID, type TokenClaims, validateTimeClaims } from './claims.js'
import type { NewToken } from './creation.js'
import { tokenEviction } from './eviction.js'
import type { IssuedToken, TokenIds } from './token.js'
import { hasTokenForm } from './token-form.js'

/** Issues and verifies access tokens. */
export interface AccessTokens {
  /**
   * Signs a token for a user and inserts its row. `undefined` when the user does not exist; for a
   * login also when the password or the second factor was changed since it was checked; for a personal access token
   * also when the login token of the request was revoked, or the user has too many; for a renewal
   * also when the renewed token is not an active login's. If the user has too many tokens then,
   * logins are evicted.
   *
   * @param token.lifetimeSeconds its lifetime; TOKEN_TTL_SECONDS by default
   */
  issue: (token: TokenRequest) => Promise<IssuedToken | undefined>
  /**
   * Verifies what a token says by itself: form, algorithm, signature, times, claims. Only the
   * database knows whether its user exists and whether the token was revoked.
   *
   * @throws {TokenInvalid} anything is wrong with it
   * @throws {TokenExpired} it has expired
   * @throws {TokenClaimsInvalid} it names no user
   */
  verify: (token: string) => VerifiedToken
}

/** The token to be issued. */
type TokenRequest = DistributiveOmit<NewToken, 'createdAt' | 'expiresAt'> & { lifetimeSeconds?: number }

/** `Omit` of each member of a union. */
type DistributiveOmit<Union, Key extends keyof Union> = Union extends unknown ? Omit<Union, Key> : never

/** The ids that a verified token names: `tokenId` is the `jti` claim, or `NIL_UUID` in place of one that no row can have. */
export type VerifiedToken = TokenIds

/** The plugin's options. */
export type JwtOptions = Pick<ResolvedOptions, 'secretKey' | 'secretKeyPrevious' | 'tokenTtlSeconds' | 'now'>

declare module 'fastify' {
  interface FastifyInstance {
    accessTokens: AccessTokens
  }
}

const algorithm = 'HS256'

// We validate the times by our own rules and clock; the library verifies form, algorithm and signature.
const libraryOptions: Omit<FastifyJWTOptions, 'secret'> = {
  sign: { algorithm },
  verify: { algorithms: [algorithm], ignoreExpiration: true, ignoreNotBefore: true }
}

/**
 * How many tokens are cached whose signature was verified: enough for those in use at the same
 * time, and a few MiB at most. Longer tokens than ours are verified every time.
 */
const verifiedTokensMax = 10_000
const verifiedTokenMaxLength = 512

/** The length of an HMAC-SHA-256 in base64url. */
const signatureLength = 43

/** A copy of a part of a header: a slice would keep the whole header in memory, which can be long. */
const copyOf = (text: string): string => Buffer.from(text, 'latin1').toString('latin1')

/** The library with a key, in a scope and with names of its own: the host app may use @fastify/jwt itself. */
async function createSigner (app: FastifyInstance, secret: string): Promise<JWT> {
  const namespace = `latchkey-${randomUUID()}`
  let signer: JWT | undefined
  await app.register(async (scope) => {
    await scope.register(fastifyJwt, { ...libraryOptions, secret, namespace, decoratorName: namespace })
    // With a namespace the library decorates `jwt` with one signer for each, which its types do not say.
    signer = (scope.jwt as unknown as Record<string, JWT>)[namespace]
  })
  // Set once the registration has been awaited.
  return signer as JWT
}

/** @see https://github.com/fastify/fastify-jwt */
const plugin: FastifyPluginAsync<JwtOptions> = async (app, { secretKey, secretKeyPrevious, tokenTtlSeconds, now }) => {
  const evict = tokenEviction(app, now)
  const current = await createSigner(app, secretKey)
  const signers = secretKeyPrevious === undefined ? [current] : [current, await createSigner(app, secretKeyPrevious)]

  // A signature stays valid. The times are validated every time, the row is looked up every time,
  // and a rejected token is not cached. The key is the signature alone, because hashing a whole
  // token takes as long as the rest of its verification.
  const verified = new LRUCache<string, VerifiedToken & { token: string, payload: object }>({ max: verifiedTokensMax })

  function verifySignature (token: string): object {
    if (!hasTokenForm(token)) throw new TokenInvalid()
    for (const signer of signers) {
      try {
        return signer.verify<object>(token)
      } catch {
        // Any error of the verification means that the token is not ours: never a 500.
      }
    }
    throw new TokenInvalid()
  }

  app.decorate('accessTokens', {
    async issue ({ lifetimeSeconds = tokenTtlSeconds, ...token }) {
      const createdAt = new Date(now())
      const iat = Math.floor(createdAt.getTime() / 1_000)
      const exp = iat + lifetimeSeconds
      // Times in claims are whole seconds; those of the row are exact, so that tokens keep their order.
      const expiresAt = new Date(createdAt.getTime() + lifetimeSeconds * 1_000)
      const inserted = await app.tokens.create({ ...token, createdAt, expiresAt })
      if (inserted === undefined) return undefined
      const { id, isSurplus } = inserted
      const requestingId = token.kind === 'personal' ? token.requestingTokenId : undefined
      if (isSurplus) await evict({ userId: token.userId, keepIds: [id, requestingId ?? id] })
      const claims: TokenClaims = { user_id: token.userId, jti: id, iat, exp }
      return { id, token: current.sign(claims), lifetimeSeconds, createdAt, expiresAt }
    },

    verify (token) {
      const signature = token.slice(-signatureLength)
      const found = verified.get(signature)
      const cached = found?.token === token ? found : undefined
      const payload: { user_id?: unknown, jti?: unknown } = cached?.payload ?? verifySignature(token)
      const verdict = validateTimeClaims(payload, now() / 1_000)
      if (verdict !== 'valid') {
        if (cached !== undefined) verified.delete(signature)
        throw verdict === 'expired' ? new TokenExpired() : new TokenInvalid()
      }
      if (cached !== undefined) return cached
      const { user_id: userId, jti } = payload
      if (!isUserId(userId)) throw new TokenClaimsInvalid()
      const verifiedToken = Object.freeze({ token: copyOf(token), payload, userId, tokenId: isTokenId(jti) ? jti : NIL_UUID })
      if (token.length <= verifiedTokenMaxLength) verified.set(copyOf(signature), verifiedToken)
      return verifiedToken
    }
  } satisfies AccessTokens)
}

export default fp(plugin, { name: 'latchkey-jwt', dependencies: ['latchkey-tokens', 'latchkey-audit'] })
