import { once } from 'node:events'
import { createServer } from 'node:net'

/**
 * Checks that a port is free by listening on it for a moment. Another process can still take it
 * before the server listens; the server then fails in the same way, only later.
 *
 * @throws {Error} the port is in use, or this machine does not have the address
 */
export async function requireFreePort (host: string, port: number): Promise<void> {
  const probe = createServer()
  probe.listen({ host, port })
  await once(probe, 'listening')
  probe.close()
  await once(probe, 'close')
}
