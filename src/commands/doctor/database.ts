import { loadDriver } from '../../database/open.js'
import type { Config } from '../../standalone/config.js'
import { type Check, errorLine, failure, type Finding, ok, type Result, runCheck, runChecks, skipChecks, skipped } from './check.js'
import { contentChecks } from './content.js'
import { installedDriver, isAborting } from './node.js'
import { type DatabaseKind, type Reading, runQueries } from './reading.js'
import { checkSchema } from './schema.js'

/** Whether the driver of the database can be loaded, and does not end the process. */
export async function checkDriver (databaseUrl: string, { load = loadDriver, node = process.versions.node }: { load?: (url: string) => Promise<unknown>, node?: string } = {}): Promise<Finding> {
  if (databaseUrl.startsWith('sqlite:') && isAborting(node, installedDriver())) return skipped(`the driver would abort the process on Node ${node}`)
  try {
    await load(databaseUrl)
    return ok('the driver of the database can be loaded')
  } catch (error) {
    return failure(errorLine(error), 'install it, then run latchkey doctor again')
  }
}

/** Runs the checks of an open database. */
async function * query<Opened extends Reading> (checks: Array<Check<Opened>>, reading: Opened, config: Config): AsyncGenerator<Result> {
  const schema = await runCheck({ name: 'schema', run: checkSchema }, reading.schema)
  yield schema
  const difference = schema.status === 'ok' ? undefined : schema.message
  for (const check of checks) yield await runQueries(check, reading, reading, difference)
  for (const check of contentChecks) yield await runQueries(check, { ...reading, config }, reading, difference)
}

/** Runs the checks of a database of one kind. */
async function * examine<Opened extends Reading> ({ open, checks, fileChecks }: DatabaseKind<Opened>, config: Config): AsyncGenerator<Result> {
  const opening = open(config)
  try {
    const database = await runCheck({ name: 'database', run: async () => (await opening).finding }, undefined)
    yield database
    const why = 'the database cannot be read'
    const { file, reading } = database.status === 'ok' ? await opening : { ...await opening, reading: undefined }
    if (reading === undefined) yield * skipChecks([{ name: 'schema' }, ...checks, ...contentChecks], why)
    else yield * query(checks, reading, config)
    if (file === undefined) yield * skipChecks(fileChecks, why)
    else yield * runChecks(fileChecks, file)
  } finally {
    await (await opening).reading?.close()
  }
}

/** Runs the checks of the database, of whichever kind. */
export async function * examineDatabase (config: Config): AsyncGenerator<Result> {
  const driver = await runCheck({ name: 'driver', run: (url: string) => checkDriver(url) }, config.databaseUrl)
  yield driver
  if (driver.status !== 'ok') {
    yield * skipChecks([{ name: 'database' }], 'the driver cannot be used')
    return
  }
  // Neither kind needs the driver of the other to be installed.
  if (config.databaseUrl.startsWith('sqlite:')) yield * examine((await import('./sqlite.js')).sqlite, config)
  else yield * examine((await import('./postgres.js')).postgres, config)
}
