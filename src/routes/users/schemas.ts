import { Type } from '@sinclair/typebox'
import { resetLifetimeMaxSeconds, resetLifetimeMinSeconds, resetLifetimeSeconds } from '../../plugins/codes/password-reset.js'
import { emailMaxLength } from '../../plugins/users/email.js'
import { UserBody } from '../../plugins/users/user-body.js'
import { usernameMaxLength, usernamePattern } from '../../plugins/users/username.js'
import { ref } from '../../schema-ref.js'

/** How many roles a new account can get at once. */
const rolesMax = 100

export const ManagedUser = Type.Object({
  ...UserBody.properties,
  second_factor: Type.Boolean({ description: 'Whether logging in needs a code as well.', examples: [false] }),
  disabled_at: Type.Unsafe<string | null>({ type: ['string', 'null'], format: 'date-time', description: 'When an admin disabled the account; null while it is enabled.', examples: [null] }),
  roles: Type.Array(Type.String({ examples: ['editor'] }), { description: 'The names of the roles, sorted.' })
}, { $id: 'latchkey.ManagedUser', description: 'An account, as admins see it.' })

export const UserList = Type.Object({
  users: Type.Array(ref(ManagedUser), { description: 'By username, in lower case.' }),
  next_cursor: Type.Unsafe<string | null>({ type: ['string', 'null'], description: 'Send it as `cursor` to get the next page; null on the last page.', examples: ['YWRh'] })
}, { $id: 'latchkey.UserList', description: 'A page of accounts.' })

export const UserDetailsBody = Type.Object({
  ...ManagedUser.properties,
  last_login_at: Type.Unsafe<string | null>({ type: ['string', 'null'], format: 'date-time', description: 'Accurate to about a day: the exact time while the token of the last login exists. Null if no login is known: there was none in the last 90 days, or a new password was set since.', examples: ['2026-11-23T20:44:00.000Z'] }),
  token_count: Type.Integer({ minimum: 0, description: 'How many active tokens the account has.', examples: [1] })
}, { $id: 'latchkey.UserDetails', description: 'An account with its details.' })

export const NewUserRequest = Type.Object({
  username: Type.String({
    minLength: 1,
    maxLength: usernameMaxLength,
    pattern: usernamePattern,
    format: 'username',
    description: 'ASCII letters, digits and `_ . @ + -`; it must not begin with `-` or be `.` or `..`. If it contains `@`, it must be the email of the account, and becomes its email if it has none.',
    examples: ['grace']
  }),
  email: Type.Optional(Type.Unsafe<string | null>({
    type: ['string', 'null'],
    minLength: 1,
    maxLength: emailMaxLength,
    format: 'email',
    description: 'One email address, unique without regard to case. For none, omit it or send null.',
    examples: ['grace@example.com']
  })),
  roles: Type.Optional(Type.Array(Type.String({ examples: ['admin'] }), { maxItems: rolesMax, description: 'The names of the roles that the account gets.', examples: [[]] }))
}, { $id: 'latchkey.NewUserRequest', description: 'A new account without a password.' })

export const ResetCode = Type.Object({
  code: Type.String({ description: 'With this code the owner sets a password. The server shows it only once.', examples: ['7ZK3QX9M2BVN4TRC8HWD5FJE'] }),
  url: Type.Unsafe<string | null>({ type: ['string', 'null'], description: 'The link to the page that takes the code; null if the server does not know its `PUBLIC_URL`.', examples: ['https://login.example.com/ui/reset#7ZK3QX9M2BVN4TRC8HWD5FJE'] }),
  expires_at: Type.String({ format: 'date-time', description: 'Until when the code is valid (RFC 3339, UTC).', examples: ['2026-11-24T20:44:00.000Z'] })
}, { $id: 'latchkey.ResetCode', description: 'A code with which the owner of an account sets a password.' })

export const NewUser = Type.Object({
  user: ref(ManagedUser),
  ...ResetCode.properties
}, { $id: 'latchkey.NewUser', description: 'A new account, and the code with which its owner sets a password.' })

export const ResetCodeRequest = Type.Object({
  expires_in: Type.Optional(Type.Integer({ minimum: resetLifetimeMinSeconds, maximum: resetLifetimeMaxSeconds, default: resetLifetimeSeconds, description: 'How long the code is valid, in seconds: 24 hours by default, at most a week.', examples: [resetLifetimeSeconds] }))
}, { $id: 'latchkey.ResetCodeRequest', description: 'A request for a code. An empty body is permitted.' })

/** The parameter of every path that names a user. */
export const usernameParams = Type.Object({
  username: Type.String({ description: 'In any case.', examples: ['grace'] })
})
