import { deepEqual, ok } from 'node:assert/strict'
import fc from 'fast-check'
import { claimsOf } from '../helper.js'
import { givenPassword, isSamePassword, ownPassword } from './account-steps.js'
import { accountOf, activeTokens, addToken, freshLoginSeconds, isActive, loginLifetimeSeconds, type Model, personalLifetimeSeconds, personalTokensMax, recordEvent, revokeToken, revokeTokens, sessionMaxSeconds, type Token } from './model.js'
import { accountOfAsker, anyone, ask, type Asker, guard, invalid, pick, type Plan, refusedBy, type Step, tokenOf, type Verdict } from './step.js'

/** What is sent to a route that takes no body. */
export const noBody = fc.oneof(
  { weight: 10, arbitrary: fc.constant({}) },
  { weight: 2, arbitrary: fc.constantFrom('application/json', 'text/plain', 'multipart/form-data').map((type) => ({ type })) },
  { weight: 1, arbitrary: fc.record({ payload: fc.constantFrom('{}', 'x', '{"a":', 'x'.repeat(20_000)), type: fc.constantFrom('application/json', 'text/plain') }) }
) as fc.Arbitrary<Body>

export interface Body { payload?: string, type?: string }

/** The headers and the body of a request to a route that takes none. */
export const withBody = ({ headers }: Asker, { payload, type }: Body) => ({
  payload, headers: { ...headers, ...(type === undefined ? {} : { 'content-type': type }) }
})

export const bodyRefusal = ({ payload }: Body) => payload !== undefined && '400 BODY_UNEXPECTED'

export const logOut = fc.record({ credential: anyone, body: noBody }).map(({ credential, body }): Plan => (model) => {
  const asker = ask(model, credential)
  return {
    request: { method: 'POST', url: '/api/v1/logout', ...withBody(asker, body) },
    asker: asker.name,
    revokesWith: asker.value,
    judge: (model): Verdict => refusedBy(guard(model, asker), bodyRefusal(body)) ?? {
      answers: ['200'],
      effect (answer) {
        deepEqual(answer, { msg: 'logged out' })
        const token = tokenOf(model, asker)
        revokeToken(model, token)
        recordEvent(model, 'logout', { userId: token.userId })
      }
    }
  }
})

export const renew = fc.record({ credential: anyone, body: noBody }).map(({ credential, body }): Plan => (model) => {
  const asker = ask(model, credential)
  return {
    request: { method: 'POST', url: '/api/v1/renew', ...withBody(asker, body) },
    asker: asker.name,
    judge (model): Verdict {
      const refusal = guard(model, asker)
      const token = refusal === undefined ? tokenOf(model, asker) : undefined
      const lifetimeSeconds = Math.min(loginLifetimeSeconds, sessionMaxSeconds - (model.now - Number(token?.loggedInAt)) / 1_000)
      const refused = refusedBy(refusal, bodyRefusal(body), token?.kind === 'personal' && '403 LOGIN_REQUIRED', token?.kind === 'login' && lifetimeSeconds < 1 && '401 LOGIN_TOO_OLD')
      if (refused !== undefined || token === undefined) return refused ?? { answers: [] }
      return {
        answers: ['200'],
        effect (answer) {
          const { token: value, ...others } = answer as { token: string }
          deepEqual(others, { token_type: 'Bearer', expires_in: lifetimeSeconds })
          const { userId, description, loggedInAt } = token
          const expiresAt = model.now + lifetimeSeconds * 1_000
          const { jti: id, ...claims } = claimsOf(value)
          deepEqual(claims, { user_id: userId, iat: model.now / 1_000, exp: expiresAt / 1_000 })
          token.renewedAt ??= model.now
          addToken(model, { value, id, userId, kind: 'login', description, expiresAt, loggedInAt })
          recordEvent(model, 'renewal', { userId })
        }
      }
    }
  }
})

const time = (milliseconds: number) => new Date(milliseconds).toISOString()

const descriptions = ['backup script', 'ü'.repeat(200)]
const badDescriptions = ['', '   ', 'two\nlines', 'x'.repeat(201)]
const lifetimes = [undefined, 1, 60, 100_000, 31_536_000]
const badLifetimes = [0, -1, 1.5, '60', 31_536_001, null]

