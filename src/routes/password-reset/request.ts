import { Type } from '@sinclair/typebox'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { TooManyAttempts } from '../../errors.js'
import { publicRoute } from '../../plugins/authenticate/public-route.js'
import { ref } from '../../schema-ref.js'
import { PasswordResetRequest } from './schemas.js'

const request: FastifyPluginAsyncTypebox = async (app) => {
  app.post('/password-reset', {
    config: { [publicRoute]: true, errors: [TooManyAttempts] },
    onRequest: app.throttle.rejectAddress('reset'),
    schema: {
      operationId: 'requestPasswordReset',
      tags: ['Passwords'],
      summary: 'Ask for a new password',
      description: 'Mails the code to set a new password with, if the email belongs to an account, is verified, and the account is not disabled. The code is valid for one hour, and older ones are not valid any longer; there is at most one mail a minute. The answer is always the same, and is sent before anything is looked up. A server that cannot send mails answers it as well. After many requests from one address, the next ones have to wait: `TOO_MANY_ATTEMPTS`.',
      security: [],
      body: ref(PasswordResetRequest),
      response: { 202: Type.Unsafe<undefined>({ type: 'null', description: 'The request was accepted.' }) }
    }
  }, async (request, reply) => {
    const { body: { email }, id, ip, headers, log } = request
    await app.throttle.requestReset(request)
    // Only now, so that neither the answer nor its time tells whether there is such an account. The
    // address is read before, because a closed connection has none.
    reply.raw.once('finish', () => app.passwordReset.request(email, { id, ip, headers, log }))
    // Without an argument: null would be sent as text.
    return reply.code(202).send()
  })
}

export default request
