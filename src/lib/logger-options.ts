import type { FastifyRequest } from 'fastify'

/**
 * What a log line may hold. Fastify's own serializer logs the whole URL; a query string
 * can carry secrets, and so can the properties of an error: only these members are logged.
 */
export const loggerOptions = {
  serializers: {
    req: ({ method, url, ip }: FastifyRequest) => ({ method, path: url.split('?', 1)[0], address: ip }),
    res: ({ statusCode }: { statusCode: number }) => ({ statusCode }),
    err: ({ name, message, stack, code }: Error & { code?: string }) => ({ type: name, code: String(code), message, stack: String(stack) })
  }
}
