import type { AuditEvent, EventFilter, NewEvent } from './plugins/audit/event.js'
import type { Guard } from './plugins/authenticate/guard.js'
import type { InvitesApi } from './plugins/invites/invites-api.js'
import type { IssuedLink } from './plugins/codes/issued-link.js'
import type { Role } from './plugins/roles/role.js'
import type { IssuedToken, Token } from './plugins/tokens/token.js'
import type { User } from './plugins/users/user.js'

// What an app sees that embeds Latchkey: this, and nothing else.

declare module 'fastify' {
  interface FastifyInstance {
    /**
     * A guard: a hook (preHandler or onRequest) that lets a request pass when its `Authorization`
     * header carries an active token, and sets `request.currentUser`. Write it in an array:
     * `{ preHandler: [app.authenticate] }`.
     *
     * @throws {AuthorizationMissing} 400: no Authorization header
     * @throws {TokenInvalid} 401: not a token of ours
     * @throws {TokenExpired} 401: its lifetime is over
     * @throws {TokenClaimsInvalid} 400: it names no user
     * @throws {UserNotFound} 400: its user was deleted
     * @throws {TokenRevoked} 401: it was revoked
     * @throws {ServiceUnavailable} 503: the database cannot serve now
     * @throws {InternalServerError} 500: the query failed otherwise
     */
    authenticate: Guard
    /** The same guard; it sets `request.currentRoles` as well, in the same query. */
    authenticateWithRoles: Guard
    /**
     * Makes a guard that lets a request pass when its user has at least one of these roles. It
     * includes `authenticate`, and does not repeat it where it ran before.
     *
     * @throws {TypeError} no role is named
     * @throws {RoleRequired} 403, when a request is made: the user has none of the roles
     */
    requireRole: (...names: string[]) => Guard
    /**
     * Makes a guard that lets a request pass when its user has logged in with the password in the
     * last so many seconds. To renew a token makes its login no younger, and a personal access
     * token never passes. It includes `authenticate`, and does not repeat it where it ran before.
     *
     * @throws {TypeError} it is no positive integer
     * @throws {LoginTooOld} 401, when a request is made: the user must log in again
     */
    requireRecentLogin: (maxAgeSeconds: number) => Guard
    /** Accounts, roles, tokens and the audit log, without HTTP. */
    latchkey: LatchkeyApi
  }
  interface FastifyRequest {
    /** The user who sent the request. Reading it throws an error before a guard has run. */
    currentUser: User
    /** The id (`jti`) of the token that the request came with. Reading it throws an error before a guard has run. */
    readonly currentTokenId: string
    /** The names of the user's roles, sorted. Reading it throws an error before `authenticateWithRoles` or `requireRole` has run. */
    readonly currentRoles: string[]
  }
}

/**
 * `app.latchkey`: accounts, roles, tokens, invitations and the audit log, without HTTP. It takes passwords,
 * never hashes, and gives neither a hash nor the database away. Its errors are those of the
 * routes: a handler can let them pass.
 */
