import { Type } from '@sinclair/typebox'
import { codeMaxLength } from '../codes/code.js'

/** The member `code` of a body that has a password: needed where the second factor is on. */
export const SecondFactorCode = Type.Optional(Type.String({
  minLength: 1,
  maxLength: codeMaxLength,
  description: 'If the second factor is on: six digits of the authenticator app, or a recovery code, which is used up.',
  examples: ['492039']
}))
