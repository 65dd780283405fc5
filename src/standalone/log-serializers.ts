import type { FastifyRequest } from 'fastify'
import { unwrapDatabaseError } from '../lib/unwrap-error.js'
import { errorMembers } from '../lib/error-code.js'
import { printableAddress } from '../lib/client-network.js'

/** The path of a request's target, which may be a whole URL (RFC 9112, section 3.2.2) with a user and a password in it. */
function pathOf (target: string): string {
  // As nearly all of them are.
  if (target.startsWith('/') && !/[?#]/.test(target)) return target
  return target.replace(/[?#].*$/s, '').replace(/^[a-z][a-z\d+.-]*:\/\/[^/]*/i, '')
}

/**
 * What a log line may hold. Fastify's own serializer logs the whole URL; a query string
 * can carry secrets, and so can the properties of an error: only these members are logged.
 */
export const loggerOptions = {
  serializers: {
    req: ({ method, url, ip }: FastifyRequest) => ({ method, path: pathOf(url), address: printableAddress(ip) }),
    res: ({ statusCode }: { statusCode: number }) => ({ statusCode }),
    err: (error: Error) => {
      const { name, message, stack, code } = errorMembers(unwrapDatabaseError(error))
      return { type: String(name), code: code === undefined ? undefined : String(code), message: String(message), stack: String(stack) }
    }
  }
}
