import type { FastifyRequest } from 'fastify'
import { BodyMalformed, BodyTooLarge, ValidationFailed } from '../../errors.js'
import { toExpectedError } from '../errors/expected-error.js'

/**
 * Whether a request was rejected for its body. Only JSON counts: a page of another origin can
 * send anything else from its visitors' addresses without a preflight
 * (https://fetch.spec.whatwg.org/#cors-safelisted-request-header), to lock them out.
 */
export function isMalformed (request: FastifyRequest, thrown: unknown): boolean {
  if (!/^application\/json\b/i.test(request.headers['content-type'] ?? '')) return false
  const error = toExpectedError(thrown, request)
  return [BodyMalformed, BodyTooLarge, ValidationFailed].some((Malformed) => error instanceof Malformed)
}
