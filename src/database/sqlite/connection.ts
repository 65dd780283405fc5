import Database from 'better-sqlite3'

/** Runs a write, and handles its failure: rejects it at once, or retries it. */
export type RunWrite = <Result>(write: () => Result) => Result

/** Makes a statement run through the connection's `runWrite`, which can be replaced later. */
function guardWrites (statement: Database.Statement, connection: { runWrite: RunWrite }): void {
  const { run, get, all } = statement
  Object.assign(statement, {
    run: (...values: unknown[]) => connection.runWrite(() => run.apply(statement, values)),
    get: (...values: unknown[]) => connection.runWrite(() => get.apply(statement, values)),
    all: (...values: unknown[]) => connection.runWrite(() => all.apply(statement, values))
  })
}

/**
 * A connection to a SQLite database on which every statement that writes is run by `runWrite`,
 * regardless of what prepares it: drizzle, a batch, or a query prepared once.
 *
 * @see https://www.sqlite.org/c3ref/stmt_readonly.html which statements write
 */
export class Connection extends Database {
  /** Runs a write. It runs nothing but the write until it is replaced, as it is for a migration. */
  runWrite: RunWrite = (write) => write()

  override prepare<BindParameters extends unknown[] | {} = unknown[], Result = unknown> (source: string): ReturnType<typeof Database.prototype.prepare<BindParameters, Result>> {
    const statement = super.prepare<BindParameters, Result>(source)
    if (!statement.readonly) guardWrites(statement, this)
    return statement
  }
}
