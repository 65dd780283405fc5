import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import swagger, { type StaticDocumentSpec } from '@fastify/swagger'
import Fastify, { type FastifyInstance, type FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { RouteNotFound } from '../errors.js'
import { pageHeaders } from './security-headers.js'

// What Swagger UI needs and no more: its own files, inline styles of its widgets, data:
// images of its icons. The server's own policy allows a page nothing at all.
const docsPolicy = {
  'default-src': "'none'",
  'base-uri': "'none'",
  'connect-src': "'self'",
  'font-src': "'self'",
  'form-action': "'none'",
  'frame-ancestors': "'none'",
  'img-src': ["'self'", 'data:'],
  'script-src': "'self'",
  'style-src': ["'self'", "'unsafe-inline'"]
}

/** The page, as an app of its own: it takes longer to load than all the rest, and few servers are ever asked for it. */
async function buildPage (app: FastifyInstance): Promise<FastifyInstance> {
  const { default: swaggerUi } = await import('@fastify/swagger-ui')
  const logo = readFileSync(join(import.meta.dirname, '../data/logo.svg'), 'utf8')
  const page = Fastify({ loggerInstance: app.log, logController: new Fastify.LogController({ disableRequestLogging: true }), return503OnClosing: false })
  page.setErrorHandler(app.errorHandler)
  page.setNotFoundHandler(() => { throw new RouteNotFound() })
  // The types know no static document of OpenAPI 3.1, which is served as it is all the same.
  const document = app.swagger() as StaticDocumentSpec['document']
  await page.register(swagger, { mode: 'static', specification: { document } })
  await page.register(swaggerUi, {
    routePrefix: '/docs',
    staticCSP: docsPolicy,
    logo: { type: 'image/svg+xml', content: logo },
    theme: {
      title: 'Latchkey · API',
      favicon: [{ filename: 'favicon.svg', rel: 'icon', type: 'image/svg+xml', sizes: 'any', content: logo }]
    },
    uiConfig: {
      persistAuthorization: true,
      tryItOutEnabled: true,
      displayRequestDuration: true,
      docExpansion: 'list',
      validatorUrl: null
    }
  })
  await page.ready()
  return page
}

/**
 * Swagger UI on `/docs`, loaded when somebody asks for it first.
 *
 * @see https://github.com/fastify/fastify-swagger-ui
 */
const plugin: FastifyPluginAsync = async (app) => {
  let built: FastifyInstance | undefined
  let building: Promise<FastifyInstance> | undefined

  async function page (): Promise<FastifyInstance> {
    try {
      building ??= buildPage(app)
      built = await building
      return built
    } catch (error) {
      // The next one who asks may find what was missing.
      building = undefined
      throw error
    }
  }

  for (const url of ['/docs', '/docs/*']) {
    app.get(url, { schema: { hide: true } }, async (request, reply) => {
      const { routing } = await page()
      for (const [name, value] of Object.entries({ ...reply.getHeaders(), ...pageHeaders })) reply.raw.setHeader(name, String(value))
      reply.hijack()
      routing(request.raw, reply.raw)
    })
  }
  app.addHook('preClose', async () => { await built?.close() })
}

export default fp(plugin, { name: 'latchkey-docs', fastify: '5.x', dependencies: ['latchkey-openapi'] })
