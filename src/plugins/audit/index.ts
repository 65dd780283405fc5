import { setTimeout as delay } from 'node:timers/promises'
import type { FastifyPluginAsync, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { eventsRepository, type NewEventRow } from './repository.js'
import { auditRetention } from './retention.js'
import { unwrapDatabaseError } from '../../lib/unwrap-error.js'
import { bestEffort, scheduleCleanup } from '../../lib/background.js'
import { describeRequestId, describeUserAgent } from '../../lib/single-line.js'
import { type AuditEvent, type EventFilter, eventMessages, type EventSource, type NewEvent } from './event.js'
import { printableAddress } from '../../lib/client-network.js'
import { batchWriter } from '../../lib/batch-writer.js'

/** What is written on a disk that is nearly full: what nobody but an admin or the operator can repeat. */
const essentialKinds: string[] = ['role_change', 'deletion', 'unlock', 'export', 'import', 'reset']
/** How long a reader waits for what was just noted to be written, in milliseconds. */
const readerPatienceMs = 500

declare module 'fastify' {
  interface FastifyInstance {
    /** The audit trail. */
    audit: AuditLog
  }
}

/** The audit trail: what happened to whom, when, and from where. */
export interface AuditLog {
  /** Notes an event down, in the log and in the trail; it is written later, and holds nobody up. */
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

/** The plugin's options. */
export interface AuditOptions {
  /** For how many days events are kept; 0: none is written. */
  auditRetentionDays: number
  /** Where events come from that no request caused. */
  source: Exclude<EventSource, 'http'>
  now: () => number
}

const plugin: FastifyPluginAsync<AuditOptions> = async (app, { auditRetentionDays, source, now }) => {
  const repository = eventsRepository(app.store)
  const listeners: Array<(event: NewEvent) => void> = []
  const retention = auditRetention(app.store, { retentionDays: auditRetentionDays, now })
  const queue = batchWriter<NewEventRow>({
    async write (rows) {
      // What space is left on the disk is for logins.
      const kept = app.store.isNearlyFull() ? rows.filter(({ kind, outcome }) => essentialKinds.includes(kind) && outcome === 'success') : rows
      if (kept.length === 0) return
      await repository.insert(kept)
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
        source: request === undefined ? source : 'http',
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
      return await repository.list(filter, limit)
    },

    listAfter: repository.listAfter,

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
