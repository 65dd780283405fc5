import createError from '@fastify/error'

export const UsernameUnknown = createError('USERNAME_UNKNOWN', 'username incorrect', 404)
export const PasswordIncorrect = createError('PASSWORD_INCORRECT', 'password incorrect', 401)
/** Either of the two, when LOGIN_ERRORS is `uniform` (OWASP Authentication Cheat Sheet, "Authentication Responses"). */
export const CredentialsIncorrect = createError('CREDENTIALS_INCORRECT', 'username or password incorrect', 401)
