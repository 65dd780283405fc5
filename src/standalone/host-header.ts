import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { RequestMalformed } from '../errors.js'
import { isUnambiguous } from './host-header-value.js'

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
