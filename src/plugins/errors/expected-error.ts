import type { FastifyRequest } from 'fastify'
import { toHttpError } from '../../database/errors.js'
import { BodyMalformed, BodyTooLarge, BodyUnexpected, MediaTypeUnsupported, RequestMalformed, RouteNotFound } from '../../errors.js'
import { errorMembers } from '../../lib/error-code.js'
import { asksForBody } from '../../lib/request-body.js'
import type { ExpectedError } from './responses.js'
import { statusText } from './status-text.js'

/** Our errors for Fastify's own: its codes and messages change with its versions. */
const frameworkErrors: Record<string, new () => ExpectedError> = {
  FST_ERR_CTP_EMPTY_JSON_BODY: BodyMalformed,
  FST_ERR_CTP_INVALID_JSON_BODY: BodyMalformed,
  FST_ERR_CTP_BODY_TOO_LARGE: BodyTooLarge,
  FST_ERR_CTP_INVALID_MEDIA_TYPE: MediaTypeUnsupported,
  // A path that cannot be decoded, or is longer than any of ours, names nothing.
  FST_ERR_BAD_URL: RouteNotFound,
  FST_ERR_MAX_PARAM_LENGTH: RouteNotFound
}

/** Fastify's own errors; those of its plugins begin with `FST_` alone, such as `FST_UNDER_PRESSURE`. */
const isFrameworkCode = (code: unknown) => typeof code === 'string' && code.startsWith('FST_ERR_')

const isErrorStatus = (statusCode: unknown): statusCode is number => Number.isInteger(statusCode) && Number(statusCode) >= 400 && Number(statusCode) < 600

function isExpectedError (thrown: unknown): thrown is ExpectedError {
  const { code, statusCode } = errorMembers(thrown)
  return thrown instanceof Error && typeof code === 'string' && isErrorStatus(statusCode) && !isFrameworkCode(code)
}

/** A status as a code: `TOO_MANY_REQUESTS`. */
function codeOfStatus (statusCode: number): string {
  return statusText(statusCode).replaceAll("'", '').replaceAll(/\W+/g, '_').toUpperCase()
}

/**
 * The expected error for whatever was thrown, by us, by Fastify or by the host. An error with
 * a status keeps it, and its code; without a code it gets one that is made from its status. The
 * message of such an error is shown only if the error says that clients may read it.
 */
export function toExpectedError (thrown: unknown, request: FastifyRequest): ExpectedError {
  if (isExpectedError(thrown)) return thrown
  const { code, statusCode, message, headers, expose } = errorMembers(thrown)
  if (isFrameworkCode(code)) {
    const FrameworkError = frameworkErrors[String(code)]
    // A route without a body schema takes no body, of whatever size.
    if (FrameworkError === BodyTooLarge && request.routeOptions.schema !== undefined && !asksForBody(request.routeOptions)) return new BodyUnexpected()
    if (FrameworkError !== undefined) return new FrameworkError()
    return Number(statusCode) < 500 ? new RequestMalformed() : toHttpError(thrown)
  }
  if (!isErrorStatus(statusCode)) return toHttpError(thrown)
  const isPublic = typeof message === 'string' && (typeof code === 'string' || expose === true)
  return Object.assign(new Error(isPublic ? message : statusText(statusCode), { cause: thrown }), {
    code: typeof code === 'string' ? code : codeOfStatus(statusCode),
    statusCode,
    // Fastify sends these by convention.
    ...(typeof headers === 'object' && headers !== null ? { headers: headers as Record<string, string> } : {})
  })
}
