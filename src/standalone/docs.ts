import { readFileSync } from 'node:fs'
import swagger, { type StaticDocumentSpec } from '@fastify/swagger'
import Fastify, { type FastifyInstance, type FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { RouteNotFound } from '../errors.js'
import { errorCode } from '../lib/error-code.js'
import { pageScript } from './docs-page.js'
import { pageHeaders } from './security-headers.js'

// Only what Swagger UI needs: its own files, inline styles for its widgets, data: images for its
// icons. The policy of the other routes allows nothing.
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

/** Builds Swagger UI as a separate app: it takes longer to load than everything else, and most servers never need it. */
async function buildDocsApp (app: FastifyInstance): Promise<FastifyInstance> {
  const { default: swaggerUi } = await import('@fastify/swagger-ui')
  const logo = readFileSync(new URL('../data/logo.svg', import.meta.url), 'utf8')
  const page = Fastify({ loggerInstance: app.log, logController: new Fastify.LogController({ disableRequestLogging: true }), return503OnClosing: false })
  page.setErrorHandler((error, request, reply) => {
    // A path that @fastify/static refuses names no file of the page.
    const isForbiddenPath = errorCode(error)?.startsWith('FST_STATIC_') === true
    return app.errorHandler(isForbiddenPath ? new RouteNotFound() : error, request, reply)
  })
  page.setNotFoundHandler(() => { throw new RouteNotFound() })
  // The types allow only OpenAPI 2 and 3.0, but a static document is served unchanged.
  // Its server is relative to /docs/json, where the page finds it: below the path of a proxy as well.
  const document = { ...app.swagger(), servers: [{ url: '../', description: 'This server.' }] } as StaticDocumentSpec['document']
  await page.register(swagger, { mode: 'static', specification: { document } })
  await page.register(swaggerUi, {
    routePrefix: '/docs',
    staticCSP: docsPolicy,
    theme: {
      title: 'Latchkey · API',
      js: [{ filename: 'page.js', content: pageScript }],
      favicon: [{ filename: 'favicon.svg', rel: 'icon', type: 'image/svg+xml', sizes: 'any', content: logo }]
    },
    uiConfig: {
      // Without the bar for the URL of another document.
      layout: 'BaseLayout',
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
 * Serves Swagger UI at `/docs/`, loaded on the first request. Its links are relative: it works
 * below the path of a proxy.
 *
 * @see https://github.com/fastify/fastify-swagger-ui
 */
const plugin: FastifyPluginAsync = async (app) => {
  let built: FastifyInstance | undefined
  let building: Promise<FastifyInstance> | undefined

  async function page (): Promise<FastifyInstance> {
    try {
      building ??= buildDocsApp(app)
      built = await building
      return built
    } catch (error) {
      // The next request tries again.
      building = undefined
      throw error
    }
  }

  for (const [url, location] of [['/docs', 'docs/'], ['/docs/static/index.html', '../']] as const) {
    app.get(url, { schema: { hide: true } }, async (request, reply) => reply.redirect(location))
  }
  app.get('/docs/*', { schema: { hide: true } }, async (request, reply) => {
    const { routing } = await page()
    for (const [name, value] of Object.entries({ ...reply.getHeaders(), ...pageHeaders })) reply.raw.setHeader(name, String(value))
    // With a query, the links of the page would be absolute.
    request.raw.url = request.url.replace(/\?.*$/s, '')
    reply.hijack()
    routing(request.raw, reply.raw)
  })
  app.addHook('preClose', async () => { await built?.close() })
}

export default fp(plugin, { name: 'latchkey-docs', fastify: '5.x', dependencies: ['latchkey-openapi'] })
