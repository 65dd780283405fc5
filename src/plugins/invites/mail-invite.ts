import type { FastifyInstance } from 'fastify'
import { describeDuration } from '../../lib/duration.js'
import { invitationMail } from '../mail/messages.js'
import type { IssuedInvite } from './invite.js'

/** Mails the code of a new invitation to its email, if it has one and there is a mailer. */
export function mailInvite ({ mail }: Pick<FastifyInstance, 'mail'>, { email, code, url }: IssuedInvite, lifetimeSeconds: number): void {
  if (email !== null) mail.send(invitationMail(email, { code, url }, describeDuration(lifetimeSeconds)))
}
