import { unwrapDatabaseError } from '../lib/unwrap-error.js'
import { InternalServerError, ServiceUnavailable } from '../errors.js'

// What says "not now": the same request can succeed later.
const unavailableCodes = new RegExp(`^(?:${[
  // SQLite's primary result codes: busy, or the disk says no. https://www.sqlite.org/rescode.html
  'SQLITE_(?:BUSY|LOCKED|FULL|IOERR|READONLY|CANTOPEN|NOMEM|PROTOCOL)',
  // PostgreSQL's classes: no connection, not let in, no such database (any more), transaction
  // rolled back, no resources, operator intervention (shutdown, start, timeout), system error;
  // read-only, as on a server that became a standby; a transaction that idled; a right that
  // was not granted (yet); a lock that was not to be had.
  // https://www.postgresql.org/docs/current/errcodes-appendix.html
  '08...$', '28...$', '3D000', '40...$', '53...$', '57...$', '58...$', '25006', '25P0.$', '42501', '55P03',
  // The network between us.
  'ECONN', 'EPIPE', 'ETIMEDOUT', 'ENOTFOUND', 'EAI_', 'EHOST', 'ENET'
].join('|')})`)

// What is said in words only: by the driver, that the connection broke, that there was none
// to be had in time, or that the server went silent; by the server, that a table changed
// under a prepared statement, which the next connection prepares anew.
const unavailableMessages = /^(?:cached plan must not change result type|Connection terminated|timeout exceeded when trying to connect|Query read timeout|Client has encountered a connection error)/

const foreignKeyCodes = new Set(['SQLITE_CONSTRAINT_FOREIGNKEY', '23503'])

function codeOf (error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}

/** True when the database cannot serve now but may serve later: gone, busy, full, read-only. */
export function isUnavailable (error: unknown): boolean {
  const cause = unwrapDatabaseError(error)
  if (!(cause instanceof Error)) return false
  return Object(cause).syscall === 'connect' || unavailableCodes.test(codeOf(cause)) || unavailableMessages.test(cause.message)
}

/** True when an error is the database's, whatever it says. */
export function isDatabaseError (error: unknown): boolean {
  return isUnavailable(error) || /^(?:SQLITE_\w+|[0-9A-Z]{5})$/.test(codeOf(unwrapDatabaseError(error)))
}

/** True when a row names another row that does not exist (any more). */
export function isForeignKeyViolation (error: unknown): boolean {
  return foreignKeyCodes.has(codeOf(unwrapDatabaseError(error)))
}

/** True when a row cannot be there beside the others: a key is taken, or a row that it names is not there. */
export function isConflict (error: unknown): boolean {
  return /^(?:SQLITE_CONSTRAINT_(?:UNIQUE|PRIMARYKEY|ROWID|FOREIGNKEY)|2350[35])$/.test(codeOf(unwrapDatabaseError(error)))
}

/** What a client is told of a failed query: nothing but whether to try again. The cause is kept for the log. */
export function toHttpError (error: unknown): ServiceUnavailable | InstanceType<typeof InternalServerError> {
  return isUnavailable(error) ? new ServiceUnavailable({ cause: error }) : new InternalServerError({ cause: error })
}
