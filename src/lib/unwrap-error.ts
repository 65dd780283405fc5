import { DrizzleError, DrizzleQueryError } from 'drizzle-orm'

/**
 * The driver's own error behind a failed query or migration; any other error as it is. Drizzle
 * wraps it in an error whose message contains the query or its parameters, which must reach
 * neither a log nor a client.
 */
export function unwrapDatabaseError (error: unknown): unknown {
  const cause = error instanceof DrizzleQueryError || error instanceof DrizzleError ? error.cause : error
  // A connection that was tried at several addresses: the AggregateError has no message, so the first error stands for all.
  return cause instanceof AggregateError ? cause.errors[0] : cause
}
