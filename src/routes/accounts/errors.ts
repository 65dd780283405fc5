import createError from '@fastify/error'

export const UsernameTaken = createError('USERNAME_TAKEN', 'username already taken', 409)
export const EmailTaken = createError('EMAIL_TAKEN', 'email already signed-up', 409)
export const SignupClosed = createError('SIGNUP_CLOSED', 'signup is closed', 403)
