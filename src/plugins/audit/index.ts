import { setTimeout as delay } from 'node:timers/promises'
import { and, asc, desc, eq, gt, lt, type SQL } from 'drizzle-orm'
import type { FastifyPluginAsync, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { Store } from '../../database/store.js'
import { auditRetention } from './retention.js'
import { unwrapDatabaseError } from '../../lib/unwrap-error.js'
import { bestEffort, scheduleCleanup } from '../../lib/background.js'
import { describeRequestId, describeUserAgent } from '../../lib/single-line.js'
import { defaultAuditRetentionDays, type EventKind, eventMessages, type EventOutcome } from './event.js'
import { printableAddress } from '../../lib/client-network.js'
import { batchWriter } from '../../lib/batch-writer.js'

/** What is written on a disk that is nearly full: what nobody but an admin or the operator can repeat. */
const essentialKinds: string[] = ['role_change', 'deletion', 'unlock', 'export', 'import', 'reset']
/** How long a reader waits for what was just noted to be written, in milliseconds. */
const readerPatienceMs = 500

type EventRow = Store['tables']['events']['$inferSelect']
type NewEventRow = Omit<EventRow, 'id'>

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

/** Something that happened, as it was written down; `username` is null when the user is gone. */
export type AuditEvent = EventRow & { username: string | null }

/** Which events are asked for. */
export interface EventFilter {
  userId?: number
  kind?: string
  /** Only those before this id. */
  before?: number
}

declare module 'fastify' {
  interface FastifyInstance {
    /** The audit trail. */
    audit: AuditLog
  }
}

/** The audit trail: what happened to whom, when, and from where. */
export interface AuditLog {
  /** Notes an event down, in the log and in the trail; it is written later, and holds nobody up. Without a request it comes from the command line. */
  record: (event: NewEvent, request?: FastifyRequest) => void
  /** Has a function called with each event that is noted. What it throws is logged, and changes nothing. */
  subscribe: (listener: (event: NewEvent) => void) => void
  /** Events, newest first, with those that were just noted here, if they can be written. */
  list: (filter: EventFilter, limit: number) => Promise<AuditEvent[]>
  /** Events from an id on, oldest first. */
  listAfter: (id: number, filter: EventFilter, limit: number) => Promise<AuditEvent[]>
  /** How many are yet to be written, and how many were lost because the database did not take them for too long. */
  counts: () => { waiting: number, dropped: number }
}

/** What the plugin is told. */
export interface AuditOptions {
  /** For how many days events are kept: 30 by default; 0: none is written. */
  auditRetentionDays?: number
}

const plugin: FastifyPluginAsync<AuditOptions & { now: () => number }> = async (app, { auditRetentionDays = defaultAuditRetentionDays, now }) => {
  const { db, tables: { events, users } } = app.store
  const columns = {
    id: events.id,
    time: events.time,
    kind: events.kind,
    outcome: events.outcome,
    source: events.source,
    userId: events.userId,
    username: users.username,
    actorId: events.actorId,
    detail: events.detail,
    address: events.address,
    userAgent: events.userAgent,
    requestId: events.requestId
  }
  const matches = ({ userId, kind, before }: EventFilter) => and(
    userId === undefined ? undefined : eq(events.userId, userId),
    kind === undefined ? undefined : eq(events.kind, kind),
    before === undefined ? undefined : lt(events.id, before)
  )
  const select = (condition: SQL | undefined) => db.select(columns).from(events).leftJoin(users, eq(users.id, events.userId)).where(condition)

  const listeners: Array<(event: NewEvent) => void> = []
  const retention = auditRetention(app.store, { retentionDays: auditRetentionDays, now })
  const queue = batchWriter<NewEventRow>({
    async write (rows) {
      // What space is left on the disk is for logins.
      const kept = app.store.isNearlyFull() ? rows.filter(({ kind, outcome }) => essentialKinds.includes(kind) && outcome === 'success') : rows
      if (kept.length === 0) return
      await db.insert(events).values(kept)
      await bestEffort(app, { work: () => retention.trimAfter(kept), failure: 'events beyond what is kept could not be removed' })()
    },
    onFailure: (error) => app.log.error({ err: unwrapDatabaseError(error) }, 'events could not be written yet'),
    onDrop: () => app.log.error('events are lost: too many wait to be written, or they came after the end')
  })

  /** Whoever listens cannot harm what they hear of. */
  function notify (event: NewEvent): void {
    for (const listener of listeners) {
      try {
        listener(event)
      } catch (error) {
        app.log.error({ err: error }, 'a listener to events failed')
      }
    }
  }

  const auditLog: AuditLog = {
    record (event, request) {
      const { kind, outcome = 'success', userId, actorId, detail } = event
      const { log } = request ?? app
      const address = request && printableAddress(request.ip)
      log.info({ event: kind, outcome, userId, actorId, detail, address }, eventMessages[kind])
      notify(event)
      if (auditRetentionDays === 0) return
      queue.add({
        time: new Date(now()),
        kind,
        outcome,
        source: request === undefined ? 'cli' : 'http',
        userId: userId ?? null,
        actorId: actorId ?? null,
        detail: detail ?? null,
        address: address ?? null,
        userAgent: describeUserAgent(request?.headers['user-agent']) || null,
        requestId: describeRequestId(request?.id)
      })
    },

    subscribe (listener) {
      listeners.push(listener)
    },

    async list (filter, limit) {
      // Reading must not depend on writing.
      await Promise.race([queue.flush().catch(() => {}), delay(readerPatienceMs, undefined, { ref: false })])
      return await select(matches(filter)).orderBy(desc(events.id)).limit(limit)
    },

    async listAfter (id, filter, limit) {
      return await select(and(gt(events.id, id), matches(filter))).orderBy(asc(events.id)).limit(limit)
    },

    counts: queue.counts
  }
  app.decorate('audit', auditLog)

  scheduleCleanup(app, { deleteBatch: retention.deleteOld, failure: 'old events could not be removed' })
  app.addHook('onClose', async () => {
    try {
      await queue.close()
    } catch (error) {
      app.log.error({ err: unwrapDatabaseError(error), events: queue.counts().waiting }, 'events could not be written, and are lost')
    }
  })
}

export default fp(plugin, { name: 'latchkey-audit', dependencies: ['latchkey-database'] })
