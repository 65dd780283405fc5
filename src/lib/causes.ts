import { DrizzleError, DrizzleQueryError } from 'drizzle-orm'

/**
 * The driver's own error behind a failed query or migration. Drizzle wraps it in an error
 * whose message holds the query or its parameters, which must reach neither a log nor a client.
 */
export function causeOf (error: unknown): unknown {
  return error instanceof DrizzleQueryError || error instanceof DrizzleError ? error.cause : error
}
