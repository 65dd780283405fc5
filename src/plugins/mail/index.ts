import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import type { ResolvedOptions } from '../../options.js'
import type { Mailer } from './mail.js'
import { mailQueue, type SendWithSignal } from './queue.js'
import { parseMailFrom, parseSmtpUrl } from './settings.js'
import { smtpSender } from './smtp.js'

declare module 'fastify' {
  interface FastifyInstance {
    mail: Mailer
  }
}

/** How long the last mails may take, in milliseconds. */
const closeDeadlineMs = 3_000
/**
 * They get less if closing has taken long before, as with clients that hang: the process must end
 * within 7 seconds of the signal, half a second of which has passed when closing begins here.
 */
const closedAfterMs = 5_800
/** What they get at least. */
const closeDeadlineMinMs = 300

/** The plugin's options. */
export type MailOptions = Pick<ResolvedOptions, 'sendMail' | 'smtpUrl' | 'mailFrom'>

/** The function that sends mails; undefined where there is no way to. */
async function senderOf ({ sendMail, smtpUrl = '', mailFrom = '' }: MailOptions): Promise<SendWithSignal | undefined> {
  if (sendMail !== undefined) return async (mail) => await sendMail(mail)
  const [server, from] = [parseSmtpUrl(smtpUrl), parseMailFrom(mailFrom)]
  if (server !== undefined && from !== undefined) return await smtpSender(server, from)
}

/** Mails, sent beside the requests. */
const plugin: FastifyPluginAsync<MailOptions> = async (app, options) => {
  const send = await senderOf(options)
  if (send === undefined) {
    app.decorate('mail', { isEnabled: false, send () {}, counts: () => ({ sent: 0, failed: 0, dropped: 0, queued: 0 }) })
    return
  }
  const queue = mailQueue(send, app.log)
  app.decorate('mail', { isEnabled: true, send: queue.add, counts: queue.counts })

  let closingSinceMs = Infinity
  app.addHook('preClose', async () => { closingSinceMs = performance.now() })
  app.addHook('onClose', async () => {
    const leftMs = closedAfterMs - Math.max(0, performance.now() - closingSinceMs)
    await queue.close(Math.max(closeDeadlineMinMs, Math.min(closeDeadlineMs, leftMs)))
  })
}

export default fp(plugin, { name: 'latchkey-mail', fastify: '5.x' })
