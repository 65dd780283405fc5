import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest, FastifySchema, RouteOptions } from 'fastify'
import fp from 'fastify-plugin'
import { errorMembers } from '../../lib/error-code.js'
import { unwrapDatabaseError } from '../../lib/unwrap-error.js'
import { toExpectedError } from './expected-error.js'
import { type ErrorClass, ErrorBody, errorBody, errorResponses, ValidationErrorBody } from './responses.js'
import { BodyMalformed, BodyTooLarge, BodyUnexpected, InternalServerError, MediaTypeUnsupported, Overloaded, ServiceUnavailable, ValidationFailed } from '../../errors.js'
import { canHaveBody } from '../../lib/request-body.js'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The errors that this route's handler and hooks can throw, for the API documentation. */
    errors?: ErrorClass[]
  }
}

/** Answers an error: Fastify's error handler. */
export function replyWithError (thrown: unknown, request: FastifyRequest, reply: FastifyReply): void {
  const error = toExpectedError(thrown, request)
  const cause = unwrapDatabaseError(error.cause ?? thrown)
  // Only faults are logged as errors; a client's mistake is in the log line of the response.
  if (error instanceof ServiceUnavailable) {
    // A known, temporary state, of very many requests at the same time: logged without the stack.
    const { code, message } = errorMembers(cause)
    request.log.error({ reason: { code, message } }, 'the database is unavailable')
  } else if (error.statusCode >= 500 && !(error instanceof Overloaded)) {
    request.log.error({ err: cause }, 'the request failed')
  }
  // RFC 9110, section 15.5.2: a 401 always carries a challenge.
  if (error.statusCode === 401 && !reply.hasHeader('www-authenticate')) reply.header('www-authenticate', 'Bearer')
  reply
    .code(error.statusCode)
    .headers(error.headers ?? {})
    .type('application/json; charset=utf-8')
    .send(errorBody(error))
}

/** The name of the first required field of a body, for the example of a failed validation. */
function firstRequired (app: FastifyInstance, body: unknown): string | undefined {
  // Both are JSON schemas: a reference to a named one, and that one.
  const { $ref = '' } = (body ?? {}) as { $ref?: string }
  const { required = [] } = (app.getSchema($ref.replace('#', '')) ?? {}) as { required?: string[] }
  return required[0]
}

/** Shapes every error body, and documents the errors of each route. */
const plugin: FastifyPluginAsync = async (app) => {
  app.addSchema(ErrorBody)
  app.addSchema(ValidationErrorBody)
  app.setErrorHandler(replyWithError)

  function document (route: RouteOptions, { body, querystring, response }: FastifySchema, firstField?: string): void {
    const errors = [...route.config?.errors ?? []]
    if (body !== undefined) errors.push(BodyMalformed, BodyTooLarge, MediaTypeUnsupported)
    else if (canHaveBody(route.method)) errors.push(BodyUnexpected)
    if (body !== undefined || querystring !== undefined) errors.push(ValidationFailed)
    // A route whose only error is ServiceUnavailable answers every fault with it.
    if (errors.some((error) => error !== ServiceUnavailable)) errors.push(InternalServerError)
    route.schema = { ...route.schema, response: { ...errorResponses(errors, { firstField }), ...(response as object | undefined) } }
  }

  const routes: Array<{ route: RouteOptions, errors?: ErrorClass[], redo: () => void }> = []
  app.addHook('onRoute', function (route) {
    const { schema, config: { errors } = {} } = route
    if (schema === undefined || schema.hide === true) return
    const redo = () => document(route, schema, firstRequired(this, schema.body))
    redo()
    routes.push({ route, errors, redo })
  })
  // Guards of a scope add their errors when all routes are known.
  app.addHook('onReady', async () => {
    for (const { route, errors, redo } of routes) if (route.config?.errors !== errors) redo()
  })
}

export default fp(plugin, { name: 'latchkey-errors', fastify: '5.x' })
