import { Type } from '@sinclair/typebox'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { ValidationFailed } from '../../errors.js'
import { adminRole } from '../../plugins/roles/role-name.js'

const failures: FastifyPluginAsyncTypebox = async (app) => {
  app.delete('/addresses/:address/failures', {
    onRequest: [app.requireRole(adminRole)],
    config: { errors: [ValidationFailed] },
    schema: {
      operationId: 'unlockAddress',
      tags: ['Addresses'],
      summary: 'Unlock an address',
      description: 'Forgets the failed logins, the logins, the signups and the requests for a new password of an address, so that the next ones do not have to wait: on this server at once, on the others of the database within about a second. An IPv6 address counts with its /64. Succeeds if there is nothing to forget.',
      params: Type.Object({
        address: Type.String({ format: 'ip-address', description: 'An IPv4 or IPv6 address.', examples: ['203.0.113.7'] })
      }),
      response: { 204: Type.Null({ description: 'The attempts of the address are forgotten.' }) }
    }
  }, async (request, reply) => {
    const network = await app.throttle.unlockAddress(request.params.address)
    app.audit.record({ kind: 'unlock', actorId: request.currentUser.id, detail: network }, request)
    reply.code(204)
    return null
  })
}

export default failures
