import createError from '@fastify/error'

export const SignupClosed = createError('SIGNUP_CLOSED', 'signup is closed', 403)
