import { once } from 'node:events'
import { type AddressInfo, connect } from 'node:net'
import type { Test } from 'tap'
import { asUser } from '../../src/testing.js'
import { errorCode } from './error-shape.js'
import type { Fixture } from './fixture.js'
import { connections, malformed } from './http-text.js'
import { tryFor } from './run.js'

/** A response as it came over a connection. */
interface RawResponse { statusCode: number, headers: Record<string, string>, body: string }

/** After this silence we end our side: then the server must answer, or end its own. */
const silenceMs = 150
/** The same, once there was an answer. */
const restMs = 20
/** Longer than any timeout of the server. */
const patienceMs = 30_000

/** Sends bytes on a connection of its own, and reads until the server ends it. After some silence, our side ends. */
async function exchange (port: number, text: string, silenceMs = patienceMs): Promise<string> {
  const socket = connect({ port, host: '127.0.0.1' })
  await once(socket, 'connect')
  let answer = ''
  let timer = setTimeout(() => {}, 0)
  const endAfter = (ms: number) => {
    clearTimeout(timer)
    timer = setTimeout(() => socket.end(), ms)
  }
  socket.setEncoding('latin1').on('error', () => {}).on('data', (data) => {
    answer += data
    endAfter(Math.min(restMs, silenceMs))
  })
  socket.write(text, 'latin1')
  endAfter(silenceMs)
  const deadline = setTimeout(() => {
    answer += ' (the server did not end the connection)'
    socket.destroy()
  }, patienceMs)
  if (!socket.closed) await new Promise((resolve) => socket.once('close', resolve))
  for (const each of [timer, deadline]) clearTimeout(each)
  return answer
}

/** Takes what came over a connection apart into responses. */
function parseResponses (bytes: string): RawResponse[] {
  return bytes.split(/(?=HTTP\/1\.1 \d{3} )/).filter((text) => text !== '').map((text) => {
    const [, status, head = '', body = ''] = /^HTTP\/1\.1 (\d{3}) [^\n]*\r\n((?:[^\r\n]+\r\n)*)\r\n(.*)$/s.exec(text) ?? []
    if (status === undefined) throw new Error(`this is no response: ${JSON.stringify(text.slice(0, 200))}`)
    const headers = Object.fromEntries(head.trimEnd().split('\r\n').map((line) => [line.replace(/:.*/, '').toLowerCase(), line.replace(/^[^:]*: */, '')]))
    return { statusCode: Number(status), headers, body }
  })
}

/** Every answer is ours, and none is of a route that asks for a token. */
function check (bytes: string): RawResponse[] {
  const responses = parseResponses(bytes)
  for (const { statusCode, headers, body } of responses) {
    const text = `${statusCode} ${JSON.stringify(headers)} ${body}`
    if (statusCode >= 400 && errorCode(statusCode, headers, body) === undefined) throw new Error(`this is no error of our shape: ${text}`)
    if (statusCode >= 500 && statusCode !== 505) throw new Error(`this is a fault: ${text}`)
    if (body.includes('that means')) throw new Error(`this needs a token, and none was sent: ${text}`)
  }
  return responses
}

/** Sends what may be no HTTP to a server that listens. */
export async function trySockets (t: Test, { app, reset }: Fixture, seconds: number): Promise<void> {
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  const isServing = async (authorization: string) => {
    const answer = await exchange(port, `GET /need_login HTTP/1.1\r\nHost: localhost\r\nAuthorization: ${authorization}\r\nConnection: close\r\n\r\n`)
    return answer.startsWith('HTTP/1.1 200')
  }

  for (const { name, text, statuses } of malformed) {
    t.test(`${name} → ${statuses.join(' or ')}`, async (t) => {
      const [response, ...others] = check(await exchange(port, text))
      t.ok(statuses.includes(response?.statusCode ?? 0), `answered ${response?.statusCode}`)
      t.same(others, [])
    })
  }

  await t.test('anything else', (t) => tryFor(t, seconds, reset, connections, async (text) => {
    const answer = await exchange(port, text, silenceMs)
    try {
      check(answer)
    } catch (error) {
      throw new Error(`${JSON.stringify(text)}\n→ ${JSON.stringify(answer)}\n${String(error)}`, { cause: error })
    }
  }))

  const { token } = await asUser(app, 'bob')
  t.ok(await isServing(token), 'the server goes on')
}
