import { DrizzleError, DrizzleQueryError } from 'drizzle-orm'

/**
 * The driver's own error behind a failed query or migration. Drizzle wraps it in an error
 * whose message holds the query or its parameters, which must reach neither a log nor a client.
 */
export function unwrapDatabaseError (error: unknown): unknown {
  const cause = error instanceof DrizzleQueryError || error instanceof DrizzleError ? error.cause : error
  // Of several addresses that were tried in vain, the first stands for all: together they have no message.
  return cause instanceof AggregateError ? cause.errors[0] : cause
}
