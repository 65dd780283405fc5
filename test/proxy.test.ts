import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { bob } from './helper.js'
import { burst, postDuring, startNginx, startServers, withoutNginx } from './nginx.js'

// They mostly wait.
t.jobs = 4
/** Options of a test: an object of its own, because tap writes the function of the test into it. */
const options = () => ({ buffered: true, skip: withoutNginx })
const pages = [['deploy/nginx.conf', 1], ['docs/postgresql.md', 2]] as const
const wrong = { ...bob, password: 'a wrong password' }

for (const [page, count] of pages) {
  t.test(`nginx as in ${page} · POST /api/v1/login in bursts, 5 s apart → every answer is the server's, no 502`, options(), async (t) => {
    const { urls } = await startServers(t, count)
    const nginx = await startNginx(t, page, urls)
    const tally = {}
    for (const gapMs of [0, 100, 5_000, 0]) {
      await burst(nginx, tally)
      await delay(gapMs)
    }
    t.same(tally, { 404: 128 }, nginx.errors())
  })

  t.test(`nginx as in ${page} · limits count the address of the client, headers arrive in both directions`, options(), async (t) => {
    const { urls } = await startServers(t, 1, { LOGIN_FAILURES_PER_ADDRESS_MINUTE: '3' })
    const { ask, askPlain } = await startNginx(t, page, urls)
    const attempt = async (from: string, headers = {}) => await ask('POST', '/api/v1/login', { payload: { ...wrong, username: 'nobody' }, from, headers })
    for (let i = 0; i < 3; i++) t.equal((await attempt('127.0.0.2')).status, 404)
    const refused = await attempt('127.0.0.2', { 'x-forwarded-for': '203.0.113.7', 'x-real-ip': '203.0.113.7', forwarded: 'for=203.0.113.7' })
    t.match([refused.status, refused.headers['retry-after']], [429, /^\d+$/], 'a forged address changes nothing')
    t.equal((await attempt('127.0.0.3', { 'x-forwarded-for': '127.0.0.2' })).status, 404, 'for others neither')

    t.equal((await ask('POST', '/api/v1/signup', { payload: bob })).status, 200)
    const { token } = JSON.parse((await ask('POST', '/api/v1/login', { payload: bob, from: '127.0.0.4' })).body)
    const headers = { authorization: `Bearer ${token}` }
    t.equal((await ask('GET', '/need_login', { headers })).status, 200)
    t.match((await ask('GET', '/need_login', { headers: { authorization: 'x' } })).headers, { 'www-authenticate': 'Bearer error="invalid_token"', 'x-content-type-options': 'nosniff' })
    t.match(JSON.parse((await ask('GET', '/api/v1/me/events?kind=login', { headers })).body).events, [{ address: '127.0.0.4' }])
    if (page === 'deploy/nginx.conf') {
      t.match((await ask('GET', '/')).headers, { 'strict-transport-security': 'max-age=31536000' })
      t.same(await askPlain('/docs?x=1'), [308, 'https://login.example.com/docs?x=1'])
    }
  })
}

t.test('nginx as in docs/postgresql.md · SIGTERM to one of two servers, and a restart, during POSTs → no 502', options(), async (t) => {
  const { urls, restartLast } = await startServers(t, 2)
  const nginx = await startNginx(t, 'docs/postgresql.md', urls)
  const tally = await postDuring(nginx, async () => {
    await delay(200)
    await restartLast()
  })
  t.same(Object.keys(tally), ['404'], nginx.errors())
})
