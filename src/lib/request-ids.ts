import { randomUUID } from 'node:crypto'

/**
 * Makes ids that are unique beyond this process, at the price of counting: UUIDs of version 8,
 * whose first part is random and the process's, and whose last counts (RFC 9562, section 5.8).
 */
export function requestIds (): () => string {
  const [low = '', mid = '', , variant = ''] = randomUUID().split('-')
  const ours = `${low}-${mid}-8${randomUUID().slice(-3)}-${variant}-`
  let count = 0
  return () => ours + (++count).toString(16).padStart(12, '0')
}
