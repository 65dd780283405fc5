import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { CodeIncorrect, Overloaded, TooManyAttempts } from '../../errors.js'
import { runGuardsAgain } from '../../plugins/authenticate/guard.js'
import { CodeInvalid } from '../../plugins/codes/errors.js'
import { checkAsOwner } from '../../plugins/login-throttle/check-own-password.js'
import { ownPasswordErrors, ownPasswordHooks, verifyOwnPassword } from '../../plugins/login-throttle/own-password.js'
import { hashJobOf } from '../../plugins/passwords/hash-job.js'
import { recordOwnChange } from '../../plugins/second-factor/record-change.js'
import type { ProvenSecret } from '../../plugins/second-factor/repository.js'
import type { Enrolment } from '../../plugins/second-factor/index.js'
import { ref } from '../../schema-ref.js'
import { EnrolmentBody, EnrolmentProof, RecoveryCodes, SecondFactorConfirmation } from './schemas.js'

const url = '/me/second-factor'

const enrolment: FastifyPluginAsyncTypebox = async (app) => {
  app.post(url, {
    ...ownPasswordHooks(app),
    config: { errors: ownPasswordErrors },
    schema: {
      operationId: 'enrolSecondFactor',
      tags: ['Second factor'],
      summary: 'Create the secret of a second factor',
      description: 'Creates a secret for an authenticator app (TOTP, RFC 6238). Nothing changes until a code of the app has proven it: `PUT /api/v1/me/second-factor`. A second factor that is on already stays on until then. Older secrets that were not proven are not valid any longer.',
      body: ref(SecondFactorConfirmation),
      response: { 200: ref(EnrolmentBody) }
    }
  }, async (request, reply) => {
    const { currentUser, currentTokenId: tokenId, body: { password, code } } = request
    const own = await verifyOwnPassword(app, request, reply, { kind: 'second_factor_change', password, code })
    const created: { enrolment?: Enrolment } = {}
    await own.act(async (verifiedHash) => {
      created.enrolment = await app.secondFactor.enrol(currentUser, { verifiedHash, tokenId })
      return created.enrolment !== undefined
    })
    const { lifetimeSeconds, ...shown } = created.enrolment as Enrolment
    return { ...shown, expires_in: lifetimeSeconds }
  })

  app.put(url, {
    ...ownPasswordHooks(app),
    config: { errors: [CodeIncorrect, CodeInvalid, TooManyAttempts, Overloaded] },
    schema: {
      operationId: 'enableSecondFactor',
      tags: ['Second factor'],
      summary: 'Switch the second factor on',
      description: 'Proves with a code that the authenticator app has the secret. From now on a login needs a code as well, another one than this. All other tokens of the account are revoked. The answer has the recovery codes, which are shown only once. After a wrong code the enrolment stays usable; it counts as a failed login.',
      body: ref(EnrolmentProof),
      response: { 200: ref(RecoveryCodes) }
    }
  }, async (request, reply) => {
    const { currentUser: { id: userId }, currentTokenId, body: { enrolment: text, code } } = request
    const pending = await app.secondFactor.findEnrolment(userId, text)
    if (pending === undefined) throw new CodeInvalid()
    const proof: { secret?: ProvenSecret } = {}
    await checkAsOwner(app, request, { verifiedHash: await app.users.findHash(userId), wait: hashJobOf(request, reply) }, async () => {
      proof.secret = await app.secondFactor.prove(pending, code)
      return proof.secret !== undefined
    })
    if (proof.secret === undefined) {
      app.audit.record({ kind: 'second_factor_change', outcome: 'code_incorrect', userId }, request)
      throw new CodeIncorrect()
    }
    const recoveryCodes = await app.secondFactor.switchOn(userId, currentTokenId, pending.hash, proof.secret)
    if (recoveryCodes === undefined) {
      // Either the current token was revoked concurrently, which the guard reports, or another request has used the enrolment.
      await runGuardsAgain(request, [app.authenticate])
      throw new CodeInvalid()
    }
    recordOwnChange(app, request, 'enabled')
    return { recovery_codes: recoveryCodes }
  })
}

export default enrolment
