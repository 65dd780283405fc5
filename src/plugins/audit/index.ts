import { setTimeout as delay } from 'node:timers/promises'
import type { FastifyPluginAsync, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { bestEffort } from '../../lib/background.js'
import { scheduleWrites } from '../../lib/batch-writer.js'
import { printableAddress } from '../../lib/client-network.js'
import { createListeners } from '../../lib/listeners.js'
import { describeRequestId, describeUserAgent } from '../../lib/single-line.js'
import { type AuditEvent, type EventFilter, type EventKind, eventMessages, type EventSource, type NewEvent } from './event.js'
import { eventsRepository, type NewEventRow } from './repository.js'
import { auditRetention } from './retention.js'

/** The kinds of successful events that are written on a nearly full disk: users cannot cause them at will. */
const essentialKinds: EventKind[] = ['role_change', 'invitation', 'deletion', 'disabling', 'enabling', 'unlock', 'export', 'import', 'restore', 'reset']
/** How long a reader waits for pending events to be written, in milliseconds. */
const flushTimeoutMs = 500

declare module 'fastify' {
  interface FastifyInstance {
    audit: AuditLog
  }
}

/** What an event records of a request. */
export type EventRequest = Pick<FastifyRequest, 'id' | 'ip' | 'headers' | 'log'>

/** The audit log: what happened to whom, when, and from where. */
export interface AuditLog {
  /** Records an event, in the server's log and in the audit log. It is written later: no request waits for it. */
  record: (event: NewEvent, request?: EventRequest) => void
  /** Calls a listener with each event that is recorded in this process. An error that it throws is logged, and changes nothing. */
  subscribe: (listener: (event: NewEvent) => void) => void
  /** Events, newest first, including those just recorded by this process if they can be written in time. */
  list: (filter: EventFilter, limit: number) => Promise<AuditEvent[]>
  /** Events whose ids are higher than `id`, oldest first. */
  listAfter: (id: number, filter: EventFilter, limit: number) => Promise<AuditEvent[]>
  /** How many events are not written yet, and how many were dropped because the queue was full or closed. */
  counts: () => { waiting: number, dropped: number }
}

/** The plugin's options. */
export interface AuditOptions {
  /** For how many days events are kept; with 0 none is written. */
  auditRetentionDays: number
  /** The source of events that no request caused. */
  source: Exclude<EventSource, 'http'>
  /** The clock, in milliseconds since 1970. */
  now: () => number
}

const isEssential = ({ kind, outcome }: NewEventRow) => essentialKinds.includes(kind) && outcome === 'success'

const plugin: FastifyPluginAsync<AuditOptions> = async (app, { auditRetentionDays, source, now }) => {
  const repository = eventsRepository(app.store)
  const retention = auditRetention(app.store, { retentionDays: auditRetentionDays, now })
  const { subscribe, notify } = createListeners<NewEvent>(app, 'A listener to audit events failed.')

  const writer = scheduleWrites<NewEventRow>(app, {
    rows: 'Audit events',
    async write (rows) {
      // The space that is left on a nearly full disk is for logins.
      const kept = app.store.isNearlyFull() ? rows.filter(isEssential) : rows
      if (kept.length === 0) return
      await repository.insert(kept)
      await bestEffort(app, { work: () => retention.trimAfter(kept), failure: 'Surplus audit events could not be removed.' })()
    }
  })

  const auditLog: AuditLog = {
    record (event, request) {
      const { kind, outcome = 'success', userId, actorId, detail } = event
      const { log } = request ?? app
      const address = request && printableAddress(request.ip)
      log.info({ event: kind, outcome, userId, actorId, detail, address }, eventMessages[kind])
      notify(event)
      if (auditRetentionDays === 0) return
      writer.add({
        time: new Date(now()),
        kind,
        outcome,
        source: request === undefined ? source : 'http',
        userId: userId ?? null,
        actorId: actorId ?? null,
        detail: detail ?? null,
        address: address ?? null,
        userAgent: describeUserAgent(request?.headers['user-agent']) || null,
        requestId: describeRequestId(request?.id)
      })
    },

    subscribe,

    async list (filter, limit) {
      // Reading must not depend on writing.
      await Promise.race([writer.flush().catch(() => {}), delay(flushTimeoutMs, undefined, { ref: false })])
      return await repository.list(filter, limit)
    },

    listAfter: repository.listAfter,

    counts: writer.counts
  }
  app.decorate('audit', auditLog)

  app.cleanup.schedule({ deleteBatch: retention.deleteOld, failure: 'old events could not be removed' })
}

export default fp(plugin, { name: 'latchkey-audit', dependencies: ['latchkey-database', 'latchkey-cleanup'] })
