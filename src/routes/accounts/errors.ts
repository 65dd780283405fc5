import createError from '@fastify/error'

/** Signup is only for the invited, and the request has no invitation. */
export const InviteRequired = createError('INVITE_REQUIRED', 'signup needs an invitation', 403)
export const SignupClosed = createError('SIGNUP_CLOSED', 'signup is closed', 403)
export const EmailMissing = createError('EMAIL_MISSING', 'the account has no email', 409)
export const EmailVerified = createError('EMAIL_VERIFIED', 'the email is verified already', 409)
/** The server has no way to send mails. */
export const MailNotConfigured = createError('MAIL_NOT_CONFIGURED', 'this server sends no mails', 409)
