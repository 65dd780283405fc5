import createError from '@fastify/error'

/** A login whose username no user has. */
export const UsernameUnknown = createError('USERNAME_UNKNOWN', 'username incorrect', 404)
/** Either of the two, when LOGIN_ERRORS is `uniform` (OWASP Authentication Cheat Sheet, "Authentication Responses"). */
export const CredentialsIncorrect = createError('CREDENTIALS_INCORRECT', 'username or password incorrect', 401)
/** A personal access token can neither create others nor be renewed: a leaked one must not outlive its expiry or its revocation. */
export const LoginRequired = createError('LOGIN_REQUIRED', 'this needs the token of a login', 403)
export const TokenNotFound = createError('TOKEN_NOT_FOUND', 'you have no such token', 404)
