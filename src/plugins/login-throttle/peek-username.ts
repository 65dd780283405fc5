import { Readable } from 'node:stream'
import type { FastifyRequest, RequestPayload } from 'fastify'

/** Whether a request says that its body is JSON. */
export function isJson ({ headers }: FastifyRequest): boolean {
  return /^application\/json\b/i.test(headers['content-type'] ?? '')
}

/** The username in a parsed body, which was not validated yet; undefined when there is none. */
export function usernameIn (body: unknown): string | undefined {
  return typeof body === 'object' && body !== null && 'username' in body && typeof body.username === 'string' ? body.username : undefined
}

/** The username in a body; undefined when there is none, or it is not JSON. */
function parseUsername (body: Buffer): string | undefined {
  try {
    return usernameIn(JSON.parse(body.toString()))
  } catch {
    return undefined
  }
}

/**
 * Reads a body, and its username, before it is parsed.
 *
 * @returns the body to go on with; undefined when it has no username, is not JSON, too large, or does not arrive
 */
export async function peekUsername (request: FastifyRequest, payload: RequestPayload): Promise<{ username: string, payload: RequestPayload } | undefined> {
  const { bodyLimit } = request.routeOptions
  if (!isJson(request) || Number(request.headers['content-length'] ?? 0) > bodyLimit) return undefined
  const chunks: Buffer[] = []
  let length = 0
  try {
    // Destroying the body would close the connection before the answer.
    for await (const chunk of payload.iterator({ destroyOnReturn: false })) {
      length += chunk.length
      if (length > bodyLimit) return undefined
      chunks.push(chunk)
    }
  } catch {
    return undefined
  }
  const body = Buffer.concat(chunks)
  const username = parseUsername(body)
  return username === undefined ? undefined : { username, payload: Readable.from([body], { objectMode: false }) }
}
