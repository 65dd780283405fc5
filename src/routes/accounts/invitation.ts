import type { FastifyInstance } from 'fastify'
import { ValidationFailed } from '../../errors.js'
import { CodeInvalid } from '../../plugins/codes/errors.js'
import type { Invite } from '../../plugins/invites/invite.js'
import { canonicalEmail } from '../../plugins/users/email.js'

/**
 * The open invitation of a signup; undefined where it has none.
 *
 * @param code null where it has none
 * @throws {CodeInvalid}
 */
export async function findInvite ({ invites }: Pick<FastifyInstance, 'invites'>, code: string | null): Promise<Invite | undefined> {
  if (code === null) return undefined
  const invite = await invites.find(code)
  if (invite === undefined) throw new CodeInvalid()
  return invite
}

/**
 * The email of a new account: that of its invitation, as it is written there, where it has one.
 *
 * @throws {ValidationFailed} the signup has another one
 */
export function invitedEmail (invite: Invite | undefined, email: string | null): string | null {
  const invited = invite?.email ?? null
  if (invited === null) return email
  if (email !== null && canonicalEmail(email) !== canonicalEmail(invited)) throw new ValidationFailed([{ field: 'email', message: 'email must be that of the invitation' }])
  return invited
}
