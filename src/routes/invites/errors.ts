import createError from '@fastify/error'

export const InviteNotFound = createError('INVITE_NOT_FOUND', 'there is no such invitation', 404)
