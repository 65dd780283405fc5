import type Database from 'better-sqlite3'
import { errorCode } from '../../lib/error-code.js'
import type { RunWrite } from './connection.js'

/**
 * How long a statement may wait for another process's lock, in milliseconds. The wait blocks the
 * event loop: a longer one would stall every client, a shorter one would reject writes that the
 * other process's commit is about to let through.
 */
const busyTimeoutMs = 250
/** How long the breaker stays open, in milliseconds: `Retry-After` tells clients to come back then. */
const openMs = 1_000

/** Whether another process holds the lock. */
export function isBusy (error: unknown): boolean {
  return errorCode(error)?.startsWith('SQLITE_BUSY') === true
}

/**
 * A circuit breaker for writes to a locked database. Each waits for the lock for a moment; once
 * one has waited in vain, on any of the connections, the following ones fail without waiting for a
 * second, so that reads are served between them.
 *
 * @see https://learn.microsoft.com/azure/architecture/patterns/circuit-breaker
 */
export function busyCircuitBreaker (clients: Database.Database[]): RunWrite {
  let openUntilMs = 0
  const setBusyTimeout = (ms: number) => { for (const client of clients) client.pragma(`busy_timeout = ${ms}`) }
  setBusyTimeout(busyTimeoutMs)

  return (write) => {
    if (openUntilMs > 0 && Date.now() >= openUntilMs) {
      openUntilMs = 0
      setBusyTimeout(busyTimeoutMs)
    }
    try {
      return write()
    } catch (error) {
      if (openUntilMs === 0 && isBusy(error)) {
        openUntilMs = Date.now() + openMs
        setBusyTimeout(0)
      }
      throw error
    }
  }
}
