import createError from '@fastify/error'
import { recentLoginSeconds } from '../../plugins/tokens/limits.js'

/** A login whose username no user has. */
export const UsernameUnknown = createError('USERNAME_UNKNOWN', 'username incorrect', 404)
/** Either of the two, when LOGIN_ERRORS is `uniform` (OWASP Authentication Cheat Sheet, "Authentication Responses"). */
export const CredentialsIncorrect = createError('CREDENTIALS_INCORRECT', 'username or password incorrect', 401)
/** A personal access token cannot create others: a leaked one must not outlive its expiry or its revocation. */
export const LoginRequired = createError('LOGIN_REQUIRED', 'this needs the token of a login', 403)
/** Step-up authentication (RFC 9470, section 3): the login is too old, and the request has no password. */
export class LoginTooOld extends createError<'LOGIN_TOO_OLD', 401, []>('LOGIN_TOO_OLD', 'log in again, or send your password', 401) {
  readonly headers = { 'www-authenticate': `Bearer error="insufficient_user_authentication", max_age="${recentLoginSeconds}"` }
}
export const TokenNotFound = createError('TOKEN_NOT_FOUND', 'you have no such token', 404)
