import { Type } from '@sinclair/typebox'
import { inviteLifetimeSeconds, inviteMaxLifetimeSeconds, inviteMinLifetimeSeconds, inviteRolesMax } from '../../plugins/invites/invite.js'
import { roleNameMaxLength, roleNamePattern } from '../../plugins/roles/role-name.js'
import { emailMaxLength } from '../../plugins/users/email.js'
import { ref } from '../../schema-ref.js'

export const InviteRequest = Type.Object({
  email: Type.Optional(Type.Unsafe<string | null>({ type: ['string', 'null'], minLength: 1, maxLength: emailMaxLength, format: 'email', description: 'The only email that the account can have; it counts as verified. For any, omit it or send null.', examples: ['grace@example.com'] })),
  roles: Type.Optional(Type.Array(Type.String({ minLength: 1, maxLength: roleNameMaxLength, pattern: roleNamePattern, format: 'role-name', examples: ['editor'] }), { maxItems: inviteRolesMax, description: 'The names of the roles that the account gets.' })),
  expires_in: Type.Optional(Type.Integer({ minimum: inviteMinLifetimeSeconds, maximum: inviteMaxLifetimeSeconds, default: inviteLifetimeSeconds, description: 'How long the invitation is valid, in seconds: 7 days by default, at most 30 days.', examples: [inviteLifetimeSeconds] }))
}, { $id: 'latchkey.InviteRequest', description: 'A request for an invitation.' })

const id = Type.String({ description: 'The hash under which the code is stored. It says nothing about the code.', examples: ['q1rOFJ3mMB3GhXWDsRAyZbYs1Y0SkQ1b8tB7nqd0qFE'] })
const expiresAt = Type.String({ format: 'date-time', examples: ['2026-12-01T20:44:00.000Z'] })

export const NewInviteBody = Type.Object({
  id,
  code: Type.String({ description: 'Send it as `invite` to `POST /api/v1/signup`. Case and dashes do not matter, O counts as 0, and I and L as 1.', examples: ['7K3M9QX2VBN4T8RWHD5CZ0PA'] }),
  url: Type.Unsafe<string | null>({ type: ['string', 'null'], description: 'The link that has the code; null if the server has no `PUBLIC_URL`.', examples: ['https://login.example.com/ui/signup#7K3M9QX2VBN4T8RWHD5CZ0PA'] }),
  expires_at: expiresAt
}, { $id: 'latchkey.NewInvite', description: 'A new invitation. The server shows its code only once.' })

export const InviteBody = Type.Object({
  id,
  email: Type.Unsafe<string | null>({ type: ['string', 'null'], description: 'The only email that the account can have; null for any.', examples: ['grace@example.com'] }),
  roles: Type.Array(Type.String({ examples: ['editor'] }), { description: 'The names of the roles that the account gets, sorted.' }),
  created_at: Type.String({ format: 'date-time', examples: ['2026-11-24T20:44:00.000Z'] }),
  expires_at: expiresAt
}, { $id: 'latchkey.Invite', description: 'An open invitation, without its code.' })

export const InviteList = Type.Object({
  invites: Type.Array(ref(InviteBody), { description: 'Newest first.' })
}, { $id: 'latchkey.InviteList', description: 'All open invitations.' })
