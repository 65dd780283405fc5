import fc from 'fast-check'
import type { LightMyRequestResponse } from 'fastify'
import type { Test } from 'tap'
import { asUser } from '../../src/testing.js'
import { errorCode } from './error-shape.js'
import type { Fixture } from './fixture.js'
import { type GeneratedRequest, hasInvalidQuery, hasOwnMethod, hasUnexpectedBody, injectOptions, password, requests, textOf } from './requests.js'
import { tryFor } from './run.js'

/** The tokens that requests come with, and two that only look. */
interface Cast { admin: string, bob: string, script: string, adminLooks: string, bobLooks: string }

async function createCast (fixture: Fixture): Promise<Cast> {
  const { app } = fixture
  const adminLooks = (await asUser(app, 'root', { roles: ['admin', 'editor'], password })).token
  const bobLooks = (await asUser(app, 'bob', { email: 'bob@example.com', password })).token
  const [admin, bob] = [(await asUser(app, 'root')).token, (await asUser(app, 'bob')).token]
  const script = await fixture.send({ method: 'POST', url: '/api/v1/tokens', headers: { authorization: bob }, payload: { description: 'a script', password } })
  return { admin, bob, script: script.json<{ token: string }>().token, adminLooks, bobLooks }
}

/** What there is: accounts, tokens, roles, and whether the passwords are still right. */
async function look (fixture: Fixture, { adminLooks, bobLooks }: Cast): Promise<string> {
  const seen: string[] = []
  for (const [authorization, url] of [[adminLooks, '/api/v1/roles'], [adminLooks, '/api/v1/me'], [adminLooks, '/api/v1/tokens'], [bobLooks, '/api/v1/me'], [bobLooks, '/api/v1/tokens']] as const) {
    const { statusCode, body } = await fixture.send({ url, headers: { authorization } })
    seen.push(`${url} ${statusCode} ${body.replaceAll(/"last_used_at":("[^"]*"|null)/g, '')}`)
  }
  for (const username of ['root', 'bob']) {
    const response = await fixture.send({ method: 'POST', url: '/api/v1/login', payload: { username, password } })
    seen.push(`login of ${username}: ${response.statusCode} `)
    if (response.statusCode === 200) await fixture.send({ method: 'POST', url: '/api/v1/logout', headers: { authorization: response.json<{ token: string }>().token } })
  }
  return seen.join('\n')
}

const guardAnswers = ['400 AUTHORIZATION_MISSING', '401 TOKEN_INVALID', '400 TOKEN_CLAIMS_INVALID', '401 TOKEN_REVOKED', '400 USER_NOT_FOUND', '403 ROLE_REQUIRED']
/** What is said of a body. */
const bodyCodes = ['BODY_UNEXPECTED', 'BODY_MALFORMED', 'BODY_TOO_LARGE', 'MEDIA_TYPE_UNSUPPORTED']
const secrets = /\$argon2|correct horse|incorrect donkey|node_modules|\.[jt]s:\d/

/** What is wrong with an answer, beside what the contract's own check finds; undefined when nothing is. */
function problemOf (request: GeneratedRequest, { statusCode, headers, body }: LightMyRequestResponse): string | undefined {
  if (statusCode >= 500 && statusCode !== 503) return 'it is a fault'
  if (secrets.test(body)) return 'it tells a secret'
  const code = statusCode >= 400 ? errorCode(statusCode, headers, body) : ''
  if (code === undefined) return 'it is no error of our shape'
  if (!hasOwnMethod(request) || code === 'ROUTE_NOT_FOUND') return undefined
  const mustBe = (answer: string) => [...guardAnswers, '400 BODY_UNEXPECTED', answer].includes(`${statusCode} ${code}`) ? undefined : `it must be ${answer}`
  if (hasUnexpectedBody(request)) return mustBe('400 BODY_UNEXPECTED')
  if (hasInvalidQuery(request)) return mustBe('422 VALIDATION_FAILED')
  if (request.operation.requestBody === undefined && bodyCodes.includes(code)) return 'nothing was sent as a body'
}

/** Whether a token or a password was lost by what was sent. */
async function isDamaged (fixture: Fixture, { admin, bob, script }: Cast, seen: string): Promise<boolean> {
  const tokens = await Promise.all([admin, bob, script].map((authorization) => fixture.send({ url: '/need_login', headers: { authorization } })))
  return tokens.some(({ statusCode }) => statusCode !== 200) || / [45]\d\d /.test(seen)
}

/** Sends single requests of every operation; what is refused must change nothing. */
export async function trySingleRequests (t: Test, fixture: Fixture, seconds: number): Promise<void> {
  let cast: Cast
  let before: string
  // After a failure, or without its tokens, the next list begins anew.
  let isAsExpected = true
  const reset = async () => {
    await fixture.reset()
    cast = await createCast(fixture)
    before = await look(fixture, cast)
  }

  /** Sends a request; answers whether it may have changed something. */
  async function send (request: GeneratedRequest): Promise<boolean> {
    let answer = ''
    try {
      const response = await fixture.send(injectOptions(request, { ...cast }))
      answer = `${response.statusCode} ${response.body.slice(0, 300)}\n`
      const problem = problemOf(request, response)
      if (problem !== undefined) throw new Error(problem)
      return response.statusCode < 400 && request.method !== 'GET'
    } catch (error) {
      throw new Error(`${textOf(request)}\n→ ${answer}${error instanceof Error ? error.message : String(error)}`, { cause: error })
    }
  }

  await tryFor(t, seconds, reset, fc.array(requests, { minLength: 1, maxLength: 10, size: 'max' }), async (list) => {
    if (!isAsExpected) await reset()
    isAsExpected = false
    let isChanged = false
    for (const request of list) isChanged = await send(request) || isChanged
    const after = await look(fixture, cast)
    if (!isChanged && after !== before) throw new Error(`what is refused must change nothing:\n${list.map(textOf).join('\n')}\nbefore:\n${before}\nafter:\n${after}`)
    before = after
    isAsExpected = !isChanged || !(await isDamaged(fixture, cast, after))
  })

  await t.test('the server goes on', async (t) => {
    await reset()
    t.equal((await fixture.send({ url: '/health/ready' })).statusCode, 200)
    t.equal((await fixture.send({ url: '/need_login', headers: { authorization: cast.bob } })).statusCode, 200)
  })
}
