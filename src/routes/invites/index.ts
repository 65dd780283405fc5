import type { FastifyPluginAsync } from 'fastify'
import manage from './manage.js'
import { InviteBody, InviteList, InviteRequest, NewInviteBody } from './schemas.js'

/** Invitations, and who may do what. */
const invites: FastifyPluginAsync = async (app) => {
  for (const schema of [InviteRequest, NewInviteBody, InviteBody, InviteList]) app.addSchema(schema)

  await app.register(manage) // GET, POST /invites, DELETE /invites/:id: admins
}

export default invites
