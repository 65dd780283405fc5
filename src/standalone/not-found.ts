import findMyWay, { type HTTPMethod } from 'find-my-way'
import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { MethodNotAllowed, RouteNotFound } from '../errors.js'

/**
 * Answers what no route answers: 405 with `Allow` where the path is known with another
 * method, 404 elsewhere. Neither repeats what was asked for. Register it before the routes.
 */
const plugin: FastifyPluginAsync = async (app) => {
  // Fastify looks at the body of a QUERY before it looks whether there is a route.
  app.addHttpMethod('QUERY', { overrideExisting: true })
  const methodsOf = new Map<string, Set<string>>()
  app.addHook('onRoute', ({ url, method }) => {
    const methods = methodsOf.get(url) ?? new Set()
    for (const name of [method].flat()) methods.add(name)
    methodsOf.set(url, methods)
  })

  // The same router that Fastify has, asked for the path alone.
  const paths = findMyWay({ maxParamLength: 1_000 })
  const anyMethod: HTTPMethod = 'GET'
  app.addHook('onReady', async () => {
    // '*' is where @fastify/cors answers preflights: it says nothing about paths.
    methodsOf.delete('*')
    for (const [url, methods] of methodsOf) paths.on(anyMethod, url, () => {}, methods)
  })

  app.setNotFoundHandler((request) => {
    const methods: Set<string> | undefined = paths.find(anyMethod, request.url)?.store
    // A route that answered "not here" itself, such as a folder of files, is no question of methods.
    if (methods !== undefined && !methods.has(request.method)) throw new MethodNotAllowed([...methods])
    throw new RouteNotFound()
  })
}

export default fp(plugin, { name: 'latchkey-not-found', fastify: '5.x' })
