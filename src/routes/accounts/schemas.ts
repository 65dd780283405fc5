import { Type } from '@sinclair/typebox'
import { codeMaxLength } from '../../plugins/codes/code.js'
import { emailMaxLength } from '../../plugins/users/email.js'
import { UserBody } from '../../plugins/users/user-body.js'
import { ref } from '../../schema-ref.js'
import { usernameMaxLength, usernamePattern } from '../../plugins/users/username.js'

export const AccountBody = Type.Object({
  ...UserBody.properties,
  roles: Type.Array(Type.String({ examples: ['admin'] }), { description: 'The names of the roles, sorted.' })
}, { $id: 'latchkey.Account', description: 'An account with its roles.' })

const NewUsername = Type.String({
  minLength: 1,
  maxLength: usernameMaxLength,
  pattern: usernamePattern,
  format: 'username',
  description: 'ASCII letters, digits and `_ . @ + -`; it must not begin with `-` or be `.` or `..`. If it contains `@`, it must be the email of the account, and becomes its email if it has none. Stored as written; unique and found without regard to case.',
  examples: ['ada']
})

const NewEmail = (none: string) => Type.Unsafe<string | null>({
  type: ['string', 'null'],
  minLength: 1,
  maxLength: emailMaxLength,
  format: 'email',
  description: `One email address, unique without regard to case. ${none}`,
  examples: ['ada@example.com']
})

const password = Type.String({ minLength: 1, format: 'current-password', description: 'The password of the account.', examples: ['correct horse battery staple'] })

const newPasswordDescription = 'At least the minimum length of the server (8 characters by default) and at most 256 characters, counted in Unicode code points after NFC. It must not be the username, the email, or one of the most common passwords. It is neither trimmed nor truncated.'

export const PasswordChange = Type.Object({
  current_password: Type.String({ minLength: 1, format: 'current-password', description: 'The current password.', examples: ['correct horse battery staple'] }),
  new_password: Type.String({ minLength: 1, format: 'new-password', description: newPasswordDescription, examples: ['incorrect donkey charger clip'] })
}, { $id: 'latchkey.PasswordChange', description: 'A change of the password.' })

export const AccountDeletion = Type.Object({
  password
}, { $id: 'latchkey.AccountDeletion', description: 'The deletion of the account, confirmed with its password.' })

export const UsernameChange = Type.Object({
  username: NewUsername,
  password
}, { $id: 'latchkey.UsernameChange', description: 'A change of the username, confirmed with the password.' })

export const EmailChange = Type.Object({
  email: NewEmail('For none, send null; an empty text is an error.'),
  password
}, { $id: 'latchkey.EmailChange', description: 'A change of the email, confirmed with the password.' })

export const EmailVerification = Type.Object({
  code: Type.String({ minLength: 1, description: 'The code of the mail. Case and dashes do not matter.', examples: ['0123456789ABCDEFGHJKMNPQ'] })
}, { $id: 'latchkey.EmailVerification', description: 'The code that verifies an email.' })

export const SignupRequest = Type.Object({
  username: NewUsername,
  email: Type.Optional(NewEmail('For none, omit it or send null; an empty text is an error.')),
  password: Type.String({
    minLength: 1,
    format: 'new-password',
    description: newPasswordDescription,
    examples: ['correct horse battery staple']
  }),
  invite: Type.Optional(Type.Unsafe<string | null>({
    type: ['string', 'null'],
    minLength: 1,
    maxLength: codeMaxLength,
    description: 'The code of an invitation, in any case, with or without dashes. If the invitation has an email, the account gets it, and `email` can be omitted. For none, omit it or send null.',
    examples: [null]
  }))
}, { $id: 'latchkey.SignupRequest', description: 'A new account.' })

export const SignupResponse = Type.Object({
  msg: Type.String({ examples: ['welcome :-)'] }),
  user: ref(UserBody)
}, { $id: 'latchkey.SignupResponse', description: 'The account was created.' })
