import fc from 'fast-check'
import type { InjectOptions } from 'fastify'
import { signToken } from '../helper.js'
import { type Account, accountOf, isActive, isAdmin, isPastGrace, type Model, type Token } from './model.js'

/** What the model says of an answer. */
export interface Verdict {
  /** What may be answered: a status, with the code where it has one, such as `401 TOKEN_REVOKED`. */
  answers: string[]
  /** Throws when the body is not true; afterwards the model is as the server must be. */
  effect?: (body: unknown, answer: string) => void
}

/** One request, and what the model says of its answer at the time when it is answered. */
export interface Step {
  request: InjectOptions
  /** Whose request it is. */
  asker: string
  /** Sent several times at once, all may succeed: it is done once. */
  isIdempotent?: boolean
  /** The token of a revocation. Revoked by another request at the same moment, it may still revoke: that leaves less, never more. */
  revokesWith?: string
  judge: (model: Model) => Verdict
}

/** Makes a step when it is its turn: what it asks for depends on what there is. */
export type Plan = (model: Model) => Step

export const invalid = '422 VALIDATION_FAILED'

/** The verdict on a request that is refused for one of several reasons, whichever is looked at first; undefined where there is none. */
export function refusedBy (...reasons: Array<string | false | undefined>): Verdict | undefined {
  const answers = reasons.filter((reason) => typeof reason === 'string')
  return answers.length === 0 ? undefined : { answers }
}

export function pick<Item> (items: readonly Item[], index: number): Item {
  const item = items[index % items.length]
  if (item === undefined) throw new Error('there is nothing to pick from')
  return item
}

/** Whoever sends a request: with a token of the model, or with none that passes the guard. */
export interface Asker {
  name: string
  headers: Record<string, string>
  /** The token; undefined for what is no token of ours. */
  value?: string
  /** What the guard answers to what is no token of ours. */
  refusal?: string
}

/** Which token a request comes with; made an `Asker` when it is its turn. */
export interface Credential {
  kind: 'active' | 'admin' | 'any' | 'missing' | 'garbage' | 'forged' | 'withoutUser' | 'ofNobody' | 'mixed'
  index: number
  scheme: string
}

const credentialWith = (weights: Partial<Record<Credential['kind'], number>>): fc.Arbitrary<Credential> => fc.record({
  kind: fc.oneof(...Object.entries(weights).map(([kind, weight]) => ({ weight, arbitrary: fc.constant(kind as Credential['kind']) }))),
  index: fc.nat(99),
  scheme: fc.constantFrom('Bearer ', 'bearer  ', '')
})

const refused = { missing: 1, garbage: 1, forged: 1, withoutUser: 1, ofNobody: 1, mixed: 1 }

/** Mostly somebody whose token is active. */
export const anyone = credentialWith({ active: 60, admin: 5, any: 15, ...refused })
/** Mostly an admin. */
export const mostlyAdmin = credentialWith({ active: 10, admin: 60, any: 10, ...refused })
function nameOf (model: Model, token: Token): string {
  return `${accountOf(model, token.userId).username} (${token.kind} token ${model.tokens.indexOf(token) + 1})`
}

/** Whoever has a token of the model. */
export function askerOf (model: Model, token: Token, scheme = 'Bearer '): Asker {
  return { name: nameOf(model, token), headers: { authorization: scheme + token.value }, value: token.value }
}

/** Whoever comes with a credential, as the model is now. */
export function ask (model: Model, { kind, index, scheme }: Credential): Asker {
  const iat = Math.floor(model.now / 1_000)
  const claims = { user_id: pick(model.accounts, index).id, jti: pick(model.tokens, index).id, iat, exp: iat + 3_600 }
  const stranger = (authorization: string, refusal: string): Asker => ({ name: kind, headers: { authorization: scheme + authorization }, refusal })
  switch (kind) {
    case 'missing': return { name: 'nobody', headers: {}, refusal: '400 AUTHORIZATION_MISSING' }
    case 'garbage': return stranger('e.y.J', '401 TOKEN_INVALID')
    case 'forged': return stranger(signToken(claims, 'another key, of the same length as ours'), '401 TOKEN_INVALID')
    case 'withoutUser': return stranger(signToken({ ...claims, user_id: undefined }), '400 TOKEN_CLAIMS_INVALID')
    case 'ofNobody': return stranger(signToken({ ...claims, user_id: 999_999_999 }), '400 USER_NOT_FOUND')
    case 'mixed': {
      // Our signature, one user's id, another one's token.
      const other = model.accounts.find(({ id }) => id !== pick(model.tokens, index).userId)
      return stranger(signToken({ ...claims, user_id: other?.id }), other?.isDeleted === true ? '400 USER_NOT_FOUND' : '401 TOKEN_REVOKED')
    }
  }
  const candidates = {
    active: model.tokens.filter((token) => isActive(model, token)),
    admin: model.tokens.filter((token) => isActive(model, token) && isAdmin(accountOf(model, token.userId))),
    any: model.tokens
  }[kind]
  return askerOf(model, pick(candidates.length === 0 ? model.tokens : candidates, index), scheme)
}

export function tokenOf (model: Model, asker: Asker): Token {
  const token = model.tokens.find(({ value }) => value === asker.value)
  if (token === undefined) throw new Error(`the model does not have the token of ${asker.name}`)
  return token
}

/** The account that a request acts for; only after the guard let it through. */
export const accountOfAsker = (model: Model, asker: Asker): Account => accountOf(model, tokenOf(model, asker).userId)

/** What the guard answers; undefined where the request passes, which uses the token. */
export function guard (model: Model, asker: Asker, { onlyAdmins = false } = {}): string | undefined {
  if (asker.value === undefined) return asker.refusal
  const token = tokenOf(model, asker)
  const account = accountOf(model, token.userId)
  if (token.expiresAt <= model.now) return '401 TOKEN_EXPIRED'
  if (account.isDeleted) return '400 USER_NOT_FOUND'
  if (token.isRevoked || isPastGrace(model, token)) return '401 TOKEN_REVOKED'
  token.uses.push(model.now)
  if (onlyAdmins && !isAdmin(account)) return '403 ROLE_REQUIRED'
}
