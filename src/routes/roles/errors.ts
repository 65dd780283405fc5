import createError from '@fastify/error'

export const UserNotFound = createError('USER_NOT_FOUND', 'there is no such user', 404)
export const RoleNotFound = createError('ROLE_NOT_FOUND', 'there is no such role', 404)
export const RoleExists = createError('ROLE_EXISTS', 'there is such a role already', 409)
export const RoleProtected = createError('ROLE_PROTECTED', 'this role cannot be deleted', 409)
