import type { FastifyInstance, FastifyRequest } from 'fastify'
import { LastAdmin, UserUnknown } from '../../errors.js'
import type { NewEvent } from '../../plugins/audit/event.js'
import { type Guard, runGuardsAgain } from '../../plugins/authenticate/guard.js'
import type { User } from '../../plugins/users/user.js'

/**
 * The user that a path names.
 *
 * @throws {UserUnknown}
 */
export async function requireUser ({ users }: Pick<FastifyInstance, 'users'>, username: string): Promise<User> {
  const user = await users.find(username)
  if (user === undefined) throw new UserUnknown()
  return user
}

/** Records what an admin did to an account. On the own account there is no other actor. */
export function recordAction ({ audit }: Pick<FastifyInstance, 'audit'>, request: FastifyRequest, event: NewEvent & { userId: number }): void {
  const actorId = request.currentUser.id
  audit.record({ ...event, ...actorId === event.userId ? {} : { actorId } }, request)
}

/**
 * Explains why an account was neither deleted nor disabled: the admin or the account is gone, or it is
 * that of the last enabled admin.
 *
 * @param guard the guard of the route
 * @throws {LastAdmin}
 * @throws {UserUnknown}
 */
export async function rejectRemoval (app: FastifyInstance, request: FastifyRequest, { id, username }: User, guard: Guard): Promise<never> {
  // First: of two admins who disable each other, the second one is to know why it failed.
  if (!(await app.roles.isLastAdmin(id))) {
    await runGuardsAgain(request, [guard])
    await requireUser(app, username)
  }
  throw new LastAdmin()
}
