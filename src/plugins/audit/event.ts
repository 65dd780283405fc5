import type { AuditEvent } from './index.js'

/** What can happen, with the words that the log has for it. */
export const eventMessages = {
  signup: 'signed up',
  login: 'logged in',
  login_failure: 'login failed',
  backoff: 'has to wait before the next attempt',
  unlock: 'need not wait any more',
  logout: 'logged out',
  token_creation: 'personal access token made',
  revocation: 'tokens revoked',
  password_change: 'change of password',
  role_change: 'change of roles',
  deletion: 'deletion of the account',
  export: 'everything was exported',
  import: 'accounts were imported',
  reset: 'everything was deleted'
} as const

/** What happened. */
export type EventKind = keyof typeof eventMessages

/** The kinds in the order of the documentation. */
export const eventKinds = Object.keys(eventMessages)

/** How it ended: `success`, or what stood in the way. */
export const eventOutcomes = ['success', 'username_unknown', 'password_incorrect', 'password_changed_concurrently', 'user_deleted_concurrently'] as const

/** How it ended. */
export type EventOutcome = typeof eventOutcomes[number]

/** For how many days events are kept where nothing else is said. */
export const defaultAuditRetentionDays = 30

/** An event as it is shown. */
export function eventRecord ({ id, time, kind, outcome, source, userId, username, actorId, detail, address, userAgent, requestId }: AuditEvent) {
  return { id, time: time.toISOString(), kind, outcome, source, user_id: userId, username, actor_id: actorId, detail, address, user_agent: userAgent, request_id: requestId }
}
