import { Type } from '@sinclair/typebox'
import { emailMaxLength } from '../../plugins/users/email.js'

export const PasswordResetRequest = Type.Object({
  email: Type.String({ minLength: 1, maxLength: emailMaxLength, format: 'email', description: 'The email of the account, in any case.', examples: ['ada@example.com'] })
}, { $id: 'latchkey.PasswordResetRequest', description: 'A request for a new password.' })

export const PasswordReset = Type.Object({
  code: Type.String({ minLength: 1, description: 'The code that was mailed or handed over. Case, dashes and spaces do not count; O is read as 0, I and L as 1.', examples: ['7M2K-9QXV-4TBN-8DHP-3WZR-6FYC'] }),
  new_password: Type.String({ minLength: 1, format: 'new-password', description: 'The rules are those of a signup.', examples: ['incorrect donkey charger clip'] })
}, { $id: 'latchkey.PasswordReset', description: 'A new password, and the code that permits it.' })
