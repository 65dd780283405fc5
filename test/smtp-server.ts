import { once } from 'node:events'
import { createServer } from 'node:net'
import { text } from 'node:stream/consumers'
import { SMTPServer, type SMTPServerOptions } from 'smtp-server'
import type { Test } from 'tap'

/** A mail as it arrived: the envelope, the headers by lower-case name, the text. */
export interface ReceivedMail {
  from: string
  to: string[]
  headers: Record<string, string>
  text: string
}

function parse (raw: string): Pick<ReceivedMail, 'headers' | 'text'> {
  const [head = '', ...body] = raw.split('\r\n\r\n')
  const lines = head.replace(/\r\n[ \t]+/g, ' ').split('\r\n')
  return {
    headers: Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()])),
    text: body.join('\r\n\r\n').replaceAll('\r\n', '\n')
  }
}

/** A mail server on this machine, until the test ends. */
export async function startSmtpServer (t: Test, options: SMTPServerOptions = {}) {
  const received: ReceivedMail[] = []
  let connections = 0
  const server = new SMTPServer({
    disabledCommands: ['AUTH'],
    disableReverseLookup: true,
    logger: false,
    closeTimeout: 100,
    onConnect (session, done) {
      connections++
      done()
    },
    onData (stream, { envelope }, done) {
      text(stream).then((raw) => {
        const { mailFrom, rcptTo } = envelope
        received.push({ from: mailFrom === false ? '' : mailFrom.address, to: rcptTo.map(({ address }) => address), ...parse(raw) })
        done()
      }, done)
    },
    ...options
  })
  // Clients that give up, and handshakes that fail.
  server.on('error', () => {})
  const listener = server.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  t.teardown(() => new Promise<void>((resolve) => server.close(resolve)))
  const { port } = Object(listener.address())
  return { url: `smtp://127.0.0.1:${port}`, port: Number(port), received, connections: () => connections }
}

/** An error that the mail server answers with. */
export const smtpError = (responseCode: number, message: string) => Object.assign(new Error(message), { responseCode })

/** A server that accepts connections and never says a word, until the test ends. */
export async function startSilentServer (t: Test) {
  const sockets: Array<{ destroy: () => void }> = []
  const server = createServer((socket) => sockets.push(socket.on('error', () => {}))).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return { url: `smtp://127.0.0.1:${Object(server.address()).port}`, connections: () => sockets.length }
}
