import cors from '@fastify/cors'
import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'

/** Headers that pages may read in addition to the safelisted ones. */
const exposedHeaders = ['retry-after', 'www-authenticate']

/** For how long browsers remember a preflight, in seconds: Chromium's limit is two hours, and a removed origin should not wait for it. */
const preflightMaxAgeSeconds = 600

/**
 * The CORS headers of a response that no hook has seen. Credentials are never allowed.
 *
 * @param allowed the origins whose pages may read responses; without any there are no headers
 * @param origin the request's `Origin`
 */
export function corsHeaders (allowed: string[], origin: string | undefined): Record<string, string> {
  if (allowed.length === 0) return {}
  if (origin === undefined || !allowed.includes(origin)) return { vary: 'Origin' }
  return { vary: 'Origin', 'access-control-allow-origin': origin, 'access-control-expose-headers': exposedHeaders.join(', ') }
}

/** The `Origin` in the bytes of a request that Node could not parse; undefined if they do not have one. */
export function originInPacket (packet: Buffer | undefined): string | undefined {
  const [head = ''] = (packet?.toString('latin1') ?? '').split('\r\n\r\n', 1)
  return /^origin:[ \t]*(\S+)[ \t]*$/im.exec(head)?.[1]
}

/** Lets the pages of the listed origins call the API. */
const plugin: FastifyPluginAsync<{ origin: string[] }> = async (app, { origin }) => {
  await app.register(cors, { origin, methods: ['GET', 'HEAD', 'POST', 'PUT', 'DELETE'], exposedHeaders, maxAge: preflightMaxAgeSeconds, strictPreflight: false })
}

export default fp(plugin, { name: 'latchkey-cors', fastify: '5.x' })
