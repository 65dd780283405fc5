import type { FastifyInstance } from 'fastify'
import { EmailTaken, RoleNotFound, TooManyInvites } from '../../errors.js'
import type { InviteData } from './invite.js'

/** Why an invitation could not be created. */
export async function inviteRejection ({ roles, users }: Pick<FastifyInstance, 'roles' | 'users'>, { email, roles: names }: InviteData): Promise<Error> {
  for (const name of names) if (!(await roles.has(name))) return new RoleNotFound()
  return email !== null && await users.isEmailTaken(email) ? new EmailTaken() : new TooManyInvites()
}
