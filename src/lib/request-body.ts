import type { FastifyReply, FastifyRequest } from 'fastify'
import { BodyUnexpected } from '../errors.js'

/** Methods whose requests Fastify serves without reading a body. */
const bodylessMethods = new Set(['GET', 'HEAD', 'TRACE'])

/** Whether requests with one of these methods can have a body that Fastify reads. */
export function canHaveBody (method: string | string[]): boolean {
  return [method].flat().some((name) => !bodylessMethods.has(name.toUpperCase()))
}

/**
 * Whether a request has a body that is yet to be read (RFC 9112, section 6.3). HTTP/2 need not
 * say so: there it can have one (RFC 9113, section 8.1).
 */
export function awaitsBody ({ body, method, headers, raw }: FastifyRequest): boolean {
  if (body !== undefined) return false
  if (headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0) return true
  return raw.httpVersionMajor > 1 && !bodylessMethods.has(method)
}

/** Whether a route asks for a body: those that do say which. */
export function asksForBody ({ schema }: { schema?: { body?: unknown } }): boolean {
  return schema?.body !== undefined
}

/**
 * Refuses a body where the route asks for none, before it is read where it says how long it
 * is. Which type an empty body has means nothing.
 */
export function refuseBody (request: FastifyRequest, reply: FastifyReply, done: (error?: Error) => void): void {
  const { headers } = request.raw
  delete headers['content-type']
  done(Number(headers['content-length'] ?? 0) > 0 ? new BodyUnexpected() : undefined)
}
