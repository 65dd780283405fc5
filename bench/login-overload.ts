// A process of its own: people who log in at a fixed rate, each from another address, however
// many are turned away. Prints what they met, as JSON.
import { setTimeout as delay } from 'node:timers/promises'
import { openLoop } from '../test/open-loop.js'
import { clientOf } from './client.js'

const { URL: url = '', REQUESTS = '[]', PER_SECOND, SECONDS, BEGIN_AT_MS } = process.env
const logins: Array<{ headers: Record<string, string>, body: string }> = JSON.parse(REQUESTS)

const client = clientOf(url, 512)
await delay(Number(BEGIN_AT_MS) - Date.now())
const answers = await openLoop(Number(PER_SECOND), Number(SECONDS), (i) => {
  const login = logins[i % logins.length]
  if (login === undefined) throw new Error('REQUESTS has no logins')
  const { headers, body } = login
  return client.ask('/api/v1/login', { method: 'POST', headers: { ...headers, 'content-length': String(body.length), 'x-forwarded-for': `10.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}` } }, body)
})
client.close()

const accepted = answers.filter(({ status }) => status === 200)
const refused = answers.filter(({ status }) => status === 503)
console.log(JSON.stringify({
  accepted: accepted.length,
  refused: refused.length,
  others: answers.length - accepted.length - refused.length,
  slowestAcceptedMs: Math.max(0, ...accepted.map(({ ms }) => ms))
}))
