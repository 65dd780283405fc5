// nginx with the documented configuration, and idle times around every timeout on the way. Run by
// `npm run test:slow`.
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { burst, postDuring, startNginx, startServers, withoutNginx } from '../nginx.js'

// They mostly wait.
t.jobs = 10
/** Options of a test: an object of its own, because tap writes the function of the test into it. */
const options = () => ({ buffered: true, skip: withoutNginx, timeout: 240_000 })

/** Times between two bursts, in milliseconds: around 5 s, Node's own timeout, and around the 60 s of nginx. */
const idleMs = [
  ...[4_990, 5_000, 5_010, 5_990, 6_000, 6_010].map((gap) => [gap, gap, gap, gap]),
  ...[59_900, 60_000, 60_050, 61_000].map((gap) => [gap])
]

for (const [page, count] of [['deploy/nginx.conf', 1], ['docs/postgresql.md', 2]] as const) {
  t.test(`nginx as in ${page} · more than 1,000 POSTs to /api/v1/login, idle times around every timeout → no 502`, options(), async (t) => {
    const { urls } = await startServers(t, count)
    const tally: Record<number, number> = {}
    const errors = await Promise.all(idleMs.map(async (gaps) => {
      const nginx = await startNginx(t, page, urls)
      await burst(nginx, tally)
      for (const gap of gaps) {
        await delay(gap)
        await burst(nginx, tally)
      }
      return nginx.errors()
    }))
    t.same(tally, { 404: 32 * idleMs.flat().length + 32 * idleMs.length }, errors.join(''))
  })
}

t.test('nginx as in docs/postgresql.md · one of two servers is restarted five times during POSTs → no 502', options(), async (t) => {
  const { urls, restartLast } = await startServers(t, 2)
  const nginx = await startNginx(t, 'docs/postgresql.md', urls)
  const tally = await postDuring(nginx, async () => {
    for (let i = 0; i < 5; i++) {
      await delay(300)
      await restartLast()
    }
  })
  t.same(Object.keys(tally), ['404'], nginx.errors())
})
