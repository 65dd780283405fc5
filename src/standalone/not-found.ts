import findMyWay, { type HTTPMethod } from 'find-my-way'
import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { lazy } from '../lib/lazy.js'
import { MethodNotAllowed, RouteNotFound } from '../errors.js'

/**
 * Answers requests without a route: 405 with `Allow` when the path has other methods, else 404.
 * Neither body repeats the URL. Register it before the routes.
 */
const plugin: FastifyPluginAsync = async (app) => {
  // Fastify reads the body of a QUERY before it looks for a route.
  app.addHttpMethod('QUERY', { overrideExisting: true })
  const methodsOf = new Map<string, Set<string>>()
  app.addHook('onRoute', ({ url, method }) => {
    const methods = methodsOf.get(url) ?? new Set()
    for (const name of [method].flat()) methods.add(name)
    methodsOf.set(url, methods)
  })

  // The router that Fastify uses, here for the path only.
  const anyMethod: HTTPMethod = 'GET'
  const paths = lazy(() => {
    const router = findMyWay({ maxParamLength: 1_000 })
    // @fastify/cors answers preflights at '*', which matches every path.
    methodsOf.delete('*')
    for (const [url, methods] of methodsOf) router.on(anyMethod, url, () => {}, methods)
    return router
  })

  app.setNotFoundHandler((request) => {
    const methods: Set<string> | undefined = paths().find(anyMethod, request.url)?.store
    // A route with this method called the handler itself, such as one for static files.
    if (methods !== undefined && !methods.has(request.method)) throw new MethodNotAllowed([...methods])
    throw new RouteNotFound()
  })
}

export default fp(plugin, { name: 'latchkey-not-found', fastify: '5.x' })
