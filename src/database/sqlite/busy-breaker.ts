import type Database from 'better-sqlite3'
import type { Around } from './writes.js'

/**
 * How long a statement may wait for another process's lock. The wait blocks the event
 * loop: longer would stall every client, shorter would refuse writes that a neighbour's
 * commit is about to let through.
 */
const busyTimeoutMs = 250
/** How long writes are refused without waiting after one has waited in vain: clients are told to come back then. */
const openMs = 1_000

/** Whether another process holds the lock. */
export function isBusy (error: unknown): boolean {
  return String(Object(error).code).startsWith('SQLITE_BUSY')
}

/**
 * Lets writes wait for a lock, but not one after the other, by whichever connection: once
 * one has waited in vain, those behind it are refused at once for a while, so that reads
 * are served between them.
 */
export function busyCircuitBreaker (clients: Database.Database[]): Around {
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
