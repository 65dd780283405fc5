import type { FastifyRequest } from 'fastify'
import type { ExpectedError } from './error-responses.js'

const failures = new WeakMap<FastifyRequest, ExpectedError>()

/** Notes what a request is refused with, for whoever counts. */
export function noteFailure (request: FastifyRequest, error: ExpectedError): void {
  failures.set(request, error)
}

/** What a request was refused with; undefined when it was not. */
export function failureOf (request: FastifyRequest): ExpectedError | undefined {
  return failures.get(request)
}
