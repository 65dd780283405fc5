import type { FastifyPluginAsync } from 'fastify'
import assign from './assign.js'
import manage from './manage.js'
import { RoleBody, RoleList } from './schemas.js'

/** Roles, and who may do what. */
const roles: FastifyPluginAsync = async (app) => {
  for (const schema of [RoleBody, RoleList]) app.addSchema(schema)

  await app.register(manage) // GET, POST /roles, DELETE /roles/:name: admins
  await app.register(assign) // PUT, DELETE /users/:username/roles/:name: admins
}

export default roles
