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
  const problem = await once(socket, 'data', { signal: AbortSignal.timeout(timeoutMs) }).then(
    ([greeting]) => String(greeting).startsWith('220') ? undefined : 'does not greet with 220',
    (error: unknown) => `cannot be reached: ${error instanceof Error && error.name === 'AbortError' ? `no greeting within ${timeoutMs / 1_000} s` : errorLine(error)}`
  )
  if (problem === undefined) socket.end('QUIT\r\n', () => socket.destroy())
  else socket.destroy()
  return problem === undefined ? ok(`the mail server ${host}:${port} answers`) : failure(`the mail server ${host}:${port} ${problem}`, advice)
}
