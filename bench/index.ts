// `npm run bench`: compares Latchkey with servers without authentication and with a baseline
// guard. `-- --peers` adds better-auth, `-- --parts` measures the price of each part of the server
// instead, `-- --json` prints a JSON document, `-- --smoke` only tests the benchmark itself.
import { parseArgs } from 'node:util'
import { installBetterAuth } from './better-auth.js'
import { exitAfterCleanup, isExiting } from './cleanup.js'
import { seedPostgres, seedSqlite } from './databases.js'
import { describeEnvironment } from './environment.js'
import { measureParts, type PartFigures } from './leave-one-out.js'
import { measureLogins } from './logins.js'
import { measureOverload } from './overload.js'
import { parts } from './parts.js'
import { startPostgres } from './postgres.js'
import { progress } from './progress.js'
import { heading, partReport, report } from './report.js'
import { fullScale, type Scale, smokeScale } from './scale.js'
import { measureScaling } from './scaling.js'
import { measureStarts } from './start.js'
import { checkTargets, type Results } from './targets.js'
import { measureThroughput } from './throughput.js'
import { checkParts } from './variant.js'

const users = 5_000

async function measure (scale: Scale, hasBetterAuth: boolean): Promise<Results> {
  progress('creating the databases')
  const databases = [await seedSqlite(users), await seedPostgres(await startPostgres(), users)]
  const throughput = await measureThroughput(databases, hasBetterAuth, scale)
  const logins = await measureLogins(databases, hasBetterAuth, scale)
  const overload = await measureOverload(databases, logins, scale)
  const scaling = await measureScaling(scale)
  const starts = await measureStarts(scale)
  return { throughput, logins, overload, scaling, starts }
}

/** A smoke run measures everything, and one part. */
async function run (smoke: boolean, onlyParts: boolean, peers: boolean): Promise<{ results?: Results, partFigures?: PartFigures[] }> {
  // A smoke run measures one part, but finds every line of the list that is out of date.
  if (onlyParts || smoke) checkParts(parts)
  if (onlyParts) return { partFigures: await measureParts(parts, smoke ? smokeScale : fullScale) }
  if (smoke && peers) progress('skipping better-auth: a smoke run installs nothing')
  const results = await measure(smoke ? smokeScale : fullScale, peers && !smoke && await installBetterAuth())
  return smoke ? { results, partFigures: await measureParts(parts.slice(0, 1), smokeScale) } : { results }
}

try {
  const flag = { type: 'boolean', default: false } as const
  const { values: { json, smoke, parts: onlyParts, peers } } = parseArgs({ options: { json: flag, smoke: flag, parts: flag, peers: flag } })
  const { results, partFigures } = await run(smoke, onlyParts, peers)
  const environment = describeEnvironment(smoke)
  const targets = results === undefined ? undefined : checkTargets(results)
  if (json) {
    console.log(JSON.stringify({ ...environment, targets, ...results, parts: partFigures }, null, 2))
  } else {
    const texts = [heading(environment)]
    if (results !== undefined && targets !== undefined) texts.push(report(targets, results))
    if (partFigures !== undefined) texts.push(partReport(partFigures))
    console.log(texts.join('\n\n'))
  }
  progress('done')
  await exitAfterCleanup(0)
} catch (error) {
  if (!isExiting()) console.error(error)
  await exitAfterCleanup(1)
}
