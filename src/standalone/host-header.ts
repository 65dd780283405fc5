import type { IncomingMessage } from 'node:http'
import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { RequestMalformed } from '../errors.js'

// RFC 3986, section 3.2.2, and a port; the comma, which a registered name can have, would
// make one host of two.
const authority = /^[\w.~!$&'()*+;=%:[\]-]*$/

/** Whether a request names its host as HTTP asks: HTTP/1.1 once, HTTP/1.0 at most once, in either nothing that is no host. */
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

/** Whether a request is one of HTTP/1.0 or 1.1 that says for whom it is (RFC 9112, sections 2.3 and 3.2). */
export function isUnambiguous ({ httpVersion, httpVersionMajor, rawHeaders }: IncomingMessage): boolean {
  return httpVersionMajor === 1 && namesOneHost(httpVersion, rawHeaders)
}

/**
 * Refuses what Node lets pass, or refuses without a body: requests of another version than
 * HTTP/1.0 and 1.1, without a Host, with two, or with one that is none.
 *
 * @see RFC 9112, sections 2.3 and 3.2
 */
const plugin: FastifyPluginAsync = async (app) => {
  app.addHook('onRequest', (request, reply, done) => {
    if (isUnambiguous(request.raw)) return done()
    // What follows on this connection may be meant for another.
    reply.header('connection', 'close')
    done(new RequestMalformed())
  })
}

export default fp(plugin, { name: 'latchkey-host-header', fastify: '5.x' })
