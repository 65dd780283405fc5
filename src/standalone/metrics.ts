import Fastify, { type FastifyInstance, type FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client'
import { isDatabaseError, isUnavailable } from '../database/errors.js'
import { toExpectedError } from '../plugins/errors/expected-error.js'
import { servicesOf } from '../services.js'
import { loggerOptions } from './log-serializers.js'

/** The plugin's options. */
export interface MetricsOptions {
  host: string
  /** 0: any free port. */
  port: number
}

declare module 'fastify' {
  interface FastifyInstance {
    /** The metrics, for Prometheus. */
    metrics: Metrics
  }
}

/** The metrics. */
export interface Metrics {
  registry: Registry
  /** The server of `GET /metrics`. */
  listener: FastifyInstance
}

/** In seconds: from the duration of a token check to the request timeout. */
const durationBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
/** A scrape that takes longer than this is ended. */
const scrapeTimeoutMs = 5_000
/** The resolution of the event loop delay, in milliseconds. */
const eventLoopPrecisionMs = 10

/** A counter whose values are read at every scrape from where they are counted. */
function counterOf<Label extends string> (registry: Registry, name: string, help: string, labelNames: Label[], add: (counter: Counter<Label>) => void): void {
  const counter: Counter<Label> = new Counter({
    name,
    help,
    labelNames,
    registers: [registry],
    collect () {
      counter.reset()
      add(counter)
    }
  })
}

/**
 * Measures the server, and answers `GET /metrics` on a port of its own, which only Prometheus
 * needs to reach. Register it before the routes.
 *
 * @see https://github.com/siimon/prom-client
 * @see https://prometheus.io/docs/practices/naming/
 * @throws {Error} it cannot listen at the address
 */
const plugin: FastifyPluginAsync<MetricsOptions> = async (app, { host, port }) => {
  const registry = new Registry()
  const registers = [registry]
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: eventLoopPrecisionMs })

  const requests = new Histogram({ name: 'http_request_duration_seconds', help: 'How long requests took, by method, route and status.', labelNames: ['method', 'route', 'status'], buckets: durationBuckets, registers })
  const databaseErrors = new Counter({ name: 'latchkey_database_errors_total', help: 'Requests that failed because of the database: it could not serve (unavailable), or a query failed otherwise (failed).', labelNames: ['kind'], registers })
  app.addHook('onResponse', async (request, reply) => {
    requests.labels(request.method, request.routeOptions.url ?? 'none', String(reply.statusCode)).observe(reply.elapsedTime / 1_000)
  })
  app.addHook('onError', async (request, reply, error) => {
    const { cause } = toExpectedError(error, request)
    if (isDatabaseError(cause)) databaseErrors.labels(isUnavailable(cause) ? 'unavailable' : 'failed').inc()
  })

  const logins = new Counter({ name: 'latchkey_logins_total', help: 'Logins that were decided, by outcome.', labelNames: ['outcome'], registers })
  app.addHook('onReady', async () => {
    servicesOf(app).audit.subscribe(({ kind, outcome = 'success' }) => {
      if (kind === 'login' || kind === 'login_failure') logins.labels(outcome).inc()
    })
    servicesOf(app).passwords.onJobStart((waitedMs) => wait.observe(waitedMs / 1_000))
  })
  counterOf(registry, 'latchkey_attempts_rejected_total', 'Requests that were rejected with 429, by limit.', ['limit'], (counter) => {
    for (const [limit, count] of Object.entries(servicesOf(app).throttle.counts)) counter.labels(limit).inc(count)
  })

  const wait = new Histogram({ name: 'latchkey_hash_wait_seconds', help: 'How long passwords waited to be hashed.', buckets: durationBuckets, registers })
  const running = new Gauge({ name: 'latchkey_hash_running', help: 'Passwords that are being hashed.', registers, collect: () => { running.set(servicesOf(app).passwords.load().running) } })
  const queued = new Gauge({ name: 'latchkey_hash_queued', help: 'Passwords that wait to be hashed.', registers, collect: () => { queued.set(servicesOf(app).passwords.load().queued) } })
  counterOf(registry, 'latchkey_hash_rejected_total', 'Passwords that were not hashed, by reason: the queue was full, the deadline was exceeded, the client disconnected.', ['reason'], (counter) => {
    for (const [reason, count] of Object.entries(servicesOf(app).passwords.load().rejected)) counter.labels(reason).inc(count)
  })
  const unwritten = new Gauge({ name: 'latchkey_audit_events_pending', help: 'Audit events that are not written yet.', registers, collect: () => { unwritten.set(servicesOf(app).audit.counts().waiting) } })
  counterOf(registry, 'latchkey_audit_events_dropped_total', 'Audit events that were dropped because the queue was full.', [], (counter) => counter.inc(servicesOf(app).audit.counts().dropped))

  counterOf(registry, 'latchkey_mails_total', 'Mails by outcome: sent, failed after all tries, or dropped because the queue was full.', ['outcome'], (counter) => {
    const { sent, failed, dropped } = servicesOf(app).mail.counts()
    for (const [outcome, count] of Object.entries({ sent, failed, dropped })) counter.labels(outcome).inc(count)
  })
  const unsent = new Gauge({ name: 'latchkey_mails_queued', help: 'Mails that are not sent yet.', registers, collect: () => { unsent.set(servicesOf(app).mail.counts().queued) } })

  const listener = Fastify({ logger: { ...loggerOptions, level: 'silent' }, requestTimeout: scrapeTimeoutMs, connectionTimeout: scrapeTimeoutMs, forceCloseConnections: true })
  listener.setNotFoundHandler((request, reply) => reply.code(404).type('text/plain').send('Not Found'))
  listener.get('/metrics', async (request, reply) => reply.type(registry.contentType).send(await registry.metrics()))
  app.addHook('onReady', async () => {
    app.log.info(`metrics at ${await listener.listen({ host, port })}/metrics`)
  })
  app.addHook('onClose', () => listener.close())

  app.decorate('metrics', { registry, listener })
}

export default fp(plugin, { name: 'latchkey-metrics', fastify: '5.x' })
