import type Database from 'better-sqlite3'

/** Does a write, in whatever way. */
export type Around = <Result>(write: () => Result) => Result

/** A connection that writes, and how each of its writes is done. */
export interface Writer {
  client: Database.Database
  around: Around
}

/**
 * What a power cut may take back: attempts that are counted, events, and tokens that were just
 * made, whose owners log in once more. A crash of the process takes nothing back.
 */
const forgettable = /^(?:(?:insert into|update|delete from) "(?:login_failures|events)"|insert into "tokens")/

function doneBy (around: Around, statement: Database.Statement): Database.Statement {
  const { run, get, all } = statement
  return Object.assign(statement, {
    run: (...values: unknown[]) => around(() => run.apply(statement, values)),
    get: (...values: unknown[]) => around(() => get.apply(statement, values)),
    all: (...values: unknown[]) => around(() => all.apply(statement, values))
  })
}

/**
 * Has every statement that writes done in its writer's way, and what a power cut may take back
 * done by a connection of its own, where there is one, that waits for no disk: each such write
 * would hold everybody up, and every login makes several. WAL keeps the database whole either way.
 *
 * @see https://www.sqlite.org/pragma.html#pragma_synchronous
 */
export function aroundWrites ({ client, around }: Writer, light: Writer | undefined): void {
  const prepare = client.prepare.bind(client)
  Object.assign(client, {
    prepare (source: string) {
      const statement = prepare(source)
      if (statement.readonly) return statement
      // Within a transaction it is the transaction that is written.
      if (light === undefined || client.inTransaction || !forgettable.test(source)) return doneBy(around, statement)
      return doneBy(light.around, light.client.prepare(source))
    }
  })
}
