// Runs as a separate process: sends logins at a fixed rate (open loop), each from another
// address, however many are rejected. Prints the counts as JSON.
import { setTimeout as delay } from 'node:timers/promises'
import { openLoop } from '../test/open-loop.js'
import { createClient } from './client.js'

const { URL: url = '', REQUESTS = '[]', PER_SECOND, SECONDS, BEGIN_AT_MS } = process.env
const logins: Array<{ headers: Record<string, string>, body: string }> = JSON.parse(REQUESTS)

const client = createClient(url, 512)
await delay(Number(BEGIN_AT_MS) - Date.now())
const outcomes = await openLoop(Number(PER_SECOND), Number(SECONDS), (i) => {
  const login = logins[i % logins.length]
  if (login === undefined) throw new Error('REQUESTS has no logins')
  const { headers, body } = login
  return client.send('/api/v1/login', { method: 'POST', headers: { ...headers, 'content-length': String(body.length), 'x-forwarded-for': `10.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}` } }, body)
})
client.close()

const accepted = outcomes.filter(({ status }) => status === 200)
const rejected = outcomes.filter(({ status }) => status === 503)
console.log(JSON.stringify({
  accepted: accepted.length,
  rejected: rejected.length,
  others: outcomes.length - accepted.length - rejected.length,
  slowestAcceptedMs: Math.max(0, ...accepted.map(({ ms }) => ms))
}))
