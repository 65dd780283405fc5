import { Type } from '@sinclair/typebox'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { EmailTaken, RoleNotFound, TooManyInvites } from '../../errors.js'
import { runGuardsAgain } from '../../plugins/authenticate/guard.js'
import { inviteLifetimeSeconds, openInvitesMax } from '../../plugins/invites/invite.js'
import { mailInvite } from '../../plugins/invites/mail-invite.js'
import { inviteRejection } from '../../plugins/invites/rejection.js'
import { actorOf } from '../../plugins/roles/actor.js'
import { adminRole } from '../../plugins/roles/role-name.js'
import { ref } from '../../schema-ref.js'
import { InviteNotFound } from './errors.js'
import { InviteList, InviteRequest, NewInviteBody } from './schemas.js'

const manage: FastifyPluginAsyncTypebox = async (app) => {
  const onlyAdmins = app.requireRole(adminRole)

  app.get('/invites', {
    onRequest: [onlyAdmins],
    schema: {
      operationId: 'listInvites',
      tags: ['Invitations'],
      summary: 'List invitations',
      description: 'Lists the open invitations: those that were not used and have not expired.',
      response: { 200: ref(InviteList) }
    }
  }, async () => {
    const invites = await app.invites.list()
    return { invites: invites.map(({ id, email, roles, createdAt, expiresAt }) => ({ id, email, roles, created_at: createdAt.toISOString(), expires_at: expiresAt.toISOString() })) }
  })

  app.post('/invites', {
    onRequest: [onlyAdmins],
    config: { errors: [RoleNotFound, EmailTaken, TooManyInvites] },
    schema: {
      operationId: 'createInvite',
      tags: ['Invitations'],
      summary: 'Invite somebody',
      description: `Creates an invitation: whoever has its code can sign up once, also if signup is only for the invited. If it has an email and the server sends mails, the code is mailed there as well. At most ${openInvitesMax} can be open at the same time.`,
      body: ref(InviteRequest),
      response: { 201: ref(NewInviteBody) }
    }
  }, async (request, reply) => {
    const { email = null, roles = [], expires_in: lifetimeSeconds = inviteLifetimeSeconds } = request.body
    const invite = await app.invites.create({ email, roles, lifetimeSeconds }, actorOf(request))
    if (invite === undefined) {
      await runGuardsAgain(request, [onlyAdmins])
      throw await inviteRejection(app, { email, roles })
    }
    const { id, code, url, expiresAt } = invite
    app.audit.record({ kind: 'invitation', actorId: request.currentUser.id, detail: `created ${id}` }, request)
    mailInvite(app, invite, lifetimeSeconds)
    reply.code(201)
    return { id, code, url, expires_at: expiresAt.toISOString() }
  })

  app.delete('/invites/:id', {
    onRequest: [onlyAdmins],
    config: { errors: [InviteNotFound] },
    schema: {
      operationId: 'deleteInvite',
      tags: ['Invitations'],
      summary: 'Delete an invitation',
      description: 'Deletes an open invitation: nobody can sign up with its code any longer.',
      params: Type.Object({ id: Type.String({ description: 'The `id` of the invitation.', examples: ['q1rOFJ3mMB3GhXWDsRAyZbYs1Y0SkQ1b8tB7nqd0qFE'] }) }),
      response: { 204: Type.Null({ description: 'The invitation was deleted.' }) }
    }
  }, async (request, reply) => {
    const { id } = request.params
    if (!(await app.invites.delete(id, actorOf(request)))) {
      await runGuardsAgain(request, [onlyAdmins])
      throw new InviteNotFound()
    }
    app.audit.record({ kind: 'invitation', actorId: request.currentUser.id, detail: `deleted ${id}` }, request)
    reply.code(204)
    return null
  })
}

export default manage
