import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { type CleanupTask, scheduleCleanup } from '../../lib/background.js'
import { type ClockState, doubtMs, isPlausible, nextState } from './clock.js'
import { clockRepository } from './repository.js'

/** Deletes rows that are no longer needed. */
export interface Cleanup {
  /**
   * Deletes rows when the app starts and every hour, but never by a clock that is implausibly far
   * ahead of the database.
   *
   * @returns does it now
   */
  schedule: (task: Omit<CleanupTask, 'isAllowed'>) => () => Promise<void>
}

declare module 'fastify' {
  interface FastifyInstance {
    cleanup: Cleanup
  }
}

const days = (ms: number) => Math.floor(ms / 86_400_000)

const plugin: FastifyPluginAsync<{ now: () => number }> = async (app, { now }) => {
  const { find, newestMs, save } = clockRepository(app.store)
  let isDoubted = false

  function report ({ trustedAt, doubtedSince }: ClockState, time: Date): void {
    if (isDoubted === (doubtedSince !== null)) return
    isDoubted = doubtedSince !== null
    if (doubtedSince === null) {
      app.log.info('the clock is plausible again: cleanup goes on')
      return
    }
    const goesOnAt = new Date(doubtedSince.getTime() + doubtMs)
    app.log.warn(`Cleanup waits: the clock shows ${time.toISOString()}, ${days(time.getTime() - trustedAt.getTime())} days after the database was last in use (${trustedAt.toISOString()}). If the clock is wrong, set it right: nothing was deleted. If it is right, do nothing: cleanup goes on at ${goesOnAt.toISOString()}.`)
  }

  async function check (): Promise<boolean> {
    const time = new Date(now())
    const known = await find()
    const state = known ?? { trustedAt: new Date(Math.min(await newestMs() ?? time.getTime(), time.getTime())), doubtedSince: null }
    const isAllowed = isPlausible(state, time)
    const next = nextState(state, time)
    if (next !== known) await save(next)
    report(next, time)
    return isAllowed
  }

  // The tasks of one hour share one look.
  let checking: Promise<boolean> | undefined
  const isAllowed = () => {
    checking ??= check().finally(() => { checking = undefined })
    return checking
  }

  app.decorate('cleanup', { schedule: (task) => scheduleCleanup(app, { ...task, isAllowed }) })
}

export default fp(plugin, { name: 'latchkey-cleanup', dependencies: ['latchkey-database'] })
