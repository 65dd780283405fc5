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

/** Where an event came from: a request, the command line, or the app that embeds Latchkey. */
export const eventSources = ['http', 'cli', 'app'] as const

/** Where an event came from. */
export type EventSource = typeof eventSources[number]

/** Something that happened. */
export interface NewEvent {
  kind: EventKind
  /** How it ended: `success` by default. */
  outcome?: EventOutcome
  /** Whom it happened to. */
  userId?: number
  /** Who did it, where that is somebody else. */
  actorId?: number
  /** What else there is to say: the name of a role, the id of a token. Never a secret, never what a stranger wrote. */
  detail?: string
}

/** An event of the audit log, as it was written. */
export interface AuditEvent {
  /** Later events have higher ones. */
  id: number
  time: Date
  kind: string
  outcome: string
  source: EventSource
  userId: number | null
  /** Null when the user is gone. */
  username: string | null
  actorId: number | null
  detail: string | null
  address: string | null
  /** The start of the User-Agent header. */
  userAgent: string | null
  requestId: string | null
}

/** Which events are asked for. */
export interface EventFilter {
  userId?: number
  kind?: string
  /** Only those before this id. */
  before?: number
}

/** An event as it is shown. */
export function eventRecord ({ id, time, kind, outcome, source, userId, username, actorId, detail, address, userAgent, requestId }: AuditEvent) {
  return { id, time: time.toISOString(), kind, outcome, source, user_id: userId, username, actor_id: actorId, detail, address, user_agent: userAgent, request_id: requestId }
}
