import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { bestEffort } from '../../lib/background.js'
import type { ResolvedOptions } from '../../options.js'
import type { Mailer } from './mail.js'

declare module 'fastify' {
  interface FastifyInstance {
    mail: Mailer
  }
}

/** Mails, sent beside the requests. */
const plugin: FastifyPluginAsync<Pick<ResolvedOptions, 'sendMail'>> = async (app, { sendMail }) => {
  app.decorate('mail', {
    isEnabled: sendMail !== undefined,
    send (mail) {
      bestEffort(app, { work: async () => { await sendMail?.(mail) }, failure: 'a mail could not be sent' })()
    }
  })
}

export default fp(plugin, { name: 'latchkey-mail', fastify: '5.x' })
