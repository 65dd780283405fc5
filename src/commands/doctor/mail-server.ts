import { once } from 'node:events'
import { connect, isIP } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { parseSmtpUrl } from '../../plugins/mail/settings.js'
import { errorLine, failure, type Finding, ok, skipped } from './check.js'

/** How long a mail server may take until it greets, in milliseconds. */
const greetingTimeoutMs = 3_000

/** The submission ports (RFC 8314, section 7.3; RFC 6409, section 3.1). */
const ports = { implicit: 465, starttls: 587, off: 587 }

const advice = 'check SMTP_URL, and whether this machine can reach the mail server; nobody gets mails until then'

/** Whether the mail server accepts a connection and greets (RFC 5321, section 4.2). Nothing is sent to it but QUIT. */
export async function checkMailServer (smtpUrl: string | undefined, timeoutMs = greetingTimeoutMs): Promise<Finding> {
  const server = smtpUrl === undefined ? undefined : parseSmtpUrl(smtpUrl)
  if (server === undefined) return skipped('SMTP_URL is not set')
  const { host, tls, port = ports[tls] } = server
  const socket = tls === 'implicit' ? connectTls({ host, port, ...isIP(host) === 0 && { servername: host } }) : connect({ host, port })
  // After the first error there can be more.
  socket.on('error', () => {})
  try {
    const [greeting] = await once(socket, 'data', { signal: AbortSignal.timeout(timeoutMs) })
    if (!String(greeting).startsWith('220')) return failure(`the mail server ${host}:${port} does not greet with 220`, advice)
    await new Promise<void>((resolve) => socket.end('QUIT\r\n', resolve))
    return ok(`the mail server ${host}:${port} answers`)
  } catch (error) {
    const isLate = error instanceof Error && error.name === 'AbortError'
    return failure(`the mail server ${host}:${port} cannot be reached: ${isLate ? `no greeting within ${timeoutMs / 1_000} s` : errorLine(error)}`, advice)
  } finally {
    socket.destroy()
  }
}
