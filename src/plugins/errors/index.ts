import type { FastifyError, FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { toHttpError } from '../../database/errors.js'
import { unwrapDatabaseError } from '../../lib/unwrap-error.js'
import { type ErrorClass, type ExpectedError, ErrorBody, errorBody, errorResponses, ValidationErrorBody } from './responses.js'
import { noteFailure } from './failures.js'
import { BodyMalformed, BodyTooLarge, BodyUnexpected, InternalServerError, MediaTypeUnsupported, Overloaded, RequestMalformed, RouteNotFound, ServiceUnavailable, ValidationFailed } from '../../errors.js'
import { asksForBody, canHaveBody } from '../../lib/request-body.js'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** What this route's handler and hooks can throw: it becomes documentation. */
    errors?: ErrorClass[]
  }
}

/** What Fastify itself refuses a request with, in our words: its own codes and texts follow its versions. */
const frameworkErrors: Record<string, new () => ExpectedError> = {
  FST_ERR_CTP_EMPTY_JSON_BODY: BodyMalformed,
  FST_ERR_CTP_INVALID_JSON_BODY: BodyMalformed,
  FST_ERR_CTP_BODY_TOO_LARGE: BodyTooLarge,
  FST_ERR_CTP_INVALID_MEDIA_TYPE: MediaTypeUnsupported,
  // A path that cannot be decoded, or is longer than any of ours, names nothing.
  FST_ERR_BAD_URL: RouteNotFound,
  FST_ERR_MAX_PARAM_LENGTH: RouteNotFound
}

function isHttpError (error: unknown): error is ExpectedError {
  const { code, statusCode }: { code?: unknown, statusCode?: unknown } = Object(error)
  return typeof code === 'string' && typeof statusCode === 'number' && !code.startsWith('FST_')
}

/** The expected failure that a thrown thing amounts to. */
function expectedError (thrown: unknown, request: FastifyRequest): ExpectedError {
  if (isHttpError(thrown)) return thrown
  const { code, statusCode }: Partial<FastifyError> = Object(thrown)
  const FrameworkError = frameworkErrors[String(code)]
  // A body that nobody asked for is one too many, however large it is.
  if (FrameworkError === BodyTooLarge && request.routeOptions.schema !== undefined && !asksForBody(request.routeOptions)) return new BodyUnexpected()
  if (FrameworkError !== undefined) return new FrameworkError()
  return Number(statusCode) < 500 ? new RequestMalformed() : toHttpError(thrown)
}

/** Answers a failure: Fastify's error handler. */
export function replyWithError (thrown: unknown, request: FastifyRequest, reply: FastifyReply): void {
  const error: ExpectedError = expectedError(thrown, request)
  noteFailure(request, error)
  // Only faults are news; what a client did wrong is in the line of the answer.
  if (error instanceof ServiceUnavailable) {
    // Known and passing, and there can be very many of them: without the stack.
    const { code, message } = Object(unwrapDatabaseError(error.cause))
    request.log.error({ reason: { code, message } }, 'the database cannot serve now')
  } else if (error.statusCode >= 500 && !(error instanceof Overloaded)) {
    request.log.error({ err: unwrapDatabaseError(error.cause) }, 'the request failed')
  }
  // RFC 9110, section 15.5.2: a 401 always carries a challenge.
  if (error.statusCode === 401) reply.header('www-authenticate', 'Bearer')
  reply
    .code(error.statusCode)
    .headers(error.headers ?? {})
    .type('application/json; charset=utf-8')
    .send(errorBody(error))
}

/** The first field that a body must have, for the example of a failed validation. */
function firstRequired (app: FastifyInstance, body: unknown): string | undefined {
  const { $ref = '' }: { $ref?: string } = Object(body)
  const { required = [] }: { required?: string[] } = Object(app.getSchema($ref.replace('#', '')))
  return required[0]
}

/** The one place that shapes an error body, and that writes into the contract which errors a route can answer. */
const plugin: FastifyPluginAsync = async (app) => {
  app.addSchema(ErrorBody)
  app.addSchema(ValidationErrorBody)
  app.setErrorHandler(replyWithError)

  app.addHook('onRoute', function (route) {
    if (route.schema === undefined || route.schema.hide === true) return
    const { body, querystring, response } = route.schema
    const errors = [...route.config?.errors ?? []]
    if (body !== undefined) errors.push(BodyMalformed, BodyTooLarge, MediaTypeUnsupported)
    else if (canHaveBody(route.method)) errors.push(BodyUnexpected)
    if (body !== undefined || querystring !== undefined) errors.push(ValidationFailed)
    // A route that takes every fault for "not now" has no other.
    if (errors.some((error) => error !== ServiceUnavailable)) errors.push(InternalServerError)
    route.schema = { ...route.schema, response: { ...errorResponses(errors, firstRequired(this, body)), ...Object(response) } }
  })
}

export default fp(plugin, { name: 'latchkey-errors', fastify: '5.x' })
