import type { FastifyInstance } from 'fastify'

/** Listeners to something that happens in an app. */
export interface Listeners<Value> {
  /** Adds a listener. */
  subscribe: (listener: (value: Value) => void) => void
  /** Calls every listener. An error that one throws is logged, and changes nothing. */
  notify: (value: Value) => void
}

/** @param failure the log message when a listener throws */
export function createListeners<Value> (app: FastifyInstance, failure: string): Listeners<Value> {
  const listeners: Array<(value: Value) => void> = []
  return {
    subscribe (listener) {
      listeners.push(listener)
    },
    notify (value) {
      for (const listener of listeners) {
        try {
          listener(value)
        } catch (error) {
          app.log.error({ err: error }, failure)
        }
      }
    }
  }
}
