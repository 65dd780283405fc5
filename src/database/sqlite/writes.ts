import type Database from 'better-sqlite3'

/** Does a write, in whatever way. */
export type Around = <Result>(write: () => Result) => Result

/** What a power cut may take back: attempts that are counted, events. A crash of the process takes nothing back. */
const forgettable = /^(?:insert into|update|delete from) "(?:login_failures|events)"/

/**
 * Has writes that a power cut may take back wait for no disk: each would hold everybody up,
 * and every login makes several. WAL keeps the database whole either way.
 *
 * @see https://www.sqlite.org/pragma.html#pragma_synchronous
 */
function withoutWaiting (client: Database.Database, source: string): Around {
  if (!forgettable.test(source)) return (write) => write()
  return (write) => {
    // Within a transaction it is the transaction that is written.
    if (client.inTransaction) return write()
    client.pragma('synchronous = NORMAL')
    try {
      return write()
    } finally {
      client.pragma('synchronous = FULL')
    }
  }
}

/** Has every statement that writes run by `around`. */
export function aroundWrites (client: Database.Database, around: Around): void {
  const prepare = client.prepare.bind(client)
  Object.assign(client, {
    prepare (source: string) {
      const statement = prepare(source)
      if (statement.readonly) return statement
      const { run, get, all } = statement
      const lightly = withoutWaiting(client, source)
      return Object.assign(statement, {
        run: (...values: unknown[]) => around(() => lightly(() => run.apply(statement, values))),
        get: (...values: unknown[]) => around(() => lightly(() => get.apply(statement, values))),
        all: (...values: unknown[]) => around(() => lightly(() => all.apply(statement, values)))
      })
    }
  })
}
