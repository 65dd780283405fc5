import type { FastifyRequest } from 'fastify'
import { causeOf } from './causes.js'

/**
 * What a log line may hold. Fastify's own serializer logs the whole URL; a query string
 * can carry secrets, and so can the properties of an error: only these members are logged.
 */
export const loggerOptions = {
  serializers: {
    req: ({ method, url, ip }: FastifyRequest) => ({ method, path: url.split('?', 1)[0], address: ip }),
    res: ({ statusCode }: { statusCode: number }) => ({ statusCode }),
    err: (error: Error) => {
      const { name, message, stack, code } = Object(causeOf(error))
      return { type: String(name), code: String(code), message: String(message), stack: String(stack) }
    }
  }
}
