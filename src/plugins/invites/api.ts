import type { FastifyInstance } from 'fastify'
import { secondsProblem, validate } from '../../lib/validate.js'
import { roleNameProblem } from '../roles/role-name.js'
import { emailProblem } from '../users/email.js'
import { inviteLifetimeSeconds, inviteMaxLifetimeSeconds, inviteMinLifetimeSeconds, inviteRolesMax } from './invite.js'
import type { InvitesApi } from './invites-api.js'
import { mailInvite } from './mail-invite.js'
import { inviteRejection } from './rejection.js'

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
