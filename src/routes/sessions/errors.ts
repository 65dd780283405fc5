import createError from '@fastify/error'

export const UsernameUnknown = createError('USERNAME_UNKNOWN', 'username incorrect', 404)
/** Either of the two, when LOGIN_ERRORS is `uniform` (OWASP Authentication Cheat Sheet, "Authentication Responses"). */
export const CredentialsIncorrect = createError('CREDENTIALS_INCORRECT', 'username or password incorrect', 401)
export const TokenNotFound = createError('TOKEN_NOT_FOUND', 'you have no such token', 404)
export const TooManyTokens = createError('TOO_MANY_TOKENS', 'you have too many access tokens: delete one first', 409)
