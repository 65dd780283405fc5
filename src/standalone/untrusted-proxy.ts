import type { FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { publicRoute } from '../plugins/authenticate/public-route.js'

/** Headers in which a proxy names its client (RFC 7239, and the older ones). */
const headerNames = ['x-forwarded-for', 'x-real-ip', 'forwarded']

/**
 * Warns once about ignored proxy headers: behind a proxy that TRUST_PROXY does not list, all
 * clients share its address. It looks at signups and logins only, which are limited by address.
 * Register it before the routes.
 */
const plugin: FastifyPluginAsync = async (app) => {
  let hasWarned = false

  function warnOnce (request: FastifyRequest, reply: FastifyReply, done: () => void): void {
    if (!hasWarned && headerNames.some((name) => request.headers[name] !== undefined)) {
      hasWarned = true
      request.log.warn({ address: request.ip }, 'ignored the client address in a proxy header: if your proxy has this address, name it in TRUST_PROXY')
    }
    done()
  }

  app.addHook('onRoute', (route) => {
    if (route.config?.[publicRoute] === true) route.onRequest = [warnOnce, route.onRequest ?? []].flat()
  })
}

export default fp(plugin, { name: 'latchkey-untrusted-proxy', fastify: '5.x' })
