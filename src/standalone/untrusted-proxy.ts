import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'

/** Headers in which a proxy names its client (RFC 7239, and the older ones). */
const headerNames = ['x-forwarded-for', 'x-real-ip', 'forwarded']

/** Warns once about ignored proxy headers: behind a proxy that TRUST_PROXY does not list, all clients share its address. */
const plugin: FastifyPluginAsync = async (app) => {
  let hasWarned = false
  app.addHook('onRequest', (request, reply, done) => {
    if (!hasWarned && headerNames.some((name) => request.headers[name] !== undefined)) {
      hasWarned = true
      request.log.warn({ address: request.ip }, 'ignored the client address in a proxy header: if your proxy has this address, name it in TRUST_PROXY')
    }
    done()
  })
}

export default fp(plugin, { name: 'latchkey-untrusted-proxy', fastify: '5.x' })
