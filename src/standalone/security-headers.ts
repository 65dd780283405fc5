import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import helmet, { type HelmetOptions } from 'helmet'

/** What helmet sets with these options, which is the same for every answer. */
function headersOf (options: HelmetOptions): Record<string, string> {
  const response = new ServerResponse(new IncomingMessage(new Socket()))
  helmet(options)(response.req, response, () => {})
  return Object.fromEntries(Object.entries(response.getHeaders()).map(([name, value]) => [name, String(value)]))
}

const options = {
  // An API's answers are no pages: nothing may be loaded, framed or run. The docs page has its own.
  contentSecurityPolicy: { useDefaults: false, directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] } },
  // Whoever terminates TLS promises TLS: from here it would be a year's promise for hosts that are not ours.
  strictTransportSecurity: false
} satisfies HelmetOptions

/**
 * The headers of a page that a browser shows.
 *
 * @see https://github.com/helmetjs/helmet
 */
export const pageHeaders = headersOf(options)

/**
 * The headers of every other answer: those of a page without what only means something to a
 * page, its windows and its links, or to Flash and Internet Explorer.
 *
 * @see https://cheatsheetseries.owasp.org/cheatsheets/REST_Security_Cheat_Sheet.html#security-headers
 */
export const apiHeaders = headersOf({
  ...options,
  crossOriginOpenerPolicy: false,
  originAgentCluster: false,
  xDnsPrefetchControl: false,
  xDownloadOptions: false,
  xPermittedCrossDomainPolicies: false,
  xXssProtection: false
})

/** The headers of every answer; what shows pages sets those of pages. */
const plugin: FastifyPluginAsync = async (app) => {
  const headers = Object.entries(apiHeaders)
  app.addHook('onRequest', (request, reply, done) => {
    for (const [name, value] of headers) reply.header(name, value)
    done()
  })
}

export default fp(plugin, { name: 'latchkey-security-headers', fastify: '5.x' })
