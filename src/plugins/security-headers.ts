import helmet from '@fastify/helmet'
import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'

/**
 * The headers of every answer.
 *
 * @see https://github.com/fastify/fastify-helmet
 * @see https://cheatsheetseries.owasp.org/cheatsheets/REST_Security_Cheat_Sheet.html#security-headers
 */
const plugin: FastifyPluginAsync = async (app) => {
  await app.register(helmet, {
    // An API's answers are no pages: nothing may be loaded, framed or run. The docs page has its own.
    contentSecurityPolicy: { useDefaults: false, directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] } },
    // Whoever terminates TLS promises TLS: from here it would be a year's promise for hosts that are not ours.
    strictTransportSecurity: false
  })
}

export default fp(plugin, { name: 'latchkey-security-headers', fastify: '5.x' })
