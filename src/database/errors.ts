import { errorCode, isNodeError } from '../lib/error-code.js'
import { unwrapDatabaseError } from '../lib/unwrap-error.js'
import { InternalServerError, ServiceUnavailable } from '../errors.js'

/** Codes of PostgreSQL: a name is taken by another statement, or there is no statement of that name. */
const lostStatementCodes = ['42P05', '26000']

/** What an operator does about prepared statements that get lost. */
export const lostStatementAdvice = 'a pooler in front of PostgreSQL does not keep prepared statements: set DATABASE_PREPARE=off (in an app, the option databasePrepare)'

// Codes of errors that pass: the same request can succeed later.
const unavailableCodes = new RegExp(`^(?:${[
  // SQLite's primary result codes: busy, or the disk is full or failing. https://www.sqlite.org/rescode.html
  'SQLITE_(?:BUSY|LOCKED|FULL|IOERR|READONLY|CANTOPEN|NOMEM|PROTOCOL)',
  // PostgreSQL's classes: connection exception, invalid authorization, no such database,
  // transaction rollback, insufficient resources, operator intervention (shutdown, startup,
  // timeout), system error; read-only, as on a server that became a standby; a transaction
  // that idled; a missing privilege; a lock that was not available; a prepared statement that a
  // pooler has lost.
  // https://www.postgresql.org/docs/current/errcodes-appendix.html
  '08...$', '28...$', '3D000', '40...$', '53...$', '57...$', '58...$', '25006', '25P0.$', '42501', '55P03', ...lostStatementCodes,
  // The network to the server.
  'ECONN', 'EPIPE', 'ETIMEDOUT', 'ENOTFOUND', 'EAI_', 'EHOST', 'ENET'
].join('|')})`)

// Errors without a code of their own. From the driver: the connection broke, no connection was
// available in time, or the server did not answer. From the server: a table changed under a
// prepared statement, which the next connection prepares again.
const unavailableMessages = /^(?:cached plan must not change result type|Connection terminated|timeout exceeded when trying to connect|Query read timeout|Client has encountered a connection error)/

const foreignKeyCodes = new Set(['SQLITE_CONSTRAINT_FOREIGNKEY', '23503'])

/** The driver's code; empty when there is none. */
function databaseErrorCode (error: unknown): string {
  return errorCode(unwrapDatabaseError(error)) ?? ''
}

/** Whether an error is temporary: the database is gone, busy, full or read-only now, and may serve later. */
export function isUnavailable (error: unknown): boolean {
  const cause = unwrapDatabaseError(error)
  if (!(cause instanceof Error)) return false
  const failedToConnect = isNodeError(cause) && cause.syscall === 'connect'
  return failedToConnect || unavailableCodes.test(errorCode(cause) ?? '') || unavailableMessages.test(cause.message)
}

/** Whether a code of PostgreSQL says that it does not have the statement that we prepared: a pooler gave us another connection. */
export function isStatementLost (code: string | undefined): boolean {
  return code !== undefined && lostStatementCodes.includes(code)
}

/** Whether an error comes from the database, of whatever kind. */
export function isDatabaseError (error: unknown): boolean {
  return isUnavailable(error) || /^(?:SQLITE_\w+|[0-9A-Z]{5})$/.test(databaseErrorCode(error))
}

/** Whether a write failed because a row refers to another row that does not exist. */
export function isForeignKeyViolation (error: unknown): boolean {
  return foreignKeyCodes.has(databaseErrorCode(error))
}

/** Whether a write failed because of other rows: a key is taken, or a referenced row does not exist. */
export function isConflict (error: unknown): boolean {
  return /^(?:SQLITE_CONSTRAINT_(?:UNIQUE|PRIMARYKEY|ROWID|FOREIGNKEY)|2350[35])$/.test(databaseErrorCode(error))
}

/**
 * The answer to a client whose query failed: 503 `SERVICE_UNAVAILABLE` when it can be retried,
 * 500 otherwise, without details. The cause is kept for the log.
 */
export function toHttpError (error: unknown): ServiceUnavailable | InstanceType<typeof InternalServerError> {
  return isUnavailable(error) ? new ServiceUnavailable({ cause: error }) : new InternalServerError({ cause: error })
}
