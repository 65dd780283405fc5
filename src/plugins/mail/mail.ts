/** The kinds of mails. */
export const mailKinds = ['password_reset', 'email_verification', 'invitation', 'password_changed', 'email_changed'] as const

/** The kind of a mail. */
export type MailKind = typeof mailKinds[number]

/** A mail, in plain text. */
export interface Mail {
  kind: MailKind
  /** One address, as it is stored. */
  to: string
  subject: string
  text: string
  /** The code in the text, for an app that writes its own; undefined where there is none. */
  code?: string
  /** The link in the text; undefined without PUBLIC_URL, and where there is no code. */
  url?: string
}

/** Sends a mail; rejects when that fails. */
export type SendMail = (mail: Mail) => Promise<unknown>

/** How many mails there were so far, by what became of them, and how many are not sent yet. */
export interface MailCounts {
  sent: number
  /** Rejected for good, or not sent after several tries. */
  failed: number
  /** Not tried, because the queue was full, or lost at the shutdown. */
  dropped: number
  queued: number
}

/** Sends mails, if the app has a way to. */
export interface Mailer {
  /** Whether there is a way to send mails. Without one `send` does nothing. */
  isEnabled: boolean
  /** Queues a mail and returns at once: no request waits for it. */
  send: (mail: Mail) => void
  counts: () => MailCounts
}
