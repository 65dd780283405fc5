import type { FastifyInstance, FastifyRequest } from 'fastify'
import { secondFactorChangedMail, type SecondFactorChange } from '../mail/messages.js'
import { notifyOwner } from '../mail/notes.js'

/** Records a change of the current user's second factor in the audit log, and tells the user by mail. */
export function recordOwnChange (app: Pick<FastifyInstance, 'audit' | 'mail'>, request: FastifyRequest, change: SecondFactorChange): void {
  const { currentUser } = request
  app.audit.record({ kind: 'second_factor_change', userId: currentUser.id, detail: change }, request)
  notifyOwner(app, currentUser, (recipient) => secondFactorChangedMail(recipient, change))
}
