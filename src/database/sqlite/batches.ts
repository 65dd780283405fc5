import { setTimeout as delay } from 'node:timers/promises'
import type Database from 'better-sqlite3'
import type { Query } from '../store.js'
import { isBusy } from './busy-breaker.js'

/** How long a batch that is tried again waits in between, in milliseconds, at most. */
const busyRetryMs = 20

/** Runs queries in one transaction: at once, so that nothing else of this process comes between. */
export function runBatch (client: Database.Database, queries: Query[]): number[] {
  client.prepare('begin immediate').run()
  try {
    const written = queries.map((query) => {
      const { sql, params } = query.toSQL()
      return client.prepare(sql).run(...params).changes
    })
    client.prepare('commit').run()
    return written
  } catch (error) {
    // SQLite has rolled back by itself where a disk is full or fails.
    if (client.inTransaction) client.prepare('rollback').run()
    throw error
  }
}

/** Tries again while another process holds the lock, and lets requests be served between two tries. */
export async function retryWhileBusy<Result> (forMs: number, write: () => Result): Promise<Result> {
  const giveUpAt = Date.now() + forMs
  for (;;) {
    try {
      return write()
    } catch (error) {
      if (!isBusy(error) || Date.now() >= giveUpAt) throw error
      // Whoever asks again after equal times can meet the other's lock every time.
      await delay(Math.random() * busyRetryMs)
    }
  }
}
