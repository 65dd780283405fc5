import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { ConnectionError, FastifyReply, FastifyRequest } from 'fastify'
import { ExpectationFailed, HeadersTooLarge, RequestMalformed, RequestTimeout } from '../errors.js'
import { replyWithError } from '../plugins/errors/index.js'
import { errorBody } from '../plugins/errors/responses.js'
import { isUnambiguous } from './host-header.js'

// Nothing that sets headers has run for requests that reach no route; these matter even there.
const bareHeaders = {
  'content-security-policy': "default-src 'none';frame-ancestors 'none'",
  'x-content-type-options': 'nosniff'
}

/** Answers requests that Fastify cannot route, such as a malformed URL: its `frameworkErrors`. */
export function frameworkErrorHandler (thrown: unknown, request: FastifyRequest, reply: FastifyReply): void {
  if (isUnambiguous(request.raw)) replyWithError(thrown, request, reply.headers(bareHeaders))
  else replyWithError(new RequestMalformed(), request, reply.headers({ ...bareHeaders, connection: 'close' }))
  // It has no hooks.
  request.log.info({ req: request, res: reply }, 'request completed')
}

/** Answers an expectation other than 100-continue, of which Node would tell no route: its `checkExpectation`. */
export function expectationHandler (request: IncomingMessage, response: ServerResponse): void {
  const error = new ExpectationFailed()
  const body = JSON.stringify(errorBody(error))
  response
    .writeHead(error.statusCode, { ...bareHeaders, connection: 'close', 'content-type': 'application/json; charset=utf-8', 'content-length': Buffer.byteLength(body) })
    .end(body)
}

/**
 * Answers what is no HTTP request at all, or one that took too long; Node has parsed
 * nothing that a route could answer. Fastify's `clientErrorHandler`.
 */
export function clientErrorHandler (thrown: ConnectionError, socket: Socket): void {
  // Node keeps the response that is due on a connection in this member, which its types do not have.
  const { _httpMessage: pending } = socket as Socket & { _httpMessage?: ServerResponse | null }
  // Nobody is there any more, or an answer to an earlier request is due: this one would be taken for it.
  if (thrown.code === 'ECONNRESET' || !socket.writable || pending?.headersSent === true || pending?.req.complete === true) {
    socket.destroy()
    return
  }
  const error = thrown.code === 'ERR_HTTP_REQUEST_TIMEOUT'
    ? new RequestTimeout()
    : thrown.code === 'HPE_HEADER_OVERFLOW' ? new HeadersTooLarge() : new RequestMalformed()
  const body = JSON.stringify(errorBody(error))
  socket.end([
    `HTTP/1.1 ${error.statusCode} ${STATUS_CODES[error.statusCode]}`,
    'connection: close',
    'content-type: application/json; charset=utf-8',
    `content-length: ${Buffer.byteLength(body)}`,
    ...Object.entries(bareHeaders).map(([name, value]) => `${name}: ${value}`),
    '',
    body
  ].join('\r\n'))
  socket.destroySoon()
}
