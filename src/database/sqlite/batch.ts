import { setTimeout as delay } from 'node:timers/promises'
import type Database from 'better-sqlite3'
import type { Query } from '../store.js'
import { isBusy } from './busy-breaker.js'

/** The longest wait until a batch is retried, in milliseconds. */
const busyRetryMs = 20

/**
 * Runs queries in one transaction, without giving the event loop back: nothing else of this
 * process comes between them.
 *
 * @returns how many rows each query wrote
 */
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

/** Retries a write while another process holds the lock, and lets requests be served between two tries. */
export async function retryWhileBusy<Result> (forMs: number, write: () => Result): Promise<Result> {
  const giveUpAtMs = Date.now() + forMs
  for (;;) {
    try {
      return write()
    } catch (error) {
      if (!isBusy(error) || Date.now() >= giveUpAtMs) throw error
      // Jitter: fixed intervals could meet the other process's lock every time.
      await delay(Math.random() * busyRetryMs)
    }
  }
}
