import type Database from 'better-sqlite3'

/** Does a write, in whatever way. */
export type Around = <Result>(write: () => Result) => Result

/** Has every statement that writes run by `around`. */
export function aroundWrites (client: Database.Database, around: Around): void {
  const prepare = client.prepare.bind(client)
  Object.assign(client, {
    prepare (source: string) {
      const statement = prepare(source)
      if (statement.readonly) return statement
      const { run, get, all } = statement
      return Object.assign(statement, {
        run: (...values: unknown[]) => around(() => run.apply(statement, values)),
        get: (...values: unknown[]) => around(() => get.apply(statement, values)),
        all: (...values: unknown[]) => around(() => all.apply(statement, values))
      })
    }
  })
}
