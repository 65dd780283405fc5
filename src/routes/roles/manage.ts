import { Type } from '@sinclair/typebox'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { RoleExists, RoleNotFound, RoleProtected } from '../../errors.js'
import { ref } from '../../schema-ref.js'
import { adminRole, roleNameProblem } from '../../plugins/roles/role-name.js'
import { RoleBody, RoleList } from './schemas.js'

const manage: FastifyPluginAsyncTypebox = async (app) => {
  const onlyAdmins = app.requireRole(adminRole)

  app.get('/roles', {
    onRequest: [onlyAdmins],
    schema: {
      operationId: 'listRoles',
      tags: ['Roles'],
      summary: 'List roles',
      description: 'Lists all roles, by name.',
      response: { 200: ref(RoleList) }
    }
  }, async () => ({ roles: await app.roles.list() }))

  app.post('/roles', {
    onRequest: [onlyAdmins],
    config: { errors: [RoleExists] },
    schema: {
      operationId: 'createRole',
      tags: ['Roles'],
      summary: 'Create a role',
      description: 'Creates a role. Then it can be granted to users, and routes can require it.',
      body: ref(RoleBody),
      response: { 201: ref(RoleBody) }
    }
  }, async (request, reply) => {
    const { name, description } = request.body
    const role = await app.roles.create({ name, description })
    if (role === undefined) throw new RoleExists()
    app.audit.record({ kind: 'role_change', actorId: request.currentUser.id, detail: `created ${name}` }, request)
    reply.code(201)
    return role
  })

  app.delete('/roles/:name', {
    onRequest: [onlyAdmins],
    config: { errors: [RoleNotFound, RoleProtected] },
    schema: {
      operationId: 'deleteRole',
      tags: ['Roles'],
      summary: 'Delete a role',
      description: 'Deletes a role, also from all users who have it. The role `admin` cannot be deleted.',
      params: Type.Object({ name: Type.String({ description: 'The name of the role.', examples: ['editor'] }) }),
      response: { 204: Type.Null({ description: 'The role was deleted.' }) }
    }
  }, async (request, reply) => {
    const { name } = request.params
    if (name === adminRole) throw new RoleProtected()
    if (roleNameProblem(name) !== undefined || !(await app.roles.delete(name))) throw new RoleNotFound()
    app.audit.record({ kind: 'role_change', actorId: request.currentUser.id, detail: `deleted ${name}` }, request)
    reply.code(204)
    return null
  })
}

export default manage
