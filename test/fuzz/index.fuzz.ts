// Requests and sequences of requests that are generated, on both databases. It runs for a
// time, not for a number of requests; see `npm run test:fuzz`.
import t from 'tap'
import { databases } from '../databases.js'
import { createFixture } from './fixture.js'
import { repeatWith, seconds, seed } from './run.js'
import { trySequences } from './sequences.js'
import { trySingleRequests } from './single-requests.js'
import { trySockets } from './sockets.js'

const parts = [
  { name: 'sequences', run: trySequences, share: 0.55 },
  { name: 'single requests', run: trySingleRequests, share: 0.35 },
  { name: 'sockets', run: trySockets, share: 0.1 }
]

t.setTimeout(0)
t.comment(repeatWith(seed))

for (const database of databases) {
  for (const { name, run, share } of parts) {
    t.test(`${database.name} · ${name}`, async (t) => {
      const fixture = await createFixture(t, database)
      const start = performance.now()
      await run(t, fixture, seconds / databases.length * share)
      if (fixture.sent() > 0) t.comment(`${Math.round(fixture.sent() / (performance.now() - start) * 1_000)} requests a second`)
    })
  }
}
