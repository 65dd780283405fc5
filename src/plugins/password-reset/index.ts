import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { bestEffort } from '../../lib/background.js'
import { workQueue } from '../../lib/work-queue.js'
import type { EventRequest } from '../audit/index.js'
import { issuePasswordReset, mailedResetLifetimeSeconds } from '../codes/password-reset.js'
import { passwordResetMail } from '../mail/messages.js'
import { type PasswordResetRepository, passwordResetRepository } from './repository.js'

/** How many addresses are looked up at the same time. */
const concurrency = 4
/** How many addresses can wait for that: further ones are dropped. */
const maxWaiting = 1_000
/** How long the last ones may take at the shutdown, in milliseconds. */
const closeDeadlineMs = 1_000
/** After a mail no other one is sent to the account for so long, in milliseconds. */
const mailPauseMs = 60_000

/** Forgotten passwords. */
export interface PasswordReset extends Pick<PasswordResetRepository, 'setPassword'> {
  /**
   * Mails the owner of an address the code to set a new password with: to the address as it is
   * stored, if that is verified and the account is not disabled. Returns at once.
   *
   * @param email one address
   */
  request: (email: string, request: EventRequest) => void
}

declare module 'fastify' {
  interface FastifyInstance {
    passwordReset: PasswordReset
  }
}

const plugin: FastifyPluginAsync<{ now: () => number }> = async (app, { now }) => {
  const { findRecipient, isRecipient, setPassword } = passwordResetRepository(app, now)
  const lookups = workQueue({ concurrency, maxSize: maxWaiting, onDrop: () => app.log.error('Requests for a new password dropped: the queue is full or closed.') })
  let isHintGiven = false

  /** Why nothing is mailed is logged without the address: the log is no list of who has an account. */
  async function mailCode (email: string, request: EventRequest): Promise<void> {
    const recipient = await findRecipient(email)
    if (recipient === undefined) return request.log.debug('a new password was asked for with an address that no account has')
    const { id: userId, username, email: to, emailVerified, disabledAt } = recipient
    if (to === null || !emailVerified) return request.log.debug({ userId }, 'a new password was asked for with an address that is not verified')
    if (disabledAt !== null) return app.audit.record({ kind: 'reset_request', outcome: 'account_disabled', userId }, request)
    const issued = await issuePasswordReset(app, userId, { lifetimeSeconds: mailedResetLifetimeSeconds, pauseMs: mailPauseMs, condition: isRecipient(to) })
    if (issued === undefined) return request.log.debug({ userId }, 'a new password was asked for again: the last mail is less than a minute old, or the account has just changed')
    app.mail.send(passwordResetMail({ to, username }, issued))
    app.audit.record({ kind: 'reset_request', userId }, request)
  }

  app.decorate('passwordReset', {
    setPassword,

    request (email, request) {
      if (!app.mail.isEnabled) {
        if (!isHintGiven) app.log.warn('a new password was asked for, but nothing can be mailed: set SMTP_URL and MAIL_FROM, or the option sendMail')
        isHintGiven = true
        return
      }
      const work = bestEffort(app, { work: () => mailCode(email, request), failure: 'the code for a new password could not be mailed' })
      lookups.add(async () => {
        await work()
        return undefined
      })
    }
  })

  app.addHook('onClose', async () => {
    const lost = await lookups.close(closeDeadlineMs)
    if (lost > 0) app.log.error({ count: lost }, 'Requests for a new password lost: they could not be looked up before the shutdown.')
  })
}

export default fp(plugin, { name: 'latchkey-password-reset', dependencies: ['latchkey-database', 'latchkey-codes', 'latchkey-mail', 'latchkey-audit'] })
