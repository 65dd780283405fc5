import { type Static, Type } from '@sinclair/typebox'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { ownPasswordErrors, ownPasswordHooks, verifyOwnPassword } from '../../plugins/login-throttle/own-password.js'
import { recordOwnChange } from '../../plugins/second-factor/record-change.js'
import { ref } from '../../schema-ref.js'
import { SecondFactorOff } from './errors.js'
import { SecondFactorConfirmation, SecondFactorState } from './schemas.js'

const url = '/me/second-factor'

const state: FastifyPluginAsyncTypebox = async (app) => {
  app.get(url, {
    onRequest: [app.authenticate],
    schema: {
      operationId: 'getSecondFactor',
      tags: ['Second factor'],
      summary: 'Show the second factor',
      description: 'Whether logging in to your account needs a code as well, and how many recovery codes are left.',
      response: { 200: ref(SecondFactorState) }
    }
  }, async ({ currentUser: { id } }) => ({
    enabled_at: (await app.secondFactor.findEnabledAt(id))?.toISOString() ?? null,
    recovery_codes_left: await app.secondFactor.countRecoveryCodes(id)
  }))

  async function switchOff (request: FastifyRequest<{ Body: Static<typeof SecondFactorConfirmation> }>, reply: FastifyReply): Promise<null> {
    const { currentUser: { id }, currentTokenId: tokenId, body: { password, code } } = request
    const own = await verifyOwnPassword(app, request, reply, { kind: 'second_factor_change', password, code })
    await own.act((verifiedHash) => app.secondFactor.switchOff(id, { verifiedHash, tokenId }), async () => {
      if (await app.secondFactor.findEnabledAt(id) === null) throw new SecondFactorOff()
    })
    recordOwnChange(app, request, 'disabled')
    reply.code(204)
    return null
  }

  // Content in a DELETE has no defined meaning (RFC 9110, section 9.3.5): some proxies and clients drop it.
  for (const [method, path, operation] of [
    ['DELETE', url, { operationId: 'disableSecondFactor', summary: 'Switch the second factor off', description: 'Where a proxy drops the body of a DELETE, use `POST /api/v1/me/second-factor/deletion`.' }],
    ['POST', `${url}/deletion`, { operationId: 'disableSecondFactorByPost', summary: 'Switch the second factor off, by POST', description: 'The same as `DELETE /api/v1/me/second-factor`, for clients and proxies that drop the body of a DELETE.' }]
  ] as const) {
    app.route<{ Body: Static<typeof SecondFactorConfirmation> }>({
      method,
      url: path,
      ...ownPasswordHooks(app),
      config: { errors: [...ownPasswordErrors, SecondFactorOff] },
      schema: {
        ...operation,
        tags: ['Second factor'],
        description: `The secret and the recovery codes are deleted, and all other tokens of the account are revoked. ${operation.description}`,
        body: ref(SecondFactorConfirmation),
        response: { 204: Type.Null({ description: 'The second factor is off.' }) }
      },
      handler: switchOff
    })
  }
}

export default state
