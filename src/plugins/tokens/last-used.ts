import { inArray, sql } from 'drizzle-orm'
import type { FastifyInstance } from 'fastify'
import type { Query, Store } from '../../database/store.js'
import { scheduleWrites } from '../../lib/batch-writer.js'

/** The resolution of `last_used_at`, in milliseconds: at most one write per token in this time. */
const resolutionMs = 300_000
/** How long times are collected before they are written, in milliseconds. */
const delayMs = 1_000
/** How many times one statement writes: for each of its rows it searches all of them. */
const tokensPerStatement = 250
/** The most times that wait: more tokens than are used in a second. */
const maxWaiting = 100_000

/** A token, and when it was used last. */
interface LastUse {
  id: string
  time: Date
}

/** When tokens were used last. */
export interface LastUsedTimes {
  /** The times that are not written yet, by token id: a copy, as they are now. */
  pending: () => ReadonlyMap<string, Date>
  /** Records that a token is used now, unless a use within the last five minutes is known. It is written later: no request waits for it. */
  touch: (id: string, lastUsedAt: Date | null) => void
  /** Writes the pending times now. Rejects when that fails: they stay pending, and are retried. */
  flush: () => Promise<void>
}

function updateQuery ({ db, tables: { tokens } }: Pick<Store, 'db' | 'tables'>, uses: LastUse[]): Query {
  const times = sql.join(uses.map(({ id, time }) => sql` when ${id} then ${sql.param(time, tokens.lastUsedAt)}`))
  const lastUsedAt = sql`cast(case ${tokens.id}${times} end as ${sql.raw(tokens.lastUsedAt.getSQLType())})`
  return db.update(tokens).set({ lastUsedAt }).where(inArray(tokens.id, uses.map(({ id }) => id)))
}

/** Records when tokens were used last, and writes it in batches. */
export function lastUsedTimes (app: FastifyInstance, now: () => number): LastUsedTimes {
  const { store } = app
  const pendingTimes = new Map<string, Date>()

  const writer = scheduleWrites<LastUse>(app, {
    rows: 'Last-used times of tokens',
    delayMs,
    rowsPerBatch: tokensPerStatement,
    maxWaiting,
    async write (uses) {
      // A transaction for each batch: a revocation waits for one statement at most.
      await store.batch([updateQuery(store, uses)])
      for (const { id } of uses) pendingTimes.delete(id)
    }
  })

  return {
    pending: () => new Map(pendingTimes),

    touch (id, lastUsedAt) {
      const timeMs = now()
      if ((lastUsedAt !== null && timeMs - lastUsedAt.getTime() < resolutionMs) || pendingTimes.has(id)) return
      const time = new Date(timeMs)
      if (writer.add({ id, time })) pendingTimes.set(id, time)
    },

    flush: writer.flush
  }
}
