import { type Static, Type } from '@sinclair/typebox'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { ref } from '../../schema-ref.js'
import { LastAdmin } from '../../errors.js'
import { requireIdentity } from '../../plugins/authenticate/identity.js'
import { networkOf } from '../../plugins/login-throttle/network.js'
import { passwordChangedMail } from '../../plugins/mail/messages.js'
import { notifyOwner } from '../../plugins/mail/notes.js'
import { userBody } from '../../plugins/users/user-body.js'
import { ownPasswordErrors, ownPasswordHooks, verifyOwnPassword } from '../../plugins/login-throttle/own-password.js'
import { rejectPersonalPassword } from '../../plugins/passwords/personal-password.js'
import { AccountBody, AccountDeletion, PasswordChange } from './schemas.js'

const me: FastifyPluginAsyncTypebox = async (app) => {
  app.get('/me', {
    onRequest: [app.authenticateWithRoles],
    schema: {
      operationId: 'getMe',
      tags: ['Accounts'],
      summary: 'Who am I?',
      description: 'The account that the token belongs to.',
      response: { 200: ref(AccountBody) }
    }
  }, async (request) => {
    const own = { second_factor: requireIdentity(request).hasSecondFactor === true, roles: request.currentRoles }
    // Not spread: V8 takes twenty times as long for it.
    return Object.assign(userBody(request.currentUser), own)
  })

  app.put('/me/password', {
    ...ownPasswordHooks(app),
    config: { errors: ownPasswordErrors },
    schema: {
      operationId: 'changePassword',
      tags: ['Accounts'],
      summary: 'Change the password',
      description: 'Revokes all other tokens of the account. The current token stays valid. Codes of before, for a new password or an email, are not valid any longer. Where the server sends mails, the verified email is told.',
      body: ref(PasswordChange),
      response: { 204: Type.Null({ description: 'The password was changed.' }) }
    }
  }, async (request, reply) => {
    const { currentUser, currentTokenId, body } = request
    rejectPersonalPassword('new_password', body.new_password, currentUser)
    const own = await verifyOwnPassword(app, request, reply, { kind: 'password_change', password: body.current_password, code: body.code })
    const newHash = await app.passwords.hash(body.new_password, own.job)
    // A login that verified the old password, and has not issued its token yet, checks the password once more.
    await own.act((oldHash) => app.users.replacePassword(currentUser.id, newHash, { oldHash, keptTokenId: currentTokenId }))
    await app.loginFailures.deleteNetworks(currentUser.id, networkOf(request))
    own.record('success')
    notifyOwner(app, currentUser, passwordChangedMail)
    reply.code(204)
    return null
  })

  async function deleteAccount (request: FastifyRequest<{ Body: Static<typeof AccountDeletion> }>, reply: FastifyReply): Promise<null> {
    const { currentUser: { id }, currentTokenId: tokenId, body: { password, code } } = request
    const own = await verifyOwnPassword(app, request, reply, { kind: 'deletion', password, code })
    await own.act((verifiedHash) => app.users.delete(id, { verifiedHash, tokenId }), async () => {
      if (await app.roles.isLastAdmin(id)) throw new LastAdmin()
    })
    own.record('success')
    reply.code(204)
    return null
  }

  // Content in a DELETE has no defined meaning (RFC 9110, section 9.3.5): some proxies and clients drop it.
  for (const [method, url, operation] of [
    ['DELETE', '/me', { operationId: 'deleteMe', summary: 'Delete the account', description: 'Where a proxy drops the body of a DELETE, use `POST /api/v1/me/deletion`.' }],
    ['POST', '/me/deletion', { operationId: 'deleteMeByPost', summary: 'Delete the account, by POST', description: 'The same as `DELETE /api/v1/me`, for clients and proxies that drop the body of a DELETE.' }]
  ] as const) {
    app.route<{ Body: Static<typeof AccountDeletion> }>({
      method,
      url,
      ...ownPasswordHooks(app),
      config: { errors: [...ownPasswordErrors, LastAdmin] },
      schema: {
        ...operation,
        tags: ['Accounts'],
        description: `Deletes the account and its data, such as its tokens and its roles. The last enabled admin cannot be deleted. ${operation.description}`,
        body: ref(AccountDeletion),
        response: { 204: Type.Null({ description: 'The account was deleted.' }) }
      },
      handler: deleteAccount
    })
  }
}

export default me
