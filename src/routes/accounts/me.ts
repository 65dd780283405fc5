import { type Static, Type } from '@sinclair/typebox'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { HashJob } from '../../plugins/passwords/hash-limiter.js'
import { ref } from '../../schema-ref.js'
import { LastAdmin, Overloaded, PasswordIncorrect, TooManyAttempts } from '../../errors.js'
import type { EventOutcome } from '../../plugins/audit/event.js'
import { runGuardsAgain } from '../../plugins/authenticate/guard.js'
import { checkOwnPassword } from '../../plugins/login-throttle/check-own-password.js'
import { networkOf } from '../../plugins/login-throttle/network.js'
import { hashJobOf } from '../../plugins/passwords/hash-job.js'
import { rejectPersonalPassword } from './personal-password.js'
import { AccountBody, AccountDeletion, PasswordChange } from './schemas.js'
import { userBody } from './user-body.js'

const me: FastifyPluginAsyncTypebox = async (app) => {
  /** Runs an action if the verified hash is still the stored one. A login can upgrade the hash concurrently: then the password is verified against the new hash. */
  async function actOnVerified (id: number, hash: string, password: string, job: HashJob, act: (hash: string) => Promise<boolean>): Promise<boolean> {
    if (await act(hash)) return true
    const currentHash = await app.users.findHash(id)
    return currentHash !== undefined && currentHash !== hash && await app.passwords.verify(currentHash, password, job) && act(currentHash)
  }

  app.get('/me', {
    onRequest: [app.authenticateWithRoles],
    schema: {
      operationId: 'getMe',
      tags: ['Accounts'],
      summary: 'Who am I?',
      description: 'The account that the token belongs to.',
      response: { 200: ref(AccountBody) }
    }
  }, async ({ currentUser, currentRoles: roles }) => Object.assign(userBody(currentUser), { roles }))

  app.put('/me/password', {
    onRequest: [app.authenticate, app.throttle.rejectAddress('password'), app.passwords.rejectWhenFull('login')],
    preValidation: app.throttle.rejectAddress('password'),
    onError: app.throttle.countMalformed('password'),
    config: { errors: [PasswordIncorrect, TooManyAttempts, Overloaded] },
    schema: {
      operationId: 'changePassword',
      tags: ['Accounts'],
      summary: 'Change the password',
      description: 'Revokes all other tokens of the account. The current token stays valid.',
      body: ref(PasswordChange),
      response: { 204: Type.Null({ description: 'The password was changed.' }) }
    }
  }, async (request, reply) => {
    const { currentUser, currentTokenId, body } = request
    const record = (outcome: EventOutcome) => app.audit.record({ kind: 'password_change', outcome, userId: currentUser.id }, request)
    const job = hashJobOf(request, reply)
    const nextJob = { ...job, hasPriority: true }
    rejectPersonalPassword('new_password', body.new_password, currentUser)
    const hash = await app.users.findHash(currentUser.id)
    if (!(await checkOwnPassword(app, request, { hash, password: body.current_password, job })) || hash === undefined) {
      record('password_incorrect')
      throw new PasswordIncorrect()
    }
    const newHash = await app.passwords.hash(body.new_password, nextJob)

    // A login that verified the old password, and has not issued its token yet, checks the password once more.
    const replace = (oldHash: string) => app.users.replacePassword(currentUser.id, newHash, { oldHash, keptTokenId: currentTokenId })
    if (!(await actOnVerified(currentUser.id, hash, body.current_password, nextJob, replace))) {
      await runGuardsAgain(request, [app.authenticate])
      record('password_changed_concurrently')
      throw new PasswordIncorrect()
    }
    await app.loginFailures.deleteNetworks(currentUser.id, networkOf(request))
    record('success')
    reply.code(204)
    return null
  })

  async function deleteAccount (request: FastifyRequest<{ Body: Static<typeof AccountDeletion> }>, reply: FastifyReply): Promise<null> {
    const { currentUser, currentTokenId } = request
    const record = (outcome: EventOutcome) => app.audit.record({ kind: 'deletion', outcome, userId: currentUser.id }, request)
    const { body: { password } } = request
    const job = hashJobOf(request, reply)
    const nextJob = { ...job, hasPriority: true }
    const hash = await app.users.findHash(currentUser.id)
    if (!(await checkOwnPassword(app, request, { hash, password, job })) || hash === undefined) {
      record('password_incorrect')
      throw new PasswordIncorrect()
    }
    if (!(await actOnVerified(currentUser.id, hash, password, nextJob, (verifiedHash) => app.users.delete(currentUser.id, { verifiedHash, tokenId: currentTokenId })))) {
      await runGuardsAgain(request, [app.authenticate])
      if (await app.roles.isLastAdmin(currentUser.id)) throw new LastAdmin()
      record('password_changed_concurrently')
      throw new PasswordIncorrect()
    }
    record('success')
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
      onRequest: [app.authenticate, app.throttle.rejectAddress('password'), app.passwords.rejectWhenFull('login')],
      preValidation: app.throttle.rejectAddress('password'),
      onError: app.throttle.countMalformed('password'),
      config: { errors: [PasswordIncorrect, LastAdmin, TooManyAttempts, Overloaded] },
      schema: {
        ...operation,
        tags: ['Accounts'],
        description: `Deletes the account and its data, such as its tokens and its roles. The last admin cannot be deleted. ${operation.description}`,
        body: ref(AccountDeletion),
        response: { 204: Type.Null({ description: 'The account was deleted.' }) }
      },
      handler: deleteAccount
    })
  }
}

export default me
