import { type IncomingMessage, type OutgoingHttpHeader, type OutgoingHttpHeaders, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'

/**
 * How many connections stay open between two requests: far more than proxies keep, far fewer than
 * there are file descriptors. A client that opens more gets `Connection: close` with its answers.
 */
export const keptConnectionsMax = 1_000

/** How long a client may read nothing of a response that waits for it, in milliseconds. */
const defaultReadTimeoutMs = 12_000

type Headers = OutgoingHttpHeaders | OutgoingHttpHeader[]

type Callback = (error?: Error | null) => void

/** What closes the connections of a server. */
export interface ConnectionCloser {
  /** Node's option `ServerResponse`. */
  ServerResponse: typeof ServerResponse
  /**
   * Watches the connections of the server that has this option.
   *
   * @param idleGraceMs how long idle connections stay open once the server is closing, in
   * milliseconds: a proxy that is about to use one gets an answer that closes it, not a reset
   */
  watch: (app: FastifyInstance, idleGraceMs: number) => void
}

/**
 * Closes connections after the answer where they must not stay open: when more are open than the
 * server keeps, and when it is closing. Otherwise any client could use up the file descriptors
 * with idle connections, and idle connections would delay the end of the process. Closes those as
 * well whose clients do not read their responses.
 *
 * It is a class of Node's responses, because a hook would cost every request, and so would a
 * timeout on every connection. Node itself closes those that send no whole request in time.
 *
 * @see RFC 9112, section 9.6
 */
export function connectionCloser ({ readTimeoutMs = defaultReadTimeoutMs } = {}): ConnectionCloser {
  let isClosing = false
  let open = 0
  const surplus = new WeakSet<Socket>()

  function disconnectSlowReader (socket: Socket): void {
    // Replaced by the timeout between two requests once everything is sent.
    if (socket.writableLength > 0) socket.setTimeout(readTimeoutMs)
  }

  class ClosingResponse<Request extends IncomingMessage = IncomingMessage> extends ServerResponse<Request> {
    // Named parameters: rest parameters would cost every request more than all of this file.
    override writeHead (statusCode: number, statusMessage?: string | Headers, headers?: Headers): this {
      if (isClosing || (open > keptConnectionsMax && surplus.has(this.req.socket))) this.setHeader('connection', 'close')
      // The types have a signature with a message and one without; Node tells them apart by itself.
      return super.writeHead(statusCode, statusMessage as string, headers)
    }

    // Responses to pipelined requests are written when the one before is finished.
    override assignSocket (socket: Socket): void {
      super.assignSocket(socket)
      disconnectSlowReader(socket)
    }

    override write (chunk: unknown, encoding?: unknown, callback?: Callback): boolean {
      const isTaken = super.write(chunk, encoding as BufferEncoding, callback)
      disconnectSlowReader(this.req.socket)
      return isTaken
    }

    override end (chunk?: unknown, encoding?: unknown, callback?: Callback): this {
      super.end(chunk, encoding as BufferEncoding, callback)
      disconnectSlowReader(this.req.socket)
      return this
    }
  }

  return {
    ServerResponse: ClosingResponse,

    watch (app, idleGraceMs) {
      app.addHook('preClose', async () => {
        isClosing = true
        if (open > 0) await delay(idleGraceMs)
      })
      app.server.on('connection', (socket) => {
        if (++open > keptConnectionsMax) surplus.add(socket)
        socket.once('close', () => { open-- })
      })
    }
  }
}
