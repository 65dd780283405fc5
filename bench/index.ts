// `npm run bench`: what Latchkey costs beside bare servers and a baseline guard, in about four
// minutes. `-- --json` prints one JSON document; `-- --smoke` only shows that it works.
import { parseArgs } from 'node:util'
import { describeEnvironment } from './environment.js'
import { seedPostgres, seedSqlite } from './databases.js'
import { measureScaling } from './scaling.js'
import { end, isEnding } from './cleanup.js'
import { measureLogins } from './logins.js'
import { startPostgres } from './postgres.js'
import { progress } from './progress.js'
import { report } from './report.js'
import { fullScale, type Scale, smokeScale } from './scale.js'
import { measureStarts } from './start.js'
import { measureOverload } from './overload.js'
import { judgeTargets, type Results } from './targets.js'
import { measureThroughput } from './throughput.js'

const users = 5_000

async function measure (scale: Scale): Promise<Results> {
  progress('making the databases')
  const databases = [await seedSqlite(users), await seedPostgres(await startPostgres(), users)]
  const throughput = await measureThroughput(databases, scale)
  const logins = await measureLogins(databases, scale)
  const overload = await measureOverload(databases, logins, scale)
  const scaling = await measureScaling(scale)
  const starts = await measureStarts(scale)
  return { throughput, logins, overload, scaling, starts }
}

try {
  const { values: { json = false, smoke = false } } = parseArgs({ options: { json: { type: 'boolean' }, smoke: { type: 'boolean' } } })
  const results = await measure(smoke ? smokeScale : fullScale)
  const about = describeEnvironment(smoke)
  const targets = judgeTargets(results)
  console.log(json ? JSON.stringify({ ...about, targets, ...results }, null, 2) : report(about, targets, results))
  progress('done')
  await end(0)
} catch (error) {
  if (!isEnding()) console.error(error)
  await end(1)
}