interface NewToken { description: string, expires_in?: number, password?: string }

/** Makes a personal token; the request is as valid as its body. */
export function createTokenStep (asker: Asker, payload: NewToken, isInvalid = false): Step {
  const { description, expires_in: lifetimeSeconds = personalLifetimeSeconds, password } = payload
  return {
    request: { method: 'POST', url: '/api/v1/tokens', headers: asker.headers, payload },
    asker: asker.name,
    judge (model): Verdict {
      const refusal = guard(model, asker)
      const token = refusal === undefined ? tokenOf(model, asker) : undefined
      const refused = refusedBy(refusal, token?.kind === 'personal' && '403 LOGIN_REQUIRED', isInvalid && invalid)
      if (refused !== undefined || token === undefined) return refused ?? { answers: [] }
      const { userId } = token
      const ageSeconds = (model.now - token.loggedInAt) / 1_000
      const isFresh = password !== undefined || ageSeconds < freshLoginSeconds
      // The contract leaves open on which side the limit itself is.
      const mayBeFresh = isFresh || ageSeconds === freshLoginSeconds
      const reasons = refusedBy(
        !isFresh && '401 LOGIN_TOO_OLD',
        password !== undefined && !isSamePassword(password, accountOf(model, userId).password) && '401 PASSWORD_INCORRECT',
        activeTokens(model, userId).filter(({ kind }) => kind === 'personal').length >= personalTokensMax && '409 TOO_MANY_TOKENS'
      )
      const answers = reasons?.answers ?? []
      if (answers.length === 0 || (mayBeFresh && !isFresh && answers.length === 1)) answers.push('201')
      return {
        answers,
        effect (body, answer) {
          if (answer === '401 PASSWORD_INCORRECT') recordEvent(model, 'token_creation', { outcome: 'password_incorrect', userId })
          if (answer !== '201') return
          const { id, token: value } = body as { id: string, token: string }
          const expiresAt = model.now + lifetimeSeconds * 1_000
          deepEqual(body, { id, description, created_at: time(model.now), expires_at: time(expiresAt), last_used_at: null, current: false, token: value })
          addToken(model, { value, id, userId, kind: 'personal', description, expiresAt }, token.value)
          recordEvent(model, 'token_creation', { userId })
        }
      }
    }
  }
}

const isBad = ({ description, expires_in: lifetime }: { description: string, expires_in?: unknown }) =>
  badDescriptions.includes(description) || badLifetimes.some((bad) => bad === lifetime)

export const createToken = fc.record({
  credential: anyone,
  description: fc.oneof({ weight: 8, arbitrary: fc.constantFrom(...descriptions) }, { weight: 1, arbitrary: fc.constantFrom(...badDescriptions) }),
  expires_in: fc.oneof({ weight: 8, arbitrary: fc.constantFrom(...lifetimes) }, { weight: 1, arbitrary: fc.constantFrom(...badLifetimes) }),
  isPasswordGiven: fc.boolean(),
  given: givenPassword
}).map(({ credential, isPasswordGiven, given, ...body }): Plan => (model) => {
  const asker = ask(model, credential)
  const payload = { ...body, password: isPasswordGiven ? given ?? ownPassword(model, asker) : undefined } as NewToken
  return createTokenStep(asker, payload, isBad(body) || isUnusable(payload.password))
})

/** What no password can be, checked before anything else. */
const isUnusable = (password?: string) => password !== undefined && (password === '' || password.length > 256 || password.includes('\0') || !password.isWellFormed())

/** Where the model says when a token was used, the server may have noted an earlier use: it notes one in five minutes. */
function checkUse (token: Token, lastUsedAt: string | null, isCurrent: boolean): void {
  if (lastUsedAt === null) ok(!isCurrent, 'last_used_at is null for the token that asks')
  else ok(token.uses.includes(Date.parse(lastUsedAt)), `last_used_at is ${lastUsedAt}, when the token was not used`)
}

