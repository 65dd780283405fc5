import { Socket } from 'node:net'
import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'

/**
 * How many connections stay open between two requests: far more than proxies keep, far fewer than
 * there are file descriptors. A client that opens more gets `Connection: close` with its answers.
 */
export const keptConnectionsMax = 1_000

/**
 * Closes connections after the answer where they must not stay open: when the server keeps as
 * many as it may, and when it is closing. Otherwise any client could use up the file descriptors
 * with idle connections, and idle connections would delay the end of the process.
 */
const plugin: FastifyPluginAsync = async (app) => {
  let isClosing = false
  const kept = new Set<Socket>()

  function mayStayOpen (socket: Socket): boolean {
    if (isClosing) return false
    // A request that was injected has no connection.
    if (kept.has(socket) || !(socket instanceof Socket)) return true
    if (kept.size >= keptConnectionsMax) return false
    kept.add(socket)
    socket.once('close', () => kept.delete(socket))
    return true
  }

  app.addHook('preClose', async () => { isClosing = true })
  app.addHook('onSend', (request, reply, payload, done) => {
    if (!mayStayOpen(request.raw.socket)) reply.header('connection', 'close')
    done(null, payload)
  })
}

export default fp(plugin, { name: 'latchkey-close-connections', fastify: '5.x' })
