import type { Store } from '../../database/store.js'
import type { Config } from '../../standalone/config.js'
import { type Check, type Finding, type Result, runCheck, skipped } from './check.js'
import type { SchemaState } from './schema.js'

/** A database that is open for reading only. */
export interface Reading extends Pick<Store, 'db' | 'tables'> {
  schema: SchemaState
  /** Runs queries of which one may fail, without an effect on later ones. */
  attempt: <Found>(work: () => Promise<Found>) => Promise<Found>
  close: () => unknown
}

/** How a kind of database is examined. */
export interface DatabaseKind<Opened extends Reading> {
  /** Opens a database without writing: what was found, its file where there is one, and the database unless it cannot be read. */
  open: (config: Config) => Promise<{ finding: Finding, file?: string, reading?: Opened }>
  /** What is examined in a database of this kind, in the order of the report. */
  checks: Array<Check<Opened>>
  /** What is examined of its file, also where the database cannot be read. */
  fileChecks: Array<Check<string>>
}

/**
 * Runs a check that queries a database.
 *
 * @param difference how its schema differs from that of this program: where it does, queries can fail
 */
export async function runQueries<Subject> (check: Check<Subject>, subject: Subject, reading: Reading, difference: string | undefined): Promise<Result> {
  return await runCheck({
    name: check.name,
    run: async (given: Subject, signal) => {
      try {
        return await reading.attempt(async () => await check.run(given, signal))
      } catch (error) {
        if (difference !== undefined) return skipped(difference)
        throw error
      }
    }
  }, subject)
}
