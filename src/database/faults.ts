import { causeOf } from '../lib/causes.js'
import { InternalServerError, ServiceUnavailable } from '../lib/errors.js'

// SQLite's primary result codes that say "not now" or "the disk says no": the same
// request can succeed later. https://www.sqlite.org/rescode.html
const unavailable = /^SQLITE_(?:BUSY|LOCKED|FULL|IOERR|READONLY|CANTOPEN|NOMEM|PROTOCOL)/

function codeOf (error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}

/** True when the database cannot serve now but may serve later: busy, full, read-only. */
export function isUnavailable (error: unknown): boolean {
  return unavailable.test(codeOf(causeOf(error)))
}

/** True when a row names another row that does not exist (any more). */
export function isForeignKeyViolation (error: unknown): boolean {
  return codeOf(causeOf(error)) === 'SQLITE_CONSTRAINT_FOREIGNKEY'
}

/** What a client is told of a failed query: nothing but whether to try again. The cause is kept for the log. */
export function asExpectedError (error: unknown): ServiceUnavailable | InstanceType<typeof InternalServerError> {
  return isUnavailable(error) ? new ServiceUnavailable({ cause: error }) : new InternalServerError({ cause: error })
}
