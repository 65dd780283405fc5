import fc from 'fast-check'
import type { LightMyRequestResponse } from 'fastify'
import type { Test } from 'tap'
import { asUser } from '../../src/testing.js'
import { errorCode } from './error-shape.js'
import type { Fixture } from './fixture.js'
import { type GeneratedRequest, hasInvalidQuery, hasUnexpectedBody, injectOptions, password, requests, textOf } from './requests.js'
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
    seen.push(`login of ${username}: ${response.statusCode}`)
    if (response.statusCode === 200) await fixture.send({ method: 'POST', url: '/api/v1/logout', headers: { authorization: response.json<{ token: string }>().token } })
  }
  return seen.join('\n')
}

const guardCodes = ['AUTHORIZATION_MISSING', 'TOKEN_INVALID', 'TOKEN_CLAIMS_INVALID', 'TOKEN_REVOKED', 'ROLE_REQUIRED']
/** What is said of a body. */
const bodyCodes = ['BODY_UNEXPECTED', 'BODY_MALFORMED', 'BODY_TOO_LARGE', 'MEDIA_TYPE_UNSUPPORTED']
const secrets = /\$argon2|correct horse|incorrect donkey|node_modules|\.[jt]s:\d/

/** What is wrong with an answer, beside what the contract's own check finds; undefined when nothing is. */
function problemOf (request: GeneratedRequest, { statusCode, headers, body }: LightMyRequestResponse): string | undefined {
  if (statusCode >= 500 && statusCode !== 503) return 'it is a fault'
  if (secrets.test(body)) return 'it tells a secret'
  const code = statusCode >= 400 ? errorCode(statusCode, headers, body) : String(statusCode)
  if (code === undefined) return 'it is no error of our shape'
  if (hasUnexpectedBody(request) && ![...guardCodes, 'BODY_UNEXPECTED', 'ROUTE_NOT_FOUND'].includes(code)) return 'the operation takes no body: it must be 400 BODY_UNEXPECTED'
  if (request.operation.requestBody === undefined && !hasUnexpectedBody(request) && bodyCodes.includes(code)) return 'nothing was sent as a body'
  if (hasInvalidQuery(request) && request.operation.name.startsWith(request.method) && ![...guardCodes, 'BODY_UNEXPECTED', 'VALIDATION_FAILED'].includes(code)) return 'the query is invalid: it must be 422'
}

/** Sends single requests of every operation; what is refused must change nothing. */
export async function trySingleRequests (t: Test, fixture: Fixture, seconds: number): Promise<void> {
  let cast: Cast
  let before = ''
  const reset = async () => {
    await fixture.reset()
    cast = await createCast(fixture)
    before = await look(fixture, cast)
  }
  let isChanged = false
  await tryFor(t, seconds, reset, fc.asyncProperty(fc.array(requests, { minLength: 1, maxLength: 10, size: 'max' }), async (list) => {
    if (isChanged) await reset()
    isChanged = false
    for (const request of list) {
      const { answer, problem } = await fixture.send(injectOptions(request, { ...cast }))
        .then((response) => ({ answer: response, problem: problemOf(request, response) }), (error: Error) => ({ answer: undefined, problem: error.message }))
      isChanged ||= answer === undefined || (answer.statusCode < 400 && request.method !== 'GET')
      if (problem !== undefined) throw new Error(`${textOf(request)}\n→ ${answer === undefined ? '' : `${answer.statusCode} ${answer.body.slice(0, 300)}\n`}${problem}`)
    }
    if (isChanged) return
    const after = await look(fixture, cast)
    isChanged = after !== before
    if (isChanged) throw new Error(`what is refused must change nothing:\n${list.map(textOf).join('\n')}\nbefore:\n${before}\nafter:\n${after}`)
  }))
  await t.test('the server goes on', async (t) => {
    await reset()
    t.equal((await fixture.send({ url: '/health/ready' })).statusCode, 200)
    t.equal((await fixture.send({ url: '/need_login', headers: { authorization: cast.bob } })).statusCode, 200)
  })
}
