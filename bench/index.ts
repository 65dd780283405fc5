// `npm run bench`: compares Latchkey with servers without authentication and with a baseline
// guard, in about four minutes. `-- --json` prints a JSON document; `-- --smoke` only tests the
// benchmark itself.
import { parseArgs } from 'node:util'
import { describeEnvironment } from './environment.js'
import { seedPostgres, seedSqlite } from './databases.js'
import { measureScaling } from './scaling.js'
import { exitAfterCleanup, isExiting } from './cleanup.js'
import { measureLogins } from './logins.js'
import { startPostgres } from './postgres.js'
import { progress } from './progress.js'
import { report } from './report.js'
import { fullScale, type Scale, smokeScale } from './scale.js'
import { measureStarts } from './start.js'
import { measureOverload } from './overload.js'
import { checkTargets, type Results } from './targets.js'
import { measureThroughput } from './throughput.js'

const users = 5_000

async function measure (scale: Scale): Promise<Results> {
  progress('creating the databases')
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
  const environment = describeEnvironment(smoke)
  const targets = checkTargets(results)
  console.log(json ? JSON.stringify({ ...environment, targets, ...results }, null, 2) : report(environment, targets, results))
  progress('done')
  await exitAfterCleanup(0)
} catch (error) {
  if (!isExiting()) console.error(error)
  await exitAfterCleanup(1)
}
