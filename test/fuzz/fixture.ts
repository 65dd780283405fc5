import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from 'fastify'
import type { Test } from 'tap'
import { servicesOf } from '../../src/services.js'
import { asUser, createTestClock, type TestClock } from '../../src/testing.js'
import type { TestDatabase } from '../databases.js'
import { buildOn } from '../helper.js'

/** The server that generated requests are sent to. */
export interface Fixture {
  app: FastifyInstance
  clock: TestClock
  /** Sends a request; what is answered is held to the contract. Rejects when there is no answer. */
  send: (request: InjectOptions) => Promise<LightMyRequestResponse>
  /** How many requests were sent so far. */
  sent: () => number
  /** Removes every account, role and event; the clock is where it was at first. */
  reset: () => Promise<void>
}

/** When everything begins. */
const start = new Date('2026-01-01T00:00:00.000Z')

/** Far more than an answer takes, even on a slow machine: what takes longer hangs. */
const answerDeadlineMs = 30_000

/** The server must not lack time or space for anything: all of it is about what is answered. */
const environment = {
  DATABASE_CONNECT_TIMEOUT_MS: '60000',
  DATABASE_STATEMENT_TIMEOUT_MS: '60000',
  // Sequences move the clock by years.
  AUDIT_RETENTION_DAYS: '3650'
}

/** Builds a server on a new database of a kind. */
export async function createFixture (t: Test, database: TestDatabase): Promise<Fixture> {
  const clock = createTestClock(start)
  const app = await buildOn(database)(t, environment, { now: clock.now })
  let sent = 0

  async function send (request: InjectOptions): Promise<LightMyRequestResponse> {
    sent++
    // The server notes a use now or a second later: which one decides what is evicted.
    await servicesOf(app).tokens.flushLastUsed()
    return await new Promise((resolve, reject) => {
      const late = () => reject(new Error(`${request.method} ${String(request.url)} was not answered`))
      const timer = setTimeout(late, answerDeadlineMs)
      app.inject(request).then(resolve, reject).finally(() => clearTimeout(timer))
    })
  }

  return {
    app,
    clock,
    send,
    sent: () => sent,
    async reset () {
      // Whoever reads events has those written that are still in the queue: none comes after the table was emptied.
      const { inject } = await asUser(app, 'reader', { roles: ['admin'] })
      await inject('/api/v1/events')
      for (const statement of ['delete from users', "delete from roles where name <> 'admin'", 'delete from events']) await database.execute(servicesOf(app).store, statement)
      clock.set(start)
    }
  }
}
