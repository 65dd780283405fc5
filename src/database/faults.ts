import { DrizzleQueryError } from 'drizzle-orm'

// SQLite's primary result codes that say "not now" or "the disk says no": the same
// request can succeed later. https://www.sqlite.org/rescode.html
const unavailable = /^SQLITE_(?:BUSY|LOCKED|FULL|IOERR|READONLY|CANTOPEN|NOMEM|PROTOCOL)/

function codeOf (error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}

/**
 * The driver's own error behind a failed query. Drizzle wraps it in an error whose
 * message holds the query's parameters, which must reach neither a log nor a client.
 */
export function causeOf (error: unknown): unknown {
  return error instanceof DrizzleQueryError ? error.cause : error
}

/** True when the database cannot serve now but may serve later: busy, full, read-only. */
export function isUnavailable (error: unknown): boolean {
  return unavailable.test(codeOf(causeOf(error)))
}

/** True when a row names another row that does not exist (any more). */
export function isForeignKeyViolation (error: unknown): boolean {
  return codeOf(causeOf(error)) === 'SQLITE_CONSTRAINT_FOREIGNKEY'
}