export const listTokensStep = (asker: Asker): Step => ({
  request: { method: 'GET', url: '/api/v1/tokens', headers: asker.headers },
  asker: asker.name,
  judge: (model): Verdict => refusedBy(guard(model, asker)) ?? {
    answers: ['200'],
    effect (body) {
      const { tokens } = body as { tokens: Array<{ id: string, created_at: string, last_used_at: string | null }> }
      const active = activeTokens(model, accountOfAsker(model, asker).id).filter(({ renewedAt }) => renewedAt === undefined)
      const expected = active.map(({ id, value, description, createdAt, expiresAt }) => ({ id, description, created_at: time(createdAt), expires_at: time(expiresAt), current: value === asker.value }))
      const byId = <Row extends { id: string }>(rows: Row[]) => rows.toSorted((a, b) => a.id < b.id ? -1 : 1)
      deepEqual(byId(tokens.map(({ last_used_at: _, ...token }) => token)), byId(expected))
      deepEqual(tokens.map(({ created_at: at }) => at), expected.map(({ created_at: at }) => at).sort().reverse(), 'the newest are not first')
      for (const token of active) checkUse(token, tokens.find(({ id }) => id === token.id)?.last_used_at ?? null, token.value === asker.value)
    }
  }
})

export const listTokens = anyone.map((credential): Plan => (model) => listTokensStep(ask(model, credential)))

export function deleteTokensStep (asker: Asker, scope?: string, body: Body = {}): Step {
  return {
    request: { method: 'DELETE', url: `/api/v1/tokens${scope === undefined ? '' : `?scope=${scope}`}`, ...withBody(asker, body) },
    asker: asker.name,
    revokesWith: asker.value,
    judge: (model): Verdict => refusedBy(guard(model, asker), bodyRefusal(body)) ?? {
      answers: ['200'],
      effect (answer) {
        deepEqual(answer, { msg: scope === 'others' ? 'you are now disconnected on every other device' : 'you are now disconnected for every device' })
        const { id: userId } = accountOfAsker(model, asker)
        const others = model.tokens.filter((token) => token.userId === userId && !token.isRevoked && token.value !== asker.value)
        const isOnlyExpired = scope === 'others' && !others.some((token) => isActive(model, token))
        // An expired token may have been removed already, or not.
        if (scope !== 'others' || others.length > 0) recordEvent(model, 'revocation', { userId, isOptional: isOnlyExpired })
        revokeTokens(model, userId, scope === 'others' ? asker.value : undefined)
      }
    }
  }
}

export const deleteTokens = fc.record({ credential: anyone, scope: fc.constantFrom(undefined, 'all', 'others'), body: noBody })
  .map(({ credential, scope, body }): Plan => (model) => deleteTokensStep(ask(model, credential), scope, body))

function idOf (model: Model, index: number): string {
  return pick([...model.tokens.map(({ id }) => id), 'nonsense', '00000000-0000-0000-0000-000000000000'], index)
}

export const deleteToken = fc.record({ credential: anyone, index: fc.nat(99), body: noBody }).map(({ credential, index, body }): Plan => (model) => {
  const asker = ask(model, credential)
  const id = idOf(model, index)
  return {
    request: { method: 'DELETE', url: `/api/v1/tokens/${id}`, ...withBody(asker, body) },
    asker: asker.name,
    revokesWith: asker.value,
    judge (model): Verdict {
      const refused = refusedBy(guard(model, asker), bodyRefusal(body))
      if (refused !== undefined) return refused
      const me = accountOfAsker(model, asker)
      const token = model.tokens.find((token) => token.id === id && token.userId === me.id && !token.isRevoked)
      if (token === undefined) return { answers: ['404 TOKEN_NOT_FOUND'] }
      return {
        // An expired one may have been removed already, or not.
        answers: isActive(model, token) ? ['200'] : ['200', '404 TOKEN_NOT_FOUND'],
        effect (answer, status) {
          token.isRevoked = true
          if (status !== '200') return
          revokeToken(model, token)
          deepEqual(answer, { msg: 'the token has been deleted' })
          recordEvent(model, 'revocation', { userId: me.id })
        }
      }
    }
  }
})
