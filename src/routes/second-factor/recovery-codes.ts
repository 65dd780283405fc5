import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { ownPasswordErrors, ownPasswordHooks, verifyOwnPassword } from '../../plugins/login-throttle/own-password.js'
import { recordOwnChange } from '../../plugins/second-factor/record-change.js'
import { ref } from '../../schema-ref.js'
import { SecondFactorOff } from './errors.js'
import { RecoveryCodes, SecondFactorConfirmation } from './schemas.js'

const recoveryCodes: FastifyPluginAsyncTypebox = async (app) => {
  app.post('/me/recovery-codes', {
    ...ownPasswordHooks(app),
    config: { errors: [...ownPasswordErrors, SecondFactorOff] },
    schema: {
      operationId: 'createRecoveryCodes',
      tags: ['Second factor'],
      summary: 'Create recovery codes',
      description: 'Creates recovery codes in place of the old ones. The server shows them only once.',
      body: ref(SecondFactorConfirmation),
      response: { 201: ref(RecoveryCodes) }
    }
  }, async (request, reply) => {
    const { currentUser: { id }, currentTokenId: tokenId, body: { password, code } } = request
    const own = await verifyOwnPassword(app, request, reply, { kind: 'second_factor_change', password, code })
    const created: { codes: string[] } = { codes: [] }
    await own.act(async (verifiedHash) => {
      created.codes = await app.secondFactor.replaceRecoveryCodes(id, { verifiedHash, tokenId })
      return created.codes.length > 0
    }, async () => {
      if (await app.secondFactor.findEnabledAt(id) === null) throw new SecondFactorOff()
    })
    recordOwnChange(app, request, 'recovery codes')
    reply.code(201)
    return { recovery_codes: created.codes }
  })
}

export default recoveryCodes