export interface LatchkeyApi {
  users: {
    /** An account by its username, in any case; undefined when there is none. */
    find: (username: string) => Promise<User | undefined>
    /** All accounts, oldest first. */
    list: () => Promise<User[]>
    /**
     * Creates an account. The rules are those of the signup.
     *
     * @throws {ValidationFailed} 422: the username, the email or the password is not allowed
     * @throws {UsernameTaken} 409
     * @throws {EmailTaken} 409
     */
    create: (user: { username: string, email?: string | null, password: string }) => Promise<User>
    /**
     * Deletes an account and its data; false when there was none.
     *
     * @throws {LastAdmin} 409: no enabled account would have the role admin
     */
    delete: (userId: number) => Promise<boolean>
    /**
     * Sets another password, revokes every token of the account, and ends its wait after failed logins.
     *
     * @throws {ValidationFailed} 422: the password is not allowed
     * @throws {UserUnknown} 404
     */
    setPassword: (userId: number, password: string) => Promise<void>
    /**
     * Gives an account another username. One that contains @ must be its email, and becomes its
     * email where it has none.
     *
     * @throws {ValidationFailed} 422: the username is not allowed
     * @throws {UserUnknown} 404
     * @throws {UsernameTaken} 409
     * @throws {EmailTaken} 409
     */
    rename: (userId: number, username: string) => Promise<void>
    /**
     * Gives an account another email, or none, at once. Codes that were mailed to the one before
     * are not valid any longer; if it was verified, it is told.
     *
     * @param options.verified whether you know that the email is its owner's; false by default
     * @throws {ValidationFailed} 422: the email is not allowed, or the username is the present one
     * @throws {UserUnknown} 404
     * @throws {EmailTaken} 409
     */
    setEmail: (userId: number, email: string | null, options?: { verified?: boolean }) => Promise<void>
    /**
     * Disables an account, which may be disabled already, and revokes its tokens: nobody can log in
     * to it. False when there is none.
     *
     * @throws {LastAdmin} 409: no enabled account would have the role admin
     */
    disable: (userId: number) => Promise<boolean>
    /** Enables an account, which may be enabled already; false when there is none. */
    enable: (userId: number) => Promise<boolean>
    /** Switches the second factor of an account off, for a user who lost it; tokens stay valid. False when it was off, or there is no account. */
    disableSecondFactor: (userId: number) => Promise<boolean>
    /**
     * Creates a code with which the user sets another password; it is shown this once. Older ones
     * are not valid any longer. `url` is null without `publicUrl`.
     *
     * @param options.expiresInSeconds how long it is valid: 24 hours by default, a minute to a week
     * @throws {ValidationFailed} 422: the lifetime is not allowed
     * @throws {UserUnknown} 404
     */
    startPasswordReset: (userId: number, options?: { expiresInSeconds?: number }) => Promise<IssuedLink>
  }
  roles: {
    /** All roles, by name. */
    list: () => Promise<Role[]>
    /**
     * Creates a role.
     *
     * @throws {ValidationFailed} 422: the name or the description is not allowed
     * @throws {RoleExists} 409
     */
    create: (role: Role) => Promise<Role>
    /**
     * Deletes a role, and revokes it from everybody; false when there was none.
     *
     * @throws {RoleProtected} 409: it is admin
     */
    delete: (name: string) => Promise<boolean>
    /** The names of a user's roles, sorted. */
    ofUser: (userId: number) => Promise<string[]>
    /**
     * Grants a role to a user, who may have it already.
     *
     * @throws {UserUnknown} 404
     * @throws {RoleNotFound} 404
     */
    grant: (userId: number, name: string) => Promise<void>
    /**
     * Revokes a role from a user, who need not have it.
     *
     * @throws {LastAdmin} 409: no enabled account would have the role admin
     */
    revoke: (userId: number, name: string) => Promise<void>
  }
  tokens: {
    /**
     * Issues a personal access token: what is returned is the only time that it is shown. It asks
     * for neither a password nor a code: your app decides who may have it.
     *
     * @param token.expiresInSeconds its lifetime: 30 days by default, at most a year
     * @throws {ValidationFailed} 422: the description or the lifetime is not allowed
     * @throws {UserUnknown} 404
     * @throws {AccountDisabled} 403
     * @throws {TooManyTokens} 409
     */
    issue: (userId: number, token: { description: string, expiresInSeconds?: number }) => Promise<IssuedToken>
    /** The active tokens of a user, newest first. */
    list: (userId: number) => Promise<Token[]>
    /** Revokes a token of a user; false when there was none. */
    revoke: (userId: number, tokenId: string) => Promise<boolean>
    /** Revokes every token of a user; false when there was none. */
    revokeAll: (userId: number) => Promise<boolean>
  }
  invites: InvitesApi
  audit: {
    /** Calls a function with each event from now on, such as `logout` or `revocation`. What it throws is logged. */
    subscribe: (listener: (event: NewEvent) => void) => void
    /** Events, newest first. */
    list: (filter: EventFilter, limit: number) => Promise<AuditEvent[]>
  }
  /**
   * Asks the database for an answer.
   *
   * @throws {Error} there is none
   */
  ping: () => Promise<void>
}
