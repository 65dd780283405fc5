import Fastify, { type FastifyInstance } from 'fastify'
import { pino } from 'pino'
import type { Config } from './standalone/config.js'
import latchkey from './latchkey.js'
import type { SendMail } from './plugins/mail/mail.js'
import { recommendedParameters } from './plugins/passwords/argon2-hash.js'
import type { HashParameters } from './plugins/passwords/hash-format.js'
import { lazyCompilers } from './plugins/validation/lazy-compilers.js'
import { loggerOptions } from './standalone/log-serializers.js'
import { usernameMaxLength } from './plugins/users/username.js'
import cors from './standalone/cors.js'
import docs from './standalone/docs.js'
import { connectionCloser } from './standalone/close-connections.js'
import errors, { replyWithError } from './plugins/errors/index.js'
import { unroutedErrors } from './standalone/unrouted-errors.js'
import forwarded from './standalone/untrusted-proxy.js'
import hostHeader from './standalone/host-header.js'
import notFound from './standalone/not-found.js'
import openapi from './standalone/openapi.js'
import { requestIds } from './standalone/request-id.js'
import requestLog, { FailuresOnlyLogController } from './standalone/request-log.js'
import { RequestLogger } from './standalone/request-logger.js'
import securityHeaders from './standalone/security-headers.js'
import greeting from './standalone/routes/greeting.js'
import health from './standalone/routes/health.js'

/** What tests, tools and the server change. */
export interface BuildOptions {
  /** Where log lines go. Defaults to standard output. */
  logStream?: { write: (line: string) => void }
  /** The time in milliseconds since 1970. */
  now?: () => number
  /** What a password hash costs. */
  hashParameters?: HashParameters
  /** How long idle connections stay open once the server is closing, in milliseconds; 0 by default. */
  idleGraceMs?: number
  /** Sends mails, instead of a mail server. */
  sendMail?: SendMail
}

/** The longest parameter in a path, in characters as they are sent: a username whose every character is escaped fits. */
const paramMaxLength = 3 * usernameMaxLength

/** How long a client may take to send its headers, and its whole request, in milliseconds. */
const headersTimeoutMs = 5_000
const requestTimeoutMs = 10_000
/** How often Node closes connections that exceed these, in milliseconds. */
const connectionsCheckingIntervalMs = 1_000

/**
 * How long a plugin may take to load, in milliseconds: longer than the wait for another server
 * that migrates the database, whose error is one sentence, not a stack.
 */
const pluginTimeoutMs = 90_000

/** A Fastify server as Latchkey runs it, not yet listening: limits, contract, routes. */
export async function buildApp (config: Config, options: BuildOptions = {}): Promise<FastifyInstance> {
  const { logStream, now = Date.now, hashParameters = recommendedParameters, sendMail, idleGraceMs = 0 } = options
  const log = pino({ ...loggerOptions, level: config.logLevel }, logStream)
  const { frameworkErrors, clientErrorHandler, checkExpectation } = unroutedErrors(config.corsOrigin)
  const connections = connectionCloser()
  const app = Fastify({
    // Fastify's own logger adds a listener to every response, even if it logs nothing. The
    // request-log plugin logs requests instead.
    childLoggerFactory: (none, bindings, options) => new RequestLogger(log, bindings, options),
    logController: new FailuresOnlyLogController(),
    schemaController: { compilersFactory: lazyCompilers },
    // With an empty list, Fastify would parse the headers of proxies to find the address of the socket.
    trustProxy: config.trustProxy.length > 0 && config.trustProxy,
    genReqId: requestIds(),
    routerOptions: { maxParamLength: paramMaxLength },
    pluginTimeout: pluginTimeoutMs,
    requestTimeout: requestTimeoutMs,
    keepAliveTimeout: config.keepAliveTimeoutMs,
    // Without a Host Node would answer itself, with no body.
    http: { ServerResponse: connections.ServerResponse, headersTimeout: headersTimeoutMs, connectionsCheckingInterval: connectionsCheckingIntervalMs, requireHostHeader: false },
    // During shutdown, requests on open connections are still answered; then the connection is closed.
    return503OnClosing: false,
    frameworkErrors,
    clientErrorHandler
  })

  app.log = log
  app.setErrorHandler(replyWithError)
  app.server.on('checkExpectation', checkExpectation)
  connections.watch(app, idleGraceMs)
  if (log.isLevelEnabled('info')) await app.register(requestLog)
  if (config.trustProxy.length === 0) await app.register(forwarded)
  await app.register(securityHeaders)
  await app.register(hostHeader)
  if (config.corsOrigin.length > 0) await app.register(cors, { origin: config.corsOrigin })
  await app.register(notFound)
  await app.register(openapi)
  await app.register(docs)
  if (config.metricsPort !== undefined) {
    const { default: metrics } = await import('./standalone/metrics.js')
    await app.register(metrics, { host: config.metricsHost, port: config.metricsPort })
  }
  await app.register(latchkey, {
    ...config,
    prefix: '/api/v1',
    securityScheme: 'bearerAuth',
    databaseKeepsBallast: true,
    now,
    hashParameters,
    sendMail
  })
  await app.register(async (scope) => {
    await scope.register(errors)
    await scope.register(greeting)
    await scope.register(health)
  })
  return app
}
