import type { FastifyInstance } from 'fastify'
import { secondsProblem, validate } from '../../lib/validate.js'
import { roleNameProblem } from '../roles/role-name.js'
import { emailProblem } from '../users/email.js'
import { type Invite, inviteLifetimeSeconds, inviteMaxLifetimeSeconds, inviteMinLifetimeSeconds, inviteRolesMax, type IssuedInvite } from './invite.js'
import { mailInvite } from './mail-invite.js'
import { inviteRejection } from './rejection.js'

/** `app.latchkey.invites`: invitations, without HTTP. */
export interface InvitesApi {
  /**
   * Creates an invitation, and mails it if it has an email and the app sends mails: what is
   * returned is the only time that its code is shown.
   *
   * @param invite.email the only email that the account can have; it counts as verified
   * @param invite.roles the names of the roles that the account gets
   * @param invite.expiresInSeconds its lifetime: 7 days by default, from a minute to 30 days
   * @throws {ValidationFailed} 422: the email, a role or the lifetime is not allowed
   * @throws {RoleNotFound} 404
   * @throws {EmailTaken} 409: an account has the email already
   * @throws {TooManyInvites} 409
   */
  create: (invite?: { email?: string | null, roles?: string[], expiresInSeconds?: number }) => Promise<IssuedInvite>
  /** The open invitations, newest first, without their codes. */
  list: () => Promise<Invite[]>
  /** Deletes an invitation; false when there was none. */
  delete: (id: string) => Promise<boolean>
}

/** Creates `app.latchkey.invites` from the services. */
export function createInvitesApi (services: Pick<FastifyInstance, 'audit' | 'invites' | 'mail' | 'roles' | 'users'>): InvitesApi {
  const { audit, invites } = services
  return {
    async create ({ email = null, roles = [], expiresInSeconds: lifetimeSeconds = inviteLifetimeSeconds } = {}) {
      validate({
        email: email === null ? undefined : emailProblem(email),
        roles: roles.length > inviteRolesMax ? `must not be more than ${inviteRolesMax}` : roles.map(roleNameProblem).find((problem) => problem !== undefined),
        expiresInSeconds: secondsProblem(lifetimeSeconds, inviteMinLifetimeSeconds, inviteMaxLifetimeSeconds)
      })
      const invite = await invites.create({ email, roles, lifetimeSeconds })
      if (invite === undefined) throw await inviteRejection(services, { email, roles })
      audit.record({ kind: 'invitation', detail: `created ${invite.id}` })
      mailInvite(services, invite, lifetimeSeconds)
      return invite
    },

    list: () => invites.list(),

    async delete (id) {
      const isDeleted = await invites.delete(id)
      if (isDeleted) audit.record({ kind: 'invitation', detail: `deleted ${id}` })
      return isDeleted
    }
  }
}
