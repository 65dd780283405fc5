import type Database from 'better-sqlite3'

/**
 * How long a statement may wait for another process's lock. The wait blocks the event
 * loop: longer would stall every client, shorter would refuse writes that a neighbour's
 * commit is about to let through.
 */
const busyTimeoutMs = 250
/** How long writes are refused without waiting after one has waited in vain: clients are told to come back then. */
const impatientMs = 1_000

/**
 * Lets writes wait for a lock, but not one after the other: once one has waited in vain,
 * those behind it are refused at once for a while, so that reads are served between them.
 */
export function limitPatience (client: Database.Database): void {
  let impatientUntil = 0
  const setPatience = (ms: number) => client.pragma(`busy_timeout = ${ms}`)
  setPatience(busyTimeoutMs)

  const patiently = <Result>(write: () => Result): Result => {
    if (impatientUntil > 0 && Date.now() >= impatientUntil) {
      impatientUntil = 0
      setPatience(busyTimeoutMs)
    }
    try {
      return write()
    } catch (error) {
      if (impatientUntil === 0 && String(Object(error).code).startsWith('SQLITE_BUSY')) {
        impatientUntil = Date.now() + impatientMs
        setPatience(0)
      }
      throw error
    }
  }

  const prepare = client.prepare.bind(client)
  Object.assign(client, {
    prepare (source: string) {
      const statement = prepare(source)
      if (statement.readonly) return statement
      const { run, get, all } = statement
      return Object.assign(statement, {
        run: (...values: unknown[]) => patiently(() => run.apply(statement, values)),
        get: (...values: unknown[]) => patiently(() => get.apply(statement, values)),
        all: (...values: unknown[]) => patiently(() => all.apply(statement, values))
      })
    }
  })
}
