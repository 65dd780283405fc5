import { Type } from '@sinclair/typebox'
import { emailMaxLength } from '../../plugins/users/email.js'
import { ref } from '../../schema-ref.js'
import { usernameMaxLength, usernamePattern } from '../../plugins/users/username.js'

export const UserBody = Type.Object({
  id: Type.Integer({ minimum: 1, description: 'Never given to anybody else, not even after the account is deleted.', examples: [1] }),
  username: Type.String({ description: 'As it was written at the signup.', examples: ['bob'] }),
  email: Type.Unsafe<string | null>({ type: ['string', 'null'], description: 'As it was written at the signup, or null.', examples: ['bob@example.com'] }),
  created_at: Type.String({ format: 'date-time', description: 'When the account was made (RFC 3339, UTC).', examples: ['2026-11-23T20:44:00.000Z'] })
}, { $id: 'latchkey.User', description: 'An account.' })

export const AccountBody = Type.Object({
  ...UserBody.properties,
  roles: Type.Array(Type.String({ examples: ['admin'] }), { description: 'The names of the roles, sorted.' })
}, { $id: 'latchkey.Account', description: 'An account, as its owner sees it.' })

const newPasswordDescription = 'At least as many characters as the server asks for (8 unless it was told otherwise), at most 256, counted in Unicode code points after NFC. Neither the username nor the email, nor one of the most common passwords. Nothing is trimmed or cut.'

export const PasswordChange = Type.Object({
  current_password: Type.String({ minLength: 1, format: 'current-password', description: 'The password that is to be replaced.', examples: ['correct horse battery staple'] }),
  new_password: Type.String({ minLength: 1, format: 'new-password', description: newPasswordDescription, examples: ['incorrect donkey charger clip'] })
}, { $id: 'latchkey.PasswordChange', description: 'Another password.' })

export const AccountDeletion = Type.Object({
  password: Type.String({ minLength: 1, format: 'current-password', description: 'The password of the account.', examples: ['correct horse battery staple'] })
}, { $id: 'latchkey.AccountDeletion', description: 'The password, once more.' })

export const SignupRequest = Type.Object({
  username: Type.String({
    minLength: 1,
    maxLength: usernameMaxLength,
    pattern: usernamePattern,
    format: 'username',
    description: 'ASCII letters, digits and `_ . @ + -`; it does not begin with `-`, and is neither `.` nor `..`. Kept as written; unique and found without regard to case.',
    examples: ['bob']
  }),
  email: Type.Optional(Type.Unsafe<string | null>({
    type: ['string', 'null'],
    minLength: 1,
    maxLength: emailMaxLength,
    format: 'email',
    description: 'One address. Unique without regard to case. Absent or null: none.',
    examples: ['bob@example.com']
  })),
  password: Type.String({
    minLength: 1,
    format: 'new-password',
    description: newPasswordDescription,
    examples: ['correct horse battery staple']
  })
}, { $id: 'latchkey.SignupRequest', description: 'A new account.' })

export const SignupResponse = Type.Object({
  msg: Type.String({ examples: ['welcome :-)'] }),
  user: ref(UserBody)
}, { $id: 'latchkey.SignupResponse', description: 'The account was made.' })
