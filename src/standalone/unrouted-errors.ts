import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { ConnectionError, FastifyReply, FastifyRequest } from 'fastify'
import { ExpectationFailed, HeadersTooLarge, RequestMalformed, RequestTimeout } from '../errors.js'
import { replyWithError } from '../plugins/errors/index.js'
import { errorBody } from '../plugins/errors/responses.js'
import { corsHeaders, originInPacket } from './cors.js'
import { isUnambiguous } from './host-header.js'
import { apiHeaders } from './security-headers.js'

/** Fastify's `frameworkErrors`: answers requests that it cannot route, such as those with a malformed URL. */
function frameworkErrors (allowed: string[], thrown: unknown, request: FastifyRequest, reply: FastifyReply): void {
  const headers = { ...apiHeaders, ...corsHeaders(allowed, request.headers.origin) }
  if (isUnambiguous(request.raw)) replyWithError(thrown, request, reply.headers(headers))
  else replyWithError(new RequestMalformed(), request, reply.headers({ ...headers, connection: 'close' }))
  // Fastify runs no hooks for them: neither those that set headers nor the one that logs requests.
  request.log.info({ req: request, res: reply }, 'request completed')
}

/** Node's `checkExpectation`: answers an `Expect` header other than 100-continue, which reaches no route. */
function checkExpectation (allowed: string[], request: IncomingMessage, response: ServerResponse): void {
  const error = new ExpectationFailed()
  const body = JSON.stringify(errorBody(error))
  response
    .writeHead(error.statusCode, { ...apiHeaders, ...corsHeaders(allowed, request.headers.origin), connection: 'close', 'content-type': 'application/json; charset=utf-8', 'content-length': Buffer.byteLength(body) })
    .end(body)
}

/**
 * Fastify's `clientErrorHandler`: answers bytes that are not an HTTP request, and requests that
 * arrive too slowly. Node has parsed no request that a route could answer.
 */
function clientErrors (allowed: string[], thrown: ConnectionError, socket: Socket): void {
  // The types lack this member: the response that Node is about to send on this connection.
  const { _httpMessage: pending } = socket as Socket & { _httpMessage?: ServerResponse | null }
  // The client is gone, or it would take this answer for the one to an earlier request.
  if (thrown.code === 'ECONNRESET' || !socket.writable || pending?.headersSent === true || pending?.req.complete === true) {
    socket.destroy()
    return
  }
  const error = thrown.code === 'ERR_HTTP_REQUEST_TIMEOUT'
    ? new RequestTimeout()
    : thrown.code === 'HPE_HEADER_OVERFLOW' ? new HeadersTooLarge() : new RequestMalformed()
  const body = JSON.stringify(errorBody(error))
  // The types have another form of this member: Node gives the bytes, or nothing after a timeout.
  const packet = thrown.rawPacket as unknown as Buffer | undefined
  const headers = { ...apiHeaders, ...corsHeaders(allowed, originInPacket(packet)) }
  socket.end([
    `HTTP/1.1 ${error.statusCode} ${STATUS_CODES[error.statusCode]}`,
    'connection: close',
    'content-type: application/json; charset=utf-8',
    `content-length: ${Buffer.byteLength(body)}`,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    '',
    body
  ].join('\r\n'))
  socket.destroySoon()
}

/**
 * The answers to what reaches no route.
 *
 * @param allowedOrigins the origins whose pages may read them
 */
export function unroutedErrors (allowedOrigins: string[]) {
  return {
    frameworkErrors: frameworkErrors.bind(null, allowedOrigins),
    clientErrorHandler: clientErrors.bind(null, allowedOrigins),
    checkExpectation: checkExpectation.bind(null, allowedOrigins)
  }
}
