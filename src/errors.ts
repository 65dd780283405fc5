import createError from '@fastify/error'

// The errors that more than one folder throws; those of one resource are in its errors.ts.
// A code is API: it has one meaning and one status, and never changes.

export const BodyMalformed = createError('BODY_MALFORMED', 'the body is not valid JSON', 400)
/** The route expects no body (RFC 9110, section 9.3.5, lets servers reject it). */
export const BodyUnexpected = createError('BODY_UNEXPECTED', 'this request must not have a body', 400)
export const RequestMalformed = createError('REQUEST_MALFORMED', 'the request is malformed', 400)
export const RouteNotFound = createError('ROUTE_NOT_FOUND', 'there is nothing here', 404)
export const BodyTooLarge = createError('BODY_TOO_LARGE', 'the body is too large', 413)
export const MediaTypeUnsupported = createError('MEDIA_TYPE_UNSUPPORTED', 'the body must be application/json', 415)
export const ExpectationFailed = createError('EXPECTATION_FAILED', 'this expectation cannot be met', 417)
export const RequestTimeout = createError('REQUEST_TIMEOUT', 'the request took too long to arrive', 408)
export const HeadersTooLarge = createError('HEADERS_TOO_LARGE', 'the headers are too large', 431)
export const InternalServerError = createError<'INTERNAL_SERVER_ERROR', 500, [{ cause: unknown }?]>('INTERNAL_SERVER_ERROR', 'Internal Server Error', 500)

/** The path exists, the method does not; `Allow` names those that do (RFC 9110, section 15.5.6). */
export class MethodNotAllowed extends createError<'METHOD_NOT_ALLOWED', 405, []>('METHOD_NOT_ALLOWED', 'this method is not allowed here', 405) {
  readonly headers: { allow: string }
  constructor (methods: string[]) {
    super()
    this.headers = { allow: methods.join(', ') }
  }
}

/** The database or another part cannot serve now; the same request may succeed later. */
export class ServiceUnavailable extends createError<'SERVICE_UNAVAILABLE', 503, [{ cause: unknown }?]>('SERVICE_UNAVAILABLE', 'Service Unavailable', 503) {
  readonly headers = { 'retry-after': '1' }
}

/** The hash queue is full, or the wait in it was too long: the server's load, not the client's mistake. */
export class Overloaded extends createError<'OVERLOADED', 503, []>('OVERLOADED', 'Service Unavailable', 503) {
  readonly headers = { 'retry-after': '1' }
}

/** The client disconnected while its request waited: it does not see this error. */
export class ClientDisconnected extends Overloaded {}

/** Too many attempts from one address or for one account (RFC 6585, section 4). */
export class TooManyAttempts extends createError<'TOO_MANY_ATTEMPTS', 429, []>('TOO_MANY_ATTEMPTS', 'too many attempts: try again later', 429) {
  readonly headers: { 'retry-after': string }
  constructor (retryAfterSeconds = 1) {
    super()
    this.headers = { 'retry-after': String(retryAfterSeconds) }
  }
}

/** One thing that is wrong with one field. */
export interface FieldProblem {
  field: string
  /** A whole sentence, field name first. */
  message: string
}

/** The body or the query does not match the schema of the route. The first problem is the message; `errors` has them all. */
export class ValidationFailed extends createError<'VALIDATION_FAILED', 422, [string]>('VALIDATION_FAILED', '%s', 422) {
  readonly errors: FieldProblem[]
  constructor (errors: FieldProblem[]) {
    super(String(errors[0]?.message))
    this.errors = errors
  }
}

// RFC 6750, section 3: the answer to a request without a usable token names the scheme; only a
// rejected token gets `error` as well.
const challenge = { 'www-authenticate': 'Bearer' }
const invalidToken = { 'www-authenticate': 'Bearer error="invalid_token"' }

export class AuthorizationMissing extends createError<'AUTHORIZATION_MISSING', 400, []>('AUTHORIZATION_MISSING', 'no Authorization header found', 400) {
  readonly headers = challenge
}
export class TokenClaimsInvalid extends createError<'TOKEN_CLAIMS_INVALID', 400, []>('TOKEN_CLAIMS_INVALID', 'token is not valid', 400) {
  readonly headers = challenge
}
/** The user of a valid token was deleted. The contract fixes the status and the message. */
export class UserNotFound extends createError<'USER_NOT_FOUND', 400, []>('USER_NOT_FOUND', '404 User not found', 400) {
  readonly headers = challenge
}
export class TokenInvalid extends createError<'TOKEN_INVALID', 401, []>('TOKEN_INVALID', 'token is invalid', 401) {
  readonly headers = invalidToken
}
export class TokenExpired extends createError<'TOKEN_EXPIRED', 401, []>('TOKEN_EXPIRED', 'token has expired', 401) {
  readonly headers = invalidToken
}
export class TokenRevoked extends createError<'TOKEN_REVOKED', 401, []>('TOKEN_REVOKED', 'token has been revoked', 401) {
  readonly headers = invalidToken
}

/** Step-up authentication (RFC 9470, section 3): the last login with the password is too long ago for this. */
export class LoginTooOld extends createError<'LOGIN_TOO_OLD', 401, []>('LOGIN_TOO_OLD', 'your login is too old: log in again', 401) {
  readonly headers: { 'www-authenticate': string }
  constructor (maxAgeSeconds = 900) {
    super()
    this.headers = { 'www-authenticate': `Bearer error="insufficient_user_authentication", max_age="${maxAgeSeconds}"` }
  }
}

/** The token is valid, but its user has none of the roles that the route requires. */
export const RoleRequired = createError('ROLE_REQUIRED', 'you do not have the role that this needs', 403)

// Users, roles and tokens as resources.

/** No user has the username or the id that a path or a call names. A login answers `UsernameUnknown` instead (routes/sessions/errors.ts). */
export const UserUnknown = createError('USER_UNKNOWN', 'there is no such user', 404)
/** The password is right, but an admin has disabled the account. */
export const AccountDisabled = createError('ACCOUNT_DISABLED', 'this account is disabled', 403)
export const UsernameTaken = createError('USERNAME_TAKEN', 'username already taken', 409)
export const EmailTaken = createError('EMAIL_TAKEN', 'email already signed-up', 409)
export const RoleNotFound = createError('ROLE_NOT_FOUND', 'there is no such role', 404)
export const RoleExists = createError('ROLE_EXISTS', 'there is such a role already', 409)
export const RoleProtected = createError('ROLE_PROTECTED', 'this role cannot be deleted', 409)
export const TooManyTokens = createError('TOO_MANY_TOKENS', 'you have too many access tokens: delete one first', 409)
export const TooManyInvites = createError('TOO_MANY_INVITES', 'there are too many open invitations: delete one first', 409)
export const PasswordIncorrect = createError('PASSWORD_INCORRECT', 'password incorrect', 401)
/** The password is right, and the account has a second factor: the same request with a code is to follow. */
export const CodeRequired = createError('CODE_REQUIRED', 'a code of the second factor is needed', 401)
/** The password is right, and the code is not one of now, was used before, or is no recovery code. */
export const CodeIncorrect = createError('CODE_INCORRECT', 'code incorrect', 401)
/** Disabled accounts do not count. */
export const LastAdmin = createError('LAST_ADMIN', 'this would leave nobody with the role admin', 409)
