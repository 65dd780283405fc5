import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { ref } from '../../schema-ref.js'
import { Message } from './schemas.js'

const logout: FastifyPluginAsyncTypebox = async (app) => {
  app.post('/logout', {
    onRequest: [app.authenticate],
    schema: {
      operationId: 'logOut',
      tags: ['Sessions'],
      summary: 'Log out',
      description: 'Revokes the token of this request. From then on, every server rejects it with 401.',
      response: { 200: ref(Message) }
    }
  }, async (request) => {
    await app.tokens.revoke(request.currentUser.id, request.currentTokenId)
    app.audit.record({ kind: 'logout', userId: request.currentUser.id }, request)
    return { msg: 'logged out' }
  })
}

export default logout
