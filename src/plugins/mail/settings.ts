import { emailProblem } from '../users/email.js'

/** What the URL of a mail server looks like, as the end of a sentence that begins with its name. */
export const smtpUrlRule = 'must be like smtp://user:password@host:587 or smtps://user:password@host:465, with every special character of the user and the password escaped'
/** What the sender of mails looks like, as the end of a sentence that begins with its name. */
export const mailFromRule = 'must be one address like login@example.com, or Example <login@example.com>'

/** A mail server. */
export interface SmtpServer {
  host: string
  /** Undefined: the usual one, 587 or with TLS from the start 465. */
  port?: number
  /** `implicit`: from the start; `starttls`: before anything is sent; `off`: none. */
  tls: 'implicit' | 'starttls' | 'off'
  auth?: { user: string, pass: string }
}

/** The sender of mails; `name` is empty where there is only an address. */
export interface MailSender {
  name: string
  address: string
}

/** Whether a host is this machine by its name or address. */
export const isLoopback = (host: string) => /^(?:localhost|127(?:\.\d{1,3}){3}|::1)$/i.test(host)

/** A part of a URL without its escapes; undefined where they are malformed. */
function unescaped (part: string): string | undefined {
  try {
    return decodeURIComponent(part)
  } catch {
    return undefined
  }
}

/**
 * Parses the URL of a mail server; undefined when it is none. Without `smtps://` STARTTLS is
 * required (RFC 3207), except on this machine, and with `?tls=off`.
 */
export function parseSmtpUrl (text: string): SmtpServer | undefined {
  if (text.length > 1_000 || !/^smtps?:\/\/[^\s/?#]+\/?(?:\?tls=off)?$/i.test(text) || !URL.canParse(text)) return undefined
  const { protocol, hostname, port, username, password, search } = new URL(text)
  const [user, pass] = [unescaped(username), unescaped(password)]
  const host = hostname.replace(/^\[(.*)\]$/, '$1')
  const isImplicit = protocol === 'smtps:'
  if (host === '' || user === undefined || pass === undefined || (user === '') !== (pass === '') || port === '0' || (isImplicit && search !== '')) return undefined
  return {
    host,
    ...port === '' ? {} : { port: Number(port) },
    tls: isImplicit ? 'implicit' : search !== '' || isLoopback(host) ? 'off' : 'starttls',
    ...user === '' ? {} : { auth: { user, pass } }
  }
}

/** Parses the sender of mails; undefined when it is none. The name has no character that would end it, or the line. */
export function parseMailFrom (text: string): MailSender | undefined {
  if (text.length > 500) return undefined
  const [, name = '', address = text] = /^([^\p{C}\p{Zl}\p{Zp}<>"\\]*?) ?<([^<>]*)>$/u.exec(text) ?? []
  return emailProblem(address) === undefined ? { name, address } : undefined
}
