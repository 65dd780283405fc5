import type { FastifyPluginAsync } from 'fastify'
import enrolment from './enrolment.js'
import recoveryCodes from './recovery-codes.js'
import { EnrolmentBody, EnrolmentProof, RecoveryCodes, SecondFactorConfirmation, SecondFactorState } from './schemas.js'
import state from './state.js'

/** The second factor, and who may do what. */
const secondFactor: FastifyPluginAsync = async (app) => {
  for (const schema of [SecondFactorState, SecondFactorConfirmation, EnrolmentBody, EnrolmentProof, RecoveryCodes]) app.addSchema(schema)

  await app.register(state) // GET, DELETE /me/second-factor, POST /me/second-factor/deletion: authenticated users, their own account
  await app.register(enrolment) // POST, PUT /me/second-factor: authenticated users, their own account
  await app.register(recoveryCodes) // POST /me/recovery-codes: authenticated users, their own account
}

export default secondFactor
