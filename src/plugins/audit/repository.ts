import { and, asc, desc, eq, gt, lt, type SQL } from 'drizzle-orm'
import type { Store } from '../../database/store.js'
import type { AuditEvent, EventFilter, NewEvent } from './event.js'

/** An event's row that is not written yet. */
export type NewEventRow = Omit<Store['tables']['events']['$inferSelect'], 'id' | 'kind' | 'outcome'> & Required<Pick<NewEvent, 'kind' | 'outcome'>>

/** Every query on events, except those that delete old ones. */
export function eventsRepository ({ db, relaxed, tables: { events, users } }: Store) {
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
  /** Selects events. The columns are plain text, but every row was a `NewEventRow`. */
  const select = async (condition: SQL | undefined, order: SQL, limit: number) =>
    await db.select(columns).from(events).leftJoin(users, eq(users.id, events.userId)).where(condition).orderBy(order).limit(limit) as AuditEvent[]

  return {
    /** Inserts rows, all of them or none. */
    async insert (rows: NewEventRow[]): Promise<void> {
      await relaxed.insert(events).values(rows)
    },

    /** Events, newest first. */
    async list (filter: EventFilter, limit: number): Promise<AuditEvent[]> {
      return await select(matches(filter), desc(events.id), limit)
    },

    /** Events whose ids are higher than `id`, oldest first. */
    async listAfter (id: number, filter: EventFilter, limit: number): Promise<AuditEvent[]> {
      return await select(and(gt(events.id, id), matches(filter)), asc(events.id), limit)
    }
  }
}
