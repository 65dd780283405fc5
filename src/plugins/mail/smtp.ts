import type { Mail } from './mail.js'
import type { SendWithSignal } from './queue.js'
import type { MailSender, SmtpServer } from './settings.js'

/** How long a mail server may take to accept a connection, to greet, and to be silent, in milliseconds. */
const connectTimeoutMs = 5_000
const greetingTimeoutMs = 5_000
const silenceTimeoutMs = 10_000
/** How long it may take to close a connection, in milliseconds. */
const closeTimeoutMs = 1_000

/**
 * Creates the function that sends mails by SMTP. Loads nodemailer, which nothing else needs.
 *
 * @see https://nodemailer.com/smtp
 */
export async function smtpSender ({ host, port, tls, auth }: SmtpServer, from: MailSender): Promise<SendWithSignal> {
  const { createTransport } = await import('nodemailer')
  const transport = createTransport({
    host,
    port,
    auth,
    secure: tls === 'implicit',
    requireTLS: tls === 'starttls',
    ignoreTLS: tls === 'off',
    connectionTimeout: connectTimeoutMs,
    dnsTimeout: connectTimeoutMs,
    greetingTimeout: greetingTimeoutMs,
    socketTimeout: silenceTimeoutMs,
    socketCloseTimeout: closeTimeoutMs,
    disableFileAccess: true,
    disableUrlAccess: true
  })
  return async ({ to, subject, text }: Mail, signal) => {
    await transport.sendMail({
      from,
      // As an object it is one address, whatever its characters.
      to: { name: '', address: to },
      subject,
      text,
      // No answering machine answers it (RFC 3834, section 5).
      headers: { 'Auto-Submitted': 'auto-generated' },
      xMailer: false,
      signal
    })
  }
}
