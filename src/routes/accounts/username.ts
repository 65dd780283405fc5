import { Type } from '@sinclair/typebox'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { EmailTaken, Overloaded, PasswordIncorrect, TooManyAttempts, UsernameTaken } from '../../errors.js'
import { requireOwnAddress } from '../../plugins/users/username-address.js'
import { ref } from '../../schema-ref.js'
import { ownPasswordHooks, verifyOwnPassword } from './own-password.js'
import { rejectNameAsPassword } from '../../plugins/passwords/personal-password.js'
import { UsernameChange } from './schemas.js'

const username: FastifyPluginAsyncTypebox = async (app) => {
  app.put('/me/username', {
    ...ownPasswordHooks(app),
    config: { errors: [PasswordIncorrect, UsernameTaken, EmailTaken, TooManyAttempts, Overloaded] },
    schema: {
      operationId: 'changeUsername',
      tags: ['Accounts'],
      summary: 'Change the username',
      description: 'All tokens stay valid. A username that contains `@` must be the email of the account; an account without an email gets it, unverified.',
      body: ref(UsernameChange),
      response: { 204: Type.Null({ description: 'The username was changed.' }) }
    }
  }, async (request, reply) => {
    const { currentUser, currentTokenId: tokenId, body: { username, password } } = request
    const { id } = currentUser
    rejectNameAsPassword('username', username, password)
    requireOwnAddress(username, currentUser.email)
    const own = await verifyOwnPassword(app, request, reply, { kind: 'username_change', password })
    const rejectTaken = async () => {
      const email = requireOwnAddress(username, currentUser.email)
      const owner = await app.users.find(username)
      if (owner !== undefined && owner.id !== id) throw new UsernameTaken()
      if (email !== null && await app.users.isEmailTaken(email, id)) throw new EmailTaken()
    }
    await app.throttle.claimName(request, own.job, async () => {
      await rejectTaken()
      await own.act((verifiedHash) => app.users.rename(id, username, { verifiedHash, tokenId }), rejectTaken)
    })
    own.record('success')
    reply.code(204)
    return null
  })
}

export default username
