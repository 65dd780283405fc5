import { DrizzleQueryError } from 'drizzle-orm'

/**
 * The driver's own error behind a failed query. Drizzle wraps it in an error whose
 * message holds the query's parameters, which must reach neither a log nor a client.
 */
export function causeOf (error: unknown): unknown {
  return error instanceof DrizzleQueryError ? error.cause : error
}
