import type { FastifyRequest } from 'fastify'
import { unwrapDatabaseError } from '../lib/unwrap-error.js'
import { errorMembers } from '../lib/error-code.js'
import { printableAddress } from '../lib/client-network.js'

/** The path of a request target, which can be a whole URL with a username and a password (RFC 9112, section 3.2.2). */
function pathOf (target: string): string {
  // The common case, without the cost of replacing.
  if (target.startsWith('/') && !/[?#]/.test(target)) return target
  return target.replace(/[?#].*$/s, '').replace(/^[a-z][a-z\d+.-]*:\/\/[^/]*/i, '')
}

/**
 * The members that a log line may have. Fastify's own serializers log the whole URL and all
 * properties of an error; both can contain secrets.
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
