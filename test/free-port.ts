import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:net'

// Of the tests and of the benchmark.

/**
 * A port of the loopback interface that nobody listens at. It is none of those that the system
 * gives to connections (on Linux from 32768): one of them could have it before it is used.
 */
export async function freePort (): Promise<number> {
  const server = createServer().listen(randomInt(10_000, 32_000), '127.0.0.1')
  try {
    await once(server, 'listening')
  } catch {
    return await freePort()
  }
  const { port } = Object(server.address())
  server.close()
  await once(server, 'close')
  return port
}
