import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'

/** What proxies say of the client they speak for (RFC 7239, and the usage before it). */
const names = ['x-forwarded-for', 'x-real-ip', 'forwarded']

/** Says once that such headers mean nothing here: behind a proxy that is not named, all clients have its address. */
const plugin: FastifyPluginAsync = async (app) => {
  let isSaid = false
  app.addHook('onRequest', (request, reply, done) => {
    if (!isSaid && names.some((name) => request.headers[name] !== undefined)) {
      isSaid = true
      request.log.warn({ address: request.ip }, 'a request says whom it was forwarded for, which is not believed: if a proxy of yours has this address, name it in TRUST_PROXY')
    }
    done()
  })
}

export default fp(plugin, { name: 'latchkey-untrusted-proxy', fastify: '5.x' })
