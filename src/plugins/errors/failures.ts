import type { FastifyRequest } from 'fastify'
import type { ExpectedError } from './responses.js'
import { BodyMalformed, BodyTooLarge, ValidationFailed } from '../../errors.js'

const failures = new WeakMap<FastifyRequest, ExpectedError>()

/** Notes what a request is refused with, for whoever counts. */
export function noteFailure (request: FastifyRequest, error: ExpectedError): void {
  failures.set(request, error)
}

/** What a request was refused with; undefined when it was not. */
export function failureOf (request: FastifyRequest): ExpectedError | undefined {
  return failures.get(request)
}

/**
 * Whether a request was refused for what its body is. Only JSON counts: a page of another
 * origin can send anything else from its visitors' addresses without asking first
 * (https://fetch.spec.whatwg.org/#cors-safelisted-request-header), to lock them out.
 */
export function isMalformed (request: FastifyRequest): boolean {
  if (!/^application\/json\b/i.test(request.headers['content-type'] ?? '')) return false
  const failure = failureOf(request)
  return [BodyMalformed, BodyTooLarge, ValidationFailed].some((Malformed) => failure instanceof Malformed)
}
