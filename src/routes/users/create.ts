import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { EmailTaken, RoleNotFound, ServiceUnavailable, UsernameTaken } from '../../errors.js'
import { runGuardsAgain } from '../../plugins/authenticate/guard.js'
import { actorOf } from '../../plugins/roles/actor.js'
import { adminRole, roleNameProblem } from '../../plugins/roles/role-name.js'
import { createWithoutPassword } from '../../plugins/users/creation.js'
import { requireOwnAddress } from '../../plugins/users/username-address.js'
import { ref } from '../../schema-ref.js'
import { recordAction } from './admin-action.js'
import { managedUser, resetCode } from './bodies.js'
import { NewUser, NewUserRequest } from './schemas.js'

const create: FastifyPluginAsyncTypebox = async (app) => {
  const onlyAdmins = app.requireRole(adminRole)

  /** @throws {RoleNotFound} one of them does not exist */
  async function requireRoles (names: string[]): Promise<void> {
    for (const name of names) {
      if (roleNameProblem(name) !== undefined || !(await app.roles.has(name))) throw new RoleNotFound()
    }
  }

  app.post('/users', {
    onRequest: [onlyAdmins],
    config: { errors: [RoleNotFound, UsernameTaken, EmailTaken, ServiceUnavailable] },
    schema: {
      operationId: 'createUser',
      tags: ['Users'],
      summary: 'Create a user',
      description: 'Creates an account without a password, and the code with which its owner sets one within 24 hours. Hand the code or the link over: the server shows it only once. For another code, start a password reset.',
      body: ref(NewUserRequest),
      response: { 201: ref(NewUser) }
    }
  }, async (request, reply) => {
    const { username, email: typedEmail = null, roles: names = [] } = request.body
    const email = requireOwnAddress(username, typedEmail)
    const roles = [...new Set(names)].sort()
    if (app.store.isNearlyFull()) throw new ServiceUnavailable({ cause: new Error('the disk is nearly full: the remaining space is reserved for existing accounts') })
    await requireRoles(roles)
    const created = await createWithoutPassword(app, { username, email, roles }, actorOf(request))
    if (created === undefined) {
      await runGuardsAgain(request, [onlyAdmins])
      await requireRoles(roles)
      throw email !== null && await app.users.find(username) === undefined ? new EmailTaken() : new UsernameTaken()
    }
    const { user } = created
    recordAction(app, request, { kind: 'user_creation', userId: user.id })
    for (const name of roles) recordAction(app, request, { kind: 'role_change', userId: user.id, detail: `granted ${name}` })
    reply.code(201)
    return { user: managedUser({ ...user, secondFactor: false, disabledAt: null, roles }), ...resetCode(created) }
  })
}

export default create
