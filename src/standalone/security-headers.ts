import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import helmet, { type HelmetOptions } from 'helmet'

/** The headers that helmet sets with these options: they are the same for every response. */
function headersOf (options: HelmetOptions): Record<string, string> {
  const response = new ServerResponse(new IncomingMessage(new Socket()))
  helmet(options)(response.req, response, () => {})
  return Object.fromEntries(Object.entries(response.getHeaders()).map(([name, value]) => [name, String(value)]))
}

const options = {
  // API responses are not pages: a browser must load, frame and run nothing. The docs have a policy of their own.
  contentSecurityPolicy: { useDefaults: false, directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] } },
  // The proxy that terminates TLS must set this one: it lasts for a year, and this server does not know its host names.
  strictTransportSecurity: false
} satisfies HelmetOptions

/**
 * The headers of HTML pages.
 *
 * @see https://github.com/helmetjs/helmet
 */
export const pageHeaders = headersOf(options)

/**
 * The headers of all other responses: those of them that mean something for JSON and plain text.
 *
 * @see https://cheatsheetseries.owasp.org/cheatsheets/REST_Security_Cheat_Sheet.html#security-headers
 */
export const apiHeaders = headersOf({
  ...options,
  crossOriginOpenerPolicy: false,
  crossOriginResourcePolicy: false,
  originAgentCluster: false,
  referrerPolicy: false,
  xDnsPrefetchControl: false,
  xDownloadOptions: false,
  xFrameOptions: false,
  xPermittedCrossDomainPolicies: false,
  xXssProtection: false
})

/** Sets the headers of API responses. A route that serves pages sets `pageHeaders` itself. */
const plugin: FastifyPluginAsync = async (app) => {
  app.addHook('onRequest', (request, reply, done) => {
    reply.headers(apiHeaders)
    done()
  })
}

export default fp(plugin, { name: 'latchkey-security-headers', fastify: '5.x' })
