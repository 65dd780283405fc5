import { randomBytes } from 'node:crypto'

/**
 * Makes a function that returns ids of requests: a random prefix for this process, and a number.
 * They are unique beyond the process, because the audit log refers to the log by them. They are
 * no secrets.
 */
export function requestIds (): () => string {
  const prefix = randomBytes(9).toString('base64url')
  let count = 0
  return () => `${prefix}-${(++count).toString(36)}`
}
