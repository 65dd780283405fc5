/**
 * The kinds of events, with their messages in the server's log. For a new kind, decide whether it
 * belongs to `essentialKinds` in index.ts.
 */
export const eventMessages = {
  signup: 'signed up',
  login: 'logged in',
  login_failure: 'login failed',
  backoff: 'attempts have to wait',
  unlock: 'attempts need not wait any longer',
  renewal: 'session renewed',
  logout: 'logged out',
  token_creation: 'personal access token created',
  revocation: 'tokens revoked',
  eviction: 'token evicted',
  password_change: 'password change',
  role_change: 'role change',
  deletion: 'account deletion',
  user_creation: 'account created',
  disabling: 'account disabled',
  enabling: 'account enabled',
  reset_request: 'password reset requested',
  password_reset: 'password reset',
  email_change: 'email change',
  email_verification: 'email verified',
  username_change: 'username change',
  second_factor_change: 'second factor change',
  invitation: 'invitation',
  export: 'all data exported',
  import: 'accounts imported',
  restore: 'backup restored',
  reset: 'all data deleted'
} as const

/** The kind of an event. */
export type EventKind = keyof typeof eventMessages

/** The kinds of events, in the order of the documentation. */
export const eventKinds = Object.keys(eventMessages)

/** The outcomes of an event: `success`, or why it failed. */
export const eventOutcomes = ['success', 'username_unknown', 'password_incorrect', 'code_incorrect', 'password_changed_concurrently', 'user_deleted_concurrently', 'account_disabled'] as const

/** The outcome of an event. */
export type EventOutcome = typeof eventOutcomes[number]

/** The sources of events: a request, the command line, or the app that embeds Latchkey. */
export const eventSources = ['http', 'cli', 'app'] as const

/** The source of an event. */
export type EventSource = typeof eventSources[number]

// Three shapes: a `NewEvent` is what a caller records; the audit log adds time, source, address,
// User-Agent and request id. An `AuditEvent` is the stored row with its id and the username.
// `eventRecord` is the same in the form of the API, with snake_case members.

/** An event to be recorded. */
export interface NewEvent {
  kind: EventKind
  /** `success` by default. */
  outcome?: EventOutcome
  /** The user it happened to. */
  userId?: number
  /** The user who did it, if that is another user. */
  actorId?: number
  /** Details, such as the name of a role or the id of a token. Never a secret, never text that an anonymous client chose. */
  detail?: string
}

/** An event of the audit log. */
export interface AuditEvent {
  /** Later events have higher ids. */
  id: number
  time: Date
  kind: EventKind
  outcome: EventOutcome
  source: EventSource
  userId: number | null
  /** Null when the account was deleted, or the event has no user. */
  username: string | null
  actorId: number | null
  detail: string | null
  address: string | null
  /** The start of the User-Agent header, without invisible characters. */
  userAgent: string | null
  requestId: string | null
}

/** Selects events: all conditions must hold. */
export interface EventFilter {
  userId?: number
  kind?: string
  /** Only events whose ids are lower than this one. */
  before?: number
}

/** An event in the form of the API and of the command line's JSON. */
export function eventRecord ({ id, time, kind, outcome, source, userId, username, actorId, detail, address, userAgent, requestId }: AuditEvent) {
  return { id, time: time.toISOString(), kind, outcome, source, user_id: userId, username, actor_id: actorId, detail, address, user_agent: userAgent, request_id: requestId }
}

/** An event in the form of the API. */
export type EventRecord = ReturnType<typeof eventRecord>

/**
 * An event for the user it happened to. Of an event that another user caused, it has only the
 * members listed here: where that user was is private.
 */
export function ownEventRecord (event: EventRecord): EventRecord {
  if (event.actor_id === null) return event
  const { id, time, kind, outcome, source, user_id: userId, username, actor_id: actorId, detail } = event
  return { id, time, kind, outcome, source, user_id: userId, username, actor_id: actorId, detail, address: null, user_agent: null, request_id: null }
}
