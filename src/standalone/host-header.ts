import type { IncomingMessage } from 'node:http'
import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { RequestMalformed } from '../errors.js'

// RFC 3986, section 3.2.2, with a port. Without the comma, which a registered name may
// contain: with it, one value could name two hosts.
const authority = /^[\w.~!$&'()*+;=%:[\]-]*$/

/** Whether a request has exactly one valid Host header; HTTP/1.0 may omit it. */
function namesOneHost (httpVersion: string, rawHeaders: string[]): boolean {
  let host: string | undefined
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]
    if (name?.length !== 4 || name.toLowerCase() !== 'host') continue
    if (host !== undefined) return false
    host = rawHeaders[i + 1]
  }
  return host === undefined ? httpVersion === '1.0' : authority.test(host)
}

/** Whether a request is HTTP/1.0 or 1.1 and names its host (RFC 9112, sections 2.3 and 3.2). */
export function isUnambiguous ({ httpVersion, httpVersionMajor, rawHeaders }: IncomingMessage): boolean {
  return httpVersionMajor === 1 && namesOneHost(httpVersion, rawHeaders)
}

/**
 * Rejects requests that Node accepts, or rejects without a body: an HTTP version other than 1.0
 * and 1.1, and a Host header that is missing, repeated or invalid.
 *
 * @see RFC 9112, sections 2.3 and 3.2
 */
const plugin: FastifyPluginAsync = async (app) => {
  app.addHook('onRequest', (request, reply, done) => {
    if (isUnambiguous(request.raw)) return done()
    // The next request on this connection may belong to another host.
    reply.header('connection', 'close')
    done(new RequestMalformed())
  })
}

export default fp(plugin, { name: 'latchkey-host-header', fastify: '5.x' })
