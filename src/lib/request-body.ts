import type { FastifyReply, FastifyRequest } from 'fastify'
import { BodyUnexpected } from '../errors.js'

/** Methods for which Fastify reads no body. */
const bodylessMethods = new Set(['GET', 'HEAD', 'TRACE'])

/** Whether Fastify reads a body for at least one of these methods. */
export function canHaveBody (method: string | string[]): boolean {
  return [method].flat().some((name) => !bodylessMethods.has(name.toUpperCase()))
}

/**
 * Whether the body of a request is still to be read (RFC 9112, section 6.3). HTTP/2 does not
 * have to announce a body, so there the method decides (RFC 9113, section 8.1).
 */
export function awaitsBody ({ body, method, headers, raw }: FastifyRequest): boolean {
  if (body !== undefined) return false
  if (headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0) return true
  return raw.httpVersionMajor > 1 && !bodylessMethods.has(method)
}

/** Whether a route expects a body: whether it has a schema for one. */
export function asksForBody ({ schema }: { schema?: { body?: unknown } }): boolean {
  return schema?.body !== undefined
}

/**
 * An onRequest hook that rejects a body for a route that expects none: before it is read, when
 * the client sends `Content-Length`. It ignores the type of an empty body.
 */
export function rejectBody (request: FastifyRequest, reply: FastifyReply, done: (error?: Error) => void): void {
  const { headers } = request.raw
  delete headers['content-type']
  done(Number(headers['content-length'] ?? 0) > 0 ? new BodyUnexpected() : undefined)
}
