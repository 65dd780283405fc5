import type { FastifyRequest } from 'fastify'

/** In the config of a route: it is open to anyone, also where an app has a guard on all of its routes. */
export const publicRoute: unique symbol = Symbol('latchkey.public-route')

declare module 'fastify' {
  interface FastifyContextConfig {
    [publicRoute]?: true
  }
}

/** Whether the route of a request is open to anyone. */
export function isPublic ({ routeOptions }: FastifyRequest): boolean {
  return routeOptions.config[publicRoute] === true
}
