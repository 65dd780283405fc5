// Generated from openapi.yaml by npm run openapi: the types of the contract.
export interface paths {
    "/api/v1/signup": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Sign up
         * @description Creates an account. Log in afterwards to get a token. Where signup is only for the invited, it needs an `invite`. After many signups from one address, the next ones have to wait: `TOO_MANY_ATTEMPTS`.
         */
        post: operations["signUp"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/me": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Who am I?
         * @description The account that the token belongs to.
         */
        get: operations["getMe"];
        put?: never;
        post?: never;
        /**
         * Delete the account
         * @description Deletes the account and its data, such as its tokens and its roles. The last enabled admin cannot be deleted. Where a proxy drops the body of a DELETE, use `POST /api/v1/me/deletion`.
         */
        delete: operations["deleteMe"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/me/password": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /**
         * Change the password
         * @description Revokes all other tokens of the account. The current token stays valid. Codes of before, for a new password or an email, are not valid any longer. Where the server sends mails, the verified email is told.
         */
        put: operations["changePassword"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/me/deletion": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Delete the account, by POST
         * @description Deletes the account and its data, such as its tokens and its roles. The last enabled admin cannot be deleted. The same as `DELETE /api/v1/me`, for clients and proxies that drop the body of a DELETE.
         */
        post: operations["deleteMeByPost"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/me/username": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /**
         * Change the username
         * @description All tokens stay valid. A username that contains `@` must be the email of the account; an account without an email gets it, unverified.
         */
        put: operations["changeUsername"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/me/email": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /**
         * Change the email
         * @description Where the server sends mails, the email changes when the code that is mailed to it is used: `PUT /api/v1/email-verification`. Otherwise it changes at once, unverified. The verified email that the account had before is told. An account whose username is its email must change the username first.
         */
        put: operations["changeEmail"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/email-verification": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /**
         * Verify the email
         * @description Uses a code that was mailed. The account then has the address that it was mailed to, verified. Nobody is logged in. The code works once; where another account has the address, it stays usable.
         */
        put: operations["verifyEmail"];
        /**
         * Mail the code that verifies the email
         * @description Mails it to the email that the account is to get, or to the one that it has. Older codes are not valid any longer. Within a minute of the last code none is mailed, and the answer is the same.
         */
        post: operations["mailEmailVerification"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/login": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Log in
         * @description Issues a token for a username, or the email of an account, and its password. If the account has a second factor, the right password without a `code` is `CODE_REQUIRED`: send the same request with one. With `LOGIN_ERRORS=uniform`, the server answers an unknown username and a wrong password alike: `CREDENTIALS_INCORRECT`. After several failures from one address or for one username, the next attempts have to wait: `TOO_MANY_ATTEMPTS`.
         */
        post: operations["logIn"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/renew": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Renew the token
         * @description Issues another token in place of that of this request, without the password. The old one stays valid for 30 seconds, in which it can be renewed again. `SESSION_MAX_SECONDS` after the login with the password nothing is renewed any more: `LOGIN_TOO_OLD`. A personal access token cannot be renewed.
         */
        post: operations["renewToken"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/logout": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Log out
         * @description Revokes the token of this request. From then on, every server rejects it with 401.
         */
        post: operations["logOut"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/tokens": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List my tokens
         * @description Lists the active tokens of your account: logins and personal access tokens.
         */
        get: operations["listTokens"];
        put?: never;
        /**
         * Create a personal access token
         * @description Creates a token for a script or another program, with its own description and lifetime. The server shows it only once. An account can have 99; after many in an hour, the next ones have to wait. A personal access token cannot create others. A login that is older than 15 minutes must send the password as well, and with a second factor a code.
         */
        post: operations["createToken"];
        /**
         * Log out everywhere
         * @description Revokes all tokens of your account, or all except the token of this request.
         */
        delete: operations["revokeTokens"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/tokens/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /**
         * Revoke a token
         * @description Revokes a token of your account. Other ids are `TOKEN_NOT_FOUND`.
         */
        delete: operations["revokeToken"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/me/second-factor": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Show the second factor
         * @description Whether logging in to your account needs a code as well, and how many recovery codes are left.
         */
        get: operations["getSecondFactor"];
        /**
         * Switch the second factor on
         * @description Proves with a code that the authenticator app has the secret. From now on a login needs a code as well, another one than this. All other tokens of the account are revoked. The answer has the recovery codes, which are shown only once. After a wrong code the enrolment stays usable; it counts as a failed login.
         */
        put: operations["enableSecondFactor"];
        /**
         * Create the secret of a second factor
         * @description Creates a secret for an authenticator app (TOTP, RFC 6238). Nothing changes until a code of the app has proven it: `PUT /api/v1/me/second-factor`. A second factor that is on already stays on until then. Older secrets that were not proven are not valid any longer.
         */
        post: operations["enrolSecondFactor"];
        /**
         * Switch the second factor off
         * @description The secret and the recovery codes are deleted, and all other tokens of the account are revoked. Where a proxy drops the body of a DELETE, use `POST /api/v1/me/second-factor/deletion`.
         */
        delete: operations["disableSecondFactor"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/me/second-factor/deletion": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Switch the second factor off, by POST
         * @description The secret and the recovery codes are deleted, and all other tokens of the account are revoked. The same as `DELETE /api/v1/me/second-factor`, for clients and proxies that drop the body of a DELETE.
         */
        post: operations["disableSecondFactorByPost"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/me/recovery-codes": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Create recovery codes
         * @description Creates recovery codes in place of the old ones. The server shows them only once.
         */
        post: operations["createRecoveryCodes"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/password-reset": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /**
         * Set a new password with a code
         * @description Sets the password of the account that the code was issued for, and revokes all of its tokens, also the personal ones. All other codes of the account for a new password or for its email are not valid any longer, and the wait after failed logins ends. It logs nobody in, and a disabled account stays disabled. A code works once; a password that is rejected does not use it up.
         */
        put: operations["resetPassword"];
        /**
         * Ask for a new password
         * @description Mails the code to set a new password with, if the email belongs to an account, is verified, and the account is not disabled. The code is valid for one hour, and older ones are not valid any longer; there is at most one mail a minute. The answer is always the same, and is sent before anything is looked up. A server that cannot send mails answers it as well. After many requests from one address, the next ones have to wait: `TOO_MANY_ATTEMPTS`.
         */
        post: operations["requestPasswordReset"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/users": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List users
         * @description Lists accounts by username. All of the conditions in the query must hold; text that no account can have selects none.
         */
        get: operations["listUsers"];
        put?: never;
        /**
         * Create a user
         * @description Creates an account without a password, and the code with which its owner sets one within 24 hours. Hand the code or the link over: the server shows it only once. For another code, start a password reset.
         */
        post: operations["createUser"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/users/{username}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Show a user
         * @description The account of a user, with its roles, its last login and the number of its tokens. The last login is accurate to about a day.
         */
        get: operations["getUser"];
        put?: never;
        post?: never;
        /**
         * Delete a user
         * @description Deletes the account of a user and its data, such as its tokens and its roles. The last enabled admin cannot be deleted.
         */
        delete: operations["deleteUser"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/users/{username}/disabled": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /**
         * Disable a user
         * @description Disables an account: its tokens are revoked at once, on every server, and nobody can log in to it. Its data stay. Succeeds if the account is disabled already. The last enabled admin cannot be disabled.
         */
        put: operations["disableUser"];
        post?: never;
        /**
         * Enable a user
         * @description Enables an account that was disabled: its user can log in again. The tokens that were revoked stay revoked. Succeeds if the account is enabled already.
         */
        delete: operations["enableUser"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/users/{username}/tokens": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List the tokens of a user
         * @description Lists the active tokens of a user: logins and personal access tokens. The tokens themselves are never shown.
         */
        get: operations["listUserTokens"];
        put?: never;
        post?: never;
        /**
         * Log a user out everywhere
         * @description Revokes all tokens of a user, personal access tokens as well. Succeeds if there are none.
         */
        delete: operations["revokeUserTokens"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/users/{username}/failures": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /**
         * Unlock a user
         * @description Forgets the failed logins of a user, who then does not have to wait before the next one. Succeeds if there are none.
         */
        delete: operations["unlockUser"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/users/{username}/password-reset": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Start a password reset
         * @description Creates a code with which the user sets another password. Hand the code or the link over: the server shows it only once. Older codes of the user are not valid any longer; the password and the tokens stay until the code is used.
         */
        post: operations["startPasswordReset"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/users/{username}/second-factor": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /**
         * Switch the second factor of a user off
         * @description For a user who lost the authenticator app and the recovery codes: the password alone logs in again. The tokens of the user stay valid; to revoke them, log the user out everywhere. Succeeds if it is off already.
         */
        delete: operations["disableSecondFactorOfUser"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/roles": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List roles
         * @description Lists all roles, by name.
         */
        get: operations["listRoles"];
        put?: never;
        /**
         * Create a role
         * @description Creates a role. Then it can be granted to users, and routes can require it.
         */
        post: operations["createRole"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/roles/{name}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /**
         * Delete a role
         * @description Deletes a role, also from all users who have it. The role `admin` cannot be deleted.
         */
        delete: operations["deleteRole"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/users/{username}/roles/{name}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /**
         * Grant a role
         * @description Grants a role to a user. Succeeds if the user has the role already.
         */
        put: operations["grantRole"];
        post?: never;
        /**
         * Revoke a role
         * @description Revokes a role of a user. Succeeds if the user does not have the role. The last enabled admin cannot lose `admin`.
         */
        delete: operations["revokeRole"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/invites": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List invitations
         * @description Lists the open invitations: those that were not used and have not expired.
         */
        get: operations["listInvites"];
        put?: never;
        /**
         * Invite somebody
         * @description Creates an invitation: whoever has its code can sign up once, also if signup is only for the invited. If it has an email and the server sends mails, the code is mailed there as well. At most 1000 can be open at the same time.
         */
        post: operations["createInvite"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/invites/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /**
         * Delete an invitation
         * @description Deletes an open invitation: nobody can sign up with its code any longer.
         */
        delete: operations["deleteInvite"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/addresses/{address}/failures": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /**
         * Unlock an address
         * @description Forgets the failed logins, the logins, the signups and the requests for a new password of an address, so that the next ones do not have to wait: on this server at once, on the others of the database within about a second. An IPv6 address counts with its /64. Succeeds if there is nothing to forget.
         */
        delete: operations["unlockAddress"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/events": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List events
         * @description The audit log: the events of all users, or of one user.
         */
        get: operations["listEvents"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/me/events": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List my events
         * @description Logins, failed logins and other events of your account. Events caused by another user omit the address, User-Agent and request id.
         */
        get: operations["listMyEvents"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Say hello
         * @description Needs no token: shows that the server answers.
         */
        get: operations["hello"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/need_login": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Try a token out
         * @description The first guarded route. Needs a valid token.
         */
        get: operations["needLogin"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/need_login": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Try a token out
         * @description The same as `GET /need_login`. Needs a valid token.
         */
        get: operations["needLoginV1"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/admin": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Try a role out
         * @description Needs the role `admin`.
         */
        get: operations["needAdmin"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/health/live": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Check liveness
         * @description Answers while the process runs, even if the database does not answer. If there is no answer, restart the process.
         */
        get: operations["isLive"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/health/ready": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Check readiness
         * @description Queries the database. If the answer is not 200, send traffic to another server.
         */
        get: operations["isReady"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /** @description An error. */
        ErrorResponse: {
            /**
             * @description The status of the response.
             * @example 400
             */
            statusCode: number;
            /**
             * @description What happened, for programs. Codes never change their meaning.
             * @example AUTHORIZATION_MISSING
             */
            code: string;
            /**
             * @description The name of the status.
             * @example Bad Request
             */
            error: string;
            /**
             * @description What happened, for humans.
             * @example no Authorization header found
             */
            message: string;
        };
        /** @description A request that does not match the schema of its route. */
        ValidationErrorResponse: {
            /**
             * @description The status of the response.
             * @example 400
             */
            statusCode: number;
            /**
             * @description What happened, for programs. Codes never change their meaning.
             * @example AUTHORIZATION_MISSING
             */
            code: string;
            /**
             * @description The name of the status.
             * @example Bad Request
             */
            error: string;
            /**
             * @description What happened, for humans.
             * @example no Authorization header found
             */
            message: string;
            /** @description All problems, at most one for each field, in the order of the schema. The first one is also the `message`. */
            errors: {
                /**
                 * @description The name of the field; empty for the body as a whole.
                 * @example username
                 */
                field: string;
                /**
                 * @description The problem, as a sentence.
                 * @example username is empty
                 */
                message: string;
            }[];
        };
        /** @description An account. */
        User: {
            /**
             * @description Never reused, not even after the account is deleted.
             * @example 1
             */
            id: number;
            /**
             * @description As written at signup.
             * @example ada
             */
            username: string;
            /**
             * @description As written at signup; null if there is none.
             * @example ada@example.com
             */
            email: string | null;
            /**
             * @description Whether the owner has proven that the email is theirs.
             * @example false
             */
            email_verified: boolean;
            /**
             * Format: date-time
             * @description When the account was created (RFC 3339, UTC).
             * @example 2026-11-23T20:44:00.000Z
             */
            created_at: string;
        };
        /** @description An account with its roles. */
        Account: {
            /**
             * @description Never reused, not even after the account is deleted.
             * @example 1
             */
            id: number;
            /**
             * @description As written at signup.
             * @example ada
             */
            username: string;
            /**
             * @description As written at signup; null if there is none.
             * @example ada@example.com
             */
            email: string | null;
            /**
             * @description Whether the owner has proven that the email is theirs.
             * @example false
             */
            email_verified: boolean;
            /**
             * Format: date-time
             * @description When the account was created (RFC 3339, UTC).
             * @example 2026-11-23T20:44:00.000Z
             */
            created_at: string;
            /**
             * @description Whether logging in needs a code as well.
             * @example false
             */
            second_factor: boolean;
            /** @description The names of the roles, sorted. */
            roles: string[];
        };
        /** @description A new account. */
        SignupRequest: {
            /**
             * Format: username
             * @description ASCII letters, digits and `_ . @ + -`; it must not begin with `-` or be `.` or `..`. If it contains `@`, it must be the email of the account, and becomes its email if it has none. Stored as written; unique and found without regard to case.
             * @example ada
             */
            username: string;
            /**
             * Format: email
             * @description One email address, unique without regard to case. For none, omit it or send null; an empty text is an error.
             * @example ada@example.com
             */
            email?: string | null;
            /**
             * Format: new-password
             * @description At least the minimum length of the server (8 characters by default) and at most 256 characters, counted in Unicode code points after NFC. It must not be the username, the email, or one of the most common passwords. It is neither trimmed nor truncated.
             * @example correct horse battery staple
             */
            password: string;
            /**
             * @description The code of an invitation, in any case, with or without dashes. If the invitation has an email, the account gets it, and `email` can be omitted. For none, omit it or send null.
             * @example null
             */
            invite?: string | null;
        };
        /** @description The account was created. */
        SignupResponse: {
            /** @example welcome :-) */
            msg: string;
            user: components["schemas"]["User"];
        };
        /** @description A change of the password. */
        PasswordChange: {
            /**
             * Format: current-password
             * @description The current password.
             * @example correct horse battery staple
             */
            current_password: string;
            /**
             * Format: new-password
             * @description At least the minimum length of the server (8 characters by default) and at most 256 characters, counted in Unicode code points after NFC. It must not be the username, the email, or one of the most common passwords. It is neither trimmed nor truncated.
             * @example incorrect donkey charger clip
             */
            new_password: string;
            /**
             * @description If the second factor is on: six digits of the authenticator app, or a recovery code, which is used up.
             * @example 492039
             */
            code?: string;
        };
        /** @description The deletion of the account, confirmed with its password. */
        AccountDeletion: {
            /**
             * Format: current-password
             * @description The password of the account.
             * @example correct horse battery staple
             */
            password: string;
            /**
             * @description If the second factor is on: six digits of the authenticator app, or a recovery code, which is used up.
             * @example 492039
             */
            code?: string;
        };
        /** @description A change of the username, confirmed with the password. */
        UsernameChange: {
            /**
             * Format: username
             * @description ASCII letters, digits and `_ . @ + -`; it must not begin with `-` or be `.` or `..`. If it contains `@`, it must be the email of the account, and becomes its email if it has none. Stored as written; unique and found without regard to case.
             * @example ada
             */
            username: string;
            /**
             * Format: current-password
             * @description The password of the account.
             * @example correct horse battery staple
             */
            password: string;
            /**
             * @description If the second factor is on: six digits of the authenticator app, or a recovery code, which is used up.
             * @example 492039
             */
            code?: string;
        };
        /** @description A change of the email, confirmed with the password. */
        EmailChange: {
            /**
             * Format: email
             * @description One email address, unique without regard to case. For none, send null; an empty text is an error.
             * @example ada@example.com
             */
            email: string | null;
            /**
             * Format: current-password
             * @description The password of the account.
             * @example correct horse battery staple
             */
            password: string;
            /**
             * @description If the second factor is on: six digits of the authenticator app, or a recovery code, which is used up.
             * @example 492039
             */
            code?: string;
        };
        /** @description The code that verifies an email. */
        EmailVerification: {
            /**
             * @description The code of the mail. Case and dashes do not matter.
             * @example 0123456789ABCDEFGHJKMNPQ
             */
            code: string;
        };
        /** @description A username and its password, and where its second factor is on a code. */
        LoginRequest: {
            /**
             * @description In any case.
             * @example ada
             */
            username: string;
            /**
             * Format: current-password
             * @description At most 256 characters.
             * @example correct horse battery staple
             */
            password: string;
            /**
             * @description If the second factor is on: six digits of the authenticator app, or a recovery code, which is used up.
             * @example 492039
             */
            code?: string;
        };
        /** @description A token, in the shape of RFC 6749, section 5.1. */
        LoginResponse: {
            /**
             * @description A JSON Web Token. Send it as `Authorization: Bearer <token>`.
             * @example eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJ1c2VyX2lkIjoxfQ.c2lnbmF0dXJl
             */
            token: string;
            /**
             * @description The scheme of the token (RFC 6750).
             * @example Bearer
             * @enum {string}
             */
            token_type: "Bearer";
            /**
             * @description The lifetime of the token, in seconds.
             * @example 172800
             */
            expires_in: number;
        };
        /** @description A confirmation. */
        Message: {
            /**
             * @description What was done, for humans.
             * @example logged out
             */
            msg: string;
        };
        /** @description An active token, without the token itself. */
        Token: {
            /**
             * Format: uuid
             * @description The `jti` claim of the token (RFC 7519, section 4.1.7).
             * @example 4e808214-e320-4173-bb6c-b75fbdd51003
             */
            id: string;
            /**
             * @description What the token is for; for a login token, the start of the User-Agent header.
             * @example backup script
             */
            description: string;
            /**
             * Format: date-time
             * @example 2026-11-23T20:44:00.000Z
             */
            created_at: string;
            /**
             * Format: date-time
             * @example 2026-12-23T20:44:00.000Z
             */
            expires_at: string;
            /**
             * Format: date-time
             * @description Accurate to about five minutes; null if the token was not used yet.
             * @example 2026-11-23T20:44:00.000Z
             */
            last_used_at: string | null;
            /**
             * @description Whether it is the token of this request.
             * @example false
             */
            current: boolean;
        };
        /** @description All active tokens of an account. */
        TokenList: {
            /** @description Newest first. */
            tokens: components["schemas"]["Token"][];
        };
        /** @description A request for a personal access token. */
        TokenRequest: {
            /**
             * Format: description
             * @description What the token is for, in one line.
             * @example backup script
             */
            description: string;
            /**
             * @description The lifetime of the token, in seconds: 30 days by default, at most one year.
             * @default 2592000
             * @example 2592000
             */
            expires_in?: number;
            /**
             * Format: current-password
             * @description The password of the account: required if the login is older than 15 minutes.
             * @example correct horse battery staple
             */
            password?: string;
            /**
             * @description If the second factor is on: six digits of the authenticator app, or a recovery code, which is used up.
             * @example 492039
             */
            code?: string;
        };
        /** @description A new token. The server shows its text only once. */
        NewToken: {
            /**
             * Format: uuid
             * @description The `jti` claim of the token (RFC 7519, section 4.1.7).
             * @example 4e808214-e320-4173-bb6c-b75fbdd51003
             */
            id: string;
            /**
             * @description What the token is for; for a login token, the start of the User-Agent header.
             * @example backup script
             */
            description: string;
            /**
             * Format: date-time
             * @example 2026-11-23T20:44:00.000Z
             */
            created_at: string;
            /**
             * Format: date-time
             * @example 2026-12-23T20:44:00.000Z
             */
            expires_at: string;
            /**
             * Format: date-time
             * @description Accurate to about five minutes; null if the token was not used yet.
             * @example 2026-11-23T20:44:00.000Z
             */
            last_used_at: string | null;
            /**
             * @description Whether it is the token of this request.
             * @example false
             */
            current: boolean;
            /**
             * @description A JSON Web Token. Send it as `Authorization: Bearer <token>`.
             * @example eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJ1c2VyX2lkIjoxfQ.c2lnbmF0dXJl
             */
            token: string;
        };
        /** @description The state of a second factor. */
        SecondFactor: {
            /**
             * Format: date-time
             * @description When the second factor was switched on (RFC 3339, UTC); null while it is off.
             * @example 2026-11-23T20:44:00.000Z
             */
            enabled_at: string | null;
            /**
             * @description How many recovery codes were not used.
             * @example 10
             */
            recovery_codes_left: number;
        };
        /** @description What confirms a change of the second factor: the password and, if it is on, a code. */
        SecondFactorConfirmation: {
            /**
             * Format: current-password
             * @description The password of the account.
             * @example correct horse battery staple
             */
            password: string;
            /**
             * @description If the second factor is on: six digits of the authenticator app, or a recovery code, which is used up.
             * @example 492039
             */
            code?: string;
        };
        /** @description A new secret, which counts once a code has proven it. */
        Enrolment: {
            /**
             * @description The new secret in base32, to be typed into an authenticator app. The server shows it only once.
             * @example JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP
             */
            secret: string;
            /**
             * @description The same as the content of a QR code.
             * @example otpauth://totp/login.example.com:ada?issuer=login.example.com&secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&algorithm=SHA1&digits=6&period=30
             */
            uri: string;
            /**
             * @description Send it with a code of the app to switch the second factor on.
             * @example 7ZK3QX9M2BVN4TRC8HWD5FJE
             */
            enrolment: string;
            /**
             * @description For how long that can be done, in seconds.
             * @example 600
             */
            expires_in: number;
        };
        /** @description The proof that an authenticator app has the secret. */
        EnrolmentProof: {
            /**
             * @description The `enrolment` of the secret.
             * @example 7ZK3QX9M2BVN4TRC8HWD5FJE
             */
            enrolment: string;
            /**
             * @description Six digits of the authenticator app that has the secret.
             * @example 492039
             */
            code: string;
        };
        /** @description New recovery codes. The old ones are not valid any longer. */
        RecoveryCodes: {
            /** @description Each works once, in place of a code of the authenticator app. Case and dashes do not matter. The server shows them only once. */
            recovery_codes: string[];
        };
        /** @description A request for a new password. */
        PasswordResetRequest: {
            /**
             * Format: email
             * @description The email of the account, in any case.
             * @example ada@example.com
             */
            email: string;
        };
        /** @description A new password, and the code that permits it. */
        PasswordReset: {
            /**
             * @description The code that was mailed or handed over. Case, dashes and spaces do not count; O is read as 0, I and L as 1.
             * @example 7M2K-9QXV-4TBN-8DHP-3WZR-6FYC
             */
            code: string;
            /**
             * Format: new-password
             * @description The rules are those of a signup.
             * @example incorrect donkey charger clip
             */
            new_password: string;
        };
        /** @description An account, as admins see it. */
        ManagedUser: {
            /**
             * @description Never reused, not even after the account is deleted.
             * @example 1
             */
            id: number;
            /**
             * @description As written at signup.
             * @example ada
             */
            username: string;
            /**
             * @description As written at signup; null if there is none.
             * @example ada@example.com
             */
            email: string | null;
            /**
             * @description Whether the owner has proven that the email is theirs.
             * @example false
             */
            email_verified: boolean;
            /**
             * Format: date-time
             * @description When the account was created (RFC 3339, UTC).
             * @example 2026-11-23T20:44:00.000Z
             */
            created_at: string;
            /**
             * @description Whether logging in needs a code as well.
             * @example false
             */
            second_factor: boolean;
            /**
             * Format: date-time
             * @description When an admin disabled the account; null while it is enabled.
             * @example null
             */
            disabled_at: string | null;
            /** @description The names of the roles, sorted. */
            roles: string[];
        };
        /** @description A page of accounts. */
        UserList: {
            /** @description By username, in lower case. */
            users: components["schemas"]["ManagedUser"][];
            /**
             * @description Send it as `cursor` to get the next page; null on the last page.
             * @example YWRh
             */
            next_cursor: string | null;
        };
        /** @description An account with its details. */
        UserDetails: {
            /**
             * @description Never reused, not even after the account is deleted.
             * @example 1
             */
            id: number;
            /**
             * @description As written at signup.
             * @example ada
             */
            username: string;
            /**
             * @description As written at signup; null if there is none.
             * @example ada@example.com
             */
            email: string | null;
            /**
             * @description Whether the owner has proven that the email is theirs.
             * @example false
             */
            email_verified: boolean;
            /**
             * Format: date-time
             * @description When the account was created (RFC 3339, UTC).
             * @example 2026-11-23T20:44:00.000Z
             */
            created_at: string;
            /**
             * @description Whether logging in needs a code as well.
             * @example false
             */
            second_factor: boolean;
            /**
             * Format: date-time
             * @description When an admin disabled the account; null while it is enabled.
             * @example null
             */
            disabled_at: string | null;
            /** @description The names of the roles, sorted. */
            roles: string[];
            /**
             * Format: date-time
             * @description Accurate to about a day: the exact time while the token of the last login exists. Null if no login is known: there was none in the last 90 days, or a new password was set since.
             * @example 2026-11-23T20:44:00.000Z
             */
            last_login_at: string | null;
            /**
             * @description How many active tokens the account has.
             * @example 1
             */
            token_count: number;
        };
        /** @description A new account without a password. */
        NewUserRequest: {
            /**
             * Format: username
             * @description ASCII letters, digits and `_ . @ + -`; it must not begin with `-` or be `.` or `..`. If it contains `@`, it must be the email of the account, and becomes its email if it has none.
             * @example grace
             */
            username: string;
            /**
             * Format: email
             * @description One email address, unique without regard to case. For none, omit it or send null.
             * @example grace@example.com
             */
            email?: string | null;
            /**
             * @description The names of the roles that the account gets.
             * @example []
             */
            roles?: string[];
        };
        /** @description A new account, and the code with which its owner sets a password. */
        NewUser: {
            user: components["schemas"]["ManagedUser"];
            /**
             * @description With this code the owner sets a password. The server shows it only once.
             * @example 7ZK3QX9M2BVN4TRC8HWD5FJE
             */
            code: string;
            /**
             * @description The link to the page that takes the code; null if the server does not know its `PUBLIC_URL`.
             * @example https://login.example.com/ui/reset#7ZK3QX9M2BVN4TRC8HWD5FJE
             */
            url: string | null;
            /**
             * Format: date-time
             * @description Until when the code is valid (RFC 3339, UTC).
             * @example 2026-11-24T20:44:00.000Z
             */
            expires_at: string;
        };
        /** @description A request for a code. An empty body is permitted. */
        ResetCodeRequest: {
            /**
             * @description How long the code is valid, in seconds: 24 hours by default, at most a week.
             * @default 86400
             * @example 86400
             */
            expires_in?: number;
        };
        /** @description A code with which the owner of an account sets a password. */
        ResetCode: {
            /**
             * @description With this code the owner sets a password. The server shows it only once.
             * @example 7ZK3QX9M2BVN4TRC8HWD5FJE
             */
            code: string;
            /**
             * @description The link to the page that takes the code; null if the server does not know its `PUBLIC_URL`.
             * @example https://login.example.com/ui/reset#7ZK3QX9M2BVN4TRC8HWD5FJE
             */
            url: string | null;
            /**
             * Format: date-time
             * @description Until when the code is valid (RFC 3339, UTC).
             * @example 2026-11-24T20:44:00.000Z
             */
            expires_at: string;
        };
        /** @description A role that users can have. */
        Role: {
            /**
             * Format: role-name
             * @description Lower-case ASCII letters, digits and `_ . -`; it begins with a letter.
             * @example editor
             */
            name: string;
            /**
             * Format: description
             * @description What the role permits, in one line.
             * @example May change articles.
             */
            description: string;
        };
        /** @description All roles. */
        RoleList: {
            /** @description By name. */
            roles: components["schemas"]["Role"][];
        };
        /** @description A request for an invitation. */
        InviteRequest: {
            /**
             * Format: email
             * @description The only email that the account can have; it counts as verified. For any, omit it or send null.
             * @example grace@example.com
             */
            email?: string | null;
            /** @description The names of the roles that the account gets. */
            roles?: string[];
            /**
             * @description How long the invitation is valid, in seconds: 7 days by default, at most 30 days.
             * @default 604800
             * @example 604800
             */
            expires_in?: number;
        };
        /** @description A new invitation. The server shows its code only once. */
        NewInvite: {
            /**
             * @description The hash under which the code is stored. It says nothing about the code.
             * @example q1rOFJ3mMB3GhXWDsRAyZbYs1Y0SkQ1b8tB7nqd0qFE
             */
            id: string;
            /**
             * @description Send it as `invite` to `POST /api/v1/signup`. Case and dashes do not matter, O counts as 0, and I and L as 1.
             * @example 7K3M9QX2VBN4T8RWHD5CZ0PA
             */
            code: string;
            /**
             * @description The link that has the code; null if the server has no `PUBLIC_URL`.
             * @example https://login.example.com/ui/signup#7K3M9QX2VBN4T8RWHD5CZ0PA
             */
            url: string | null;
            /**
             * Format: date-time
             * @example 2026-12-01T20:44:00.000Z
             */
            expires_at: string;
        };
        /** @description An open invitation, without its code. */
        Invite: {
            /**
             * @description The hash under which the code is stored. It says nothing about the code.
             * @example q1rOFJ3mMB3GhXWDsRAyZbYs1Y0SkQ1b8tB7nqd0qFE
             */
            id: string;
            /**
             * @description The only email that the account can have; null for any.
             * @example grace@example.com
             */
            email: string | null;
            /** @description The names of the roles that the account gets, sorted. */
            roles: string[];
            /**
             * Format: date-time
             * @example 2026-11-24T20:44:00.000Z
             */
            created_at: string;
            /**
             * Format: date-time
             * @example 2026-12-01T20:44:00.000Z
             */
            expires_at: string;
        };
        /** @description All open invitations. */
        InviteList: {
            /** @description Newest first. */
            invites: components["schemas"]["Invite"][];
        };
        /** @description An event of the audit log. */
        Event: {
            /**
             * @description Later events have higher ids.
             * @example 42
             */
            id: number;
            /**
             * Format: date-time
             * @description When it happened (RFC 3339, UTC).
             * @example 2026-11-24T20:44:00.000Z
             */
            time: string;
            /**
             * @description What happened.
             * @example login
             * @enum {string}
             */
            kind: "signup" | "login" | "login_failure" | "backoff" | "unlock" | "renewal" | "logout" | "token_creation" | "revocation" | "eviction" | "password_change" | "role_change" | "deletion" | "user_creation" | "disabling" | "enabling" | "reset_request" | "password_reset" | "email_change" | "email_verification" | "username_change" | "second_factor_change" | "invitation" | "export" | "import" | "restore" | "reset";
            /**
             * @description `success`, or why it failed.
             * @example success
             * @enum {string}
             */
            outcome: "success" | "username_unknown" | "password_incorrect" | "code_incorrect" | "password_changed_concurrently" | "user_deleted_concurrently" | "account_disabled";
            /**
             * @description What caused it: `http` (a request), `cli` (the command line) or `app` (the app that embeds Latchkey).
             * @example http
             * @enum {string}
             */
            source: "http" | "cli" | "app";
            /**
             * @description The id of the user it happened to; null if the event has no user.
             * @example 1
             */
            user_id: number | null;
            /**
             * @description The username of that user; null if the user was deleted.
             * @example ada
             */
            username: string | null;
            /**
             * @description The id of the user who caused it, if that is another user.
             * @example null
             */
            actor_id: number | null;
            /**
             * @description Details, such as the role or the id of the token.
             * @example null
             */
            detail: string | null;
            /**
             * @description The IP address of the client.
             * @example 203.0.113.7
             */
            address: string | null;
            /**
             * @description The start of the User-Agent header.
             * @example curl/8.14.1
             */
            user_agent: string | null;
            /**
             * @description The `reqId` of the request in the server log.
             * @example wtZmQ_ziJoRT-2f
             */
            request_id: string | null;
        };
        /** @description A page of events. */
        EventList: {
            /** @description Newest first. */
            events: components["schemas"]["Event"][];
            /**
             * @description Send it as `cursor` to get the next page; null on the last page.
             * @example 41
             */
            next_cursor: string | null;
        };
        /** @description The server works. */
        Health: {
            /**
             * @example ok
             * @enum {string}
             */
            status: "ok";
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
    signUp: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SignupRequest"];
            };
        };
        responses: {
            /** @description The account was created. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SignupResponse"];
                };
            };
            /** @description `BODY_MALFORMED`: the body is not valid JSON */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "BODY_MALFORMED";
                    };
                };
            };
            /** @description `SIGNUP_CLOSED`: signup is closed; `INVITE_REQUIRED`: signup needs an invitation; `CODE_INVALID`: the code is not valid, or not any longer */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "SIGNUP_CLOSED" | "INVITE_REQUIRED" | "CODE_INVALID";
                    };
                };
            };
            /** @description `USERNAME_TAKEN`: username already taken; `EMAIL_TAKEN`: email already signed-up */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "USERNAME_TAKEN" | "EMAIL_TAKEN";
                    };
                };
            };
            /** @description `BODY_TOO_LARGE`: the body is too large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "BODY_TOO_LARGE";
                    };
                };
            };
            /** @description `MEDIA_TYPE_UNSUPPORTED`: the body must be application/json */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "MEDIA_TYPE_UNSUPPORTED";
                    };
                };
            };
            /** @description `VALIDATION_FAILED`: the request does not match its schema */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ValidationErrorResponse"] & {
                        /** @enum {string} */
                        code: "VALIDATION_FAILED";
                    };
                };
            };
            /** @description `TOO_MANY_ATTEMPTS`: too many attempts: try again later */
            429: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOO_MANY_ATTEMPTS";
                    };
                };
            };
            /** @description `INTERNAL_SERVER_ERROR` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "INTERNAL_SERVER_ERROR";
                    };
                };
            };
            /** @description `SERVICE_UNAVAILABLE`; `OVERLOADED` */
            503: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "SERVICE_UNAVAILABLE" | "OVERLOADED";
                    };
                };
            };
        };
    };
    getMe: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description An account with its roles. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Account"];
                };
            };
            /** @description `AUTHORIZATION_MISSING`: no Authorization header found; `TOKEN_CLAIMS_INVALID`: token is not valid; `USER_NOT_FOUND`: 404 User not found */
            400: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "AUTHORIZATION_MISSING" | "TOKEN_CLAIMS_INVALID" | "USER_NOT_FOUND";
                    };
                };
            };
            /** @description `TOKEN_INVALID`: token is invalid; `TOKEN_EXPIRED`: token has expired; `TOKEN_REVOKED`: token has been revoked */
            401: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOKEN_INVALID" | "TOKEN_EXPIRED" | "TOKEN_REVOKED";
                    };
                };
            };
            /** @description `INTERNAL_SERVER_ERROR` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "INTERNAL_SERVER_ERROR";
                    };
                };
            };
            /** @description `SERVICE_UNAVAILABLE` */
            503: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "SERVICE_UNAVAILABLE";
                    };
                };
            };
        };
    };
    deleteMe: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["AccountDeletion"];
            };
        };
        responses: {
            /** @description The account was deleted. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `AUTHORIZATION_MISSING`: no Authorization header found; `TOKEN_CLAIMS_INVALID`: token is not valid; `USER_NOT_FOUND`: 404 User not found; `BODY_MALFORMED`: the body is not valid JSON */
            400: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "AUTHORIZATION_MISSING" | "TOKEN_CLAIMS_INVALID" | "USER_NOT_FOUND" | "BODY_MALFORMED";
                    };
                };
            };
            /** @description `TOKEN_INVALID`: token is invalid; `TOKEN_EXPIRED`: token has expired; `TOKEN_REVOKED`: token has been revoked; `PASSWORD_INCORRECT`: password incorrect; `CODE_REQUIRED`: a code of the second factor is needed; `CODE_INCORRECT`: code incorrect */
            401: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOKEN_INVALID" | "TOKEN_EXPIRED" | "TOKEN_REVOKED" | "PASSWORD_INCORRECT" | "CODE_REQUIRED" | "CODE_INCORRECT";
                    };
                };
            };
            /** @description `LAST_ADMIN`: this would leave nobody with the role admin */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "LAST_ADMIN";
                    };
                };
            };
            /** @description `BODY_TOO_LARGE`: the body is too large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "BODY_TOO_LARGE";
                    };
                };
            };
            /** @description `MEDIA_TYPE_UNSUPPORTED`: the body must be application/json */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "MEDIA_TYPE_UNSUPPORTED";
                    };
                };
            };
            /** @description `VALIDATION_FAILED`: the request does not match its schema */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ValidationErrorResponse"] & {
                        /** @enum {string} */
                        code: "VALIDATION_FAILED";
                    };
                };
            };
            /** @description `TOO_MANY_ATTEMPTS`: too many attempts: try again later */
            429: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOO_MANY_ATTEMPTS";
                    };
                };
            };
            /** @description `INTERNAL_SERVER_ERROR` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "INTERNAL_SERVER_ERROR";
                    };
                };
            };
            /** @description `SERVICE_UNAVAILABLE`; `OVERLOADED` */
            503: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "SERVICE_UNAVAILABLE" | "OVERLOADED";
                    };
                };
            };
        };
    };
    changePassword: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PasswordChange"];
            };
        };
        responses: {
            /** @description The password was changed. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `AUTHORIZATION_MISSING`: no Authorization header found; `TOKEN_CLAIMS_INVALID`: token is not valid; `USER_NOT_FOUND`: 404 User not found; `BODY_MALFORMED`: the body is not valid JSON */
            400: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "AUTHORIZATION_MISSING" | "TOKEN_CLAIMS_INVALID" | "USER_NOT_FOUND" | "BODY_MALFORMED";
                    };
                };
            };
            /** @description `TOKEN_INVALID`: token is invalid; `TOKEN_EXPIRED`: token has expired; `TOKEN_REVOKED`: token has been revoked; `PASSWORD_INCORRECT`: password incorrect; `CODE_REQUIRED`: a code of the second factor is needed; `CODE_INCORRECT`: code incorrect */
            401: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOKEN_INVALID" | "TOKEN_EXPIRED" | "TOKEN_REVOKED" | "PASSWORD_INCORRECT" | "CODE_REQUIRED" | "CODE_INCORRECT";
                    };
                };
            };
            /** @description `BODY_TOO_LARGE`: the body is too large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "BODY_TOO_LARGE";
                    };
                };
            };
            /** @description `MEDIA_TYPE_UNSUPPORTED`: the body must be application/json */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "MEDIA_TYPE_UNSUPPORTED";
                    };
                };
            };
            /** @description `VALIDATION_FAILED`: the request does not match its schema */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ValidationErrorResponse"] & {
                        /** @enum {string} */
                        code: "VALIDATION_FAILED";
                    };
                };
            };
            /** @description `TOO_MANY_ATTEMPTS`: too many attempts: try again later */
            429: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOO_MANY_ATTEMPTS";
                    };
                };
            };
            /** @description `INTERNAL_SERVER_ERROR` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "INTERNAL_SERVER_ERROR";
                    };
                };
            };
            /** @description `SERVICE_UNAVAILABLE`; `OVERLOADED` */
            503: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "SERVICE_UNAVAILABLE" | "OVERLOADED";
                    };
                };
            };
        };
    };
    deleteMeByPost: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["AccountDeletion"];
            };
        };
        responses: {
            /** @description The account was deleted. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `AUTHORIZATION_MISSING`: no Authorization header found; `TOKEN_CLAIMS_INVALID`: token is not valid; `USER_NOT_FOUND`: 404 User not found; `BODY_MALFORMED`: the body is not valid JSON */
            400: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "AUTHORIZATION_MISSING" | "TOKEN_CLAIMS_INVALID" | "USER_NOT_FOUND" | "BODY_MALFORMED";
                    };
                };
            };
            /** @description `TOKEN_INVALID`: token is invalid; `TOKEN_EXPIRED`: token has expired; `TOKEN_REVOKED`: token has been revoked; `PASSWORD_INCORRECT`: password incorrect; `CODE_REQUIRED`: a code of the second factor is needed; `CODE_INCORRECT`: code incorrect */
            401: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOKEN_INVALID" | "TOKEN_EXPIRED" | "TOKEN_REVOKED" | "PASSWORD_INCORRECT" | "CODE_REQUIRED" | "CODE_INCORRECT";
                    };
                };
            };
            /** @description `LAST_ADMIN`: this would leave nobody with the role admin */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "LAST_ADMIN";
                    };
                };
            };
            /** @description `BODY_TOO_LARGE`: the body is too large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "BODY_TOO_LARGE";
                    };
                };
            };
            /** @description `MEDIA_TYPE_UNSUPPORTED`: the body must be application/json */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "MEDIA_TYPE_UNSUPPORTED";
                    };
                };
            };
            /** @description `VALIDATION_FAILED`: the request does not match its schema */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ValidationErrorResponse"] & {
                        /** @enum {string} */
                        code: "VALIDATION_FAILED";
                    };
                };
            };
            /** @description `TOO_MANY_ATTEMPTS`: too many attempts: try again later */
            429: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOO_MANY_ATTEMPTS";
                    };
                };
            };
            /** @description `INTERNAL_SERVER_ERROR` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "INTERNAL_SERVER_ERROR";
                    };
                };
            };
            /** @description `SERVICE_UNAVAILABLE`; `OVERLOADED` */
            503: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "SERVICE_UNAVAILABLE" | "OVERLOADED";
                    };
                };
            };
        };
    };
    changeUsername: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["UsernameChange"];
            };
        };
        responses: {
            /** @description The username was changed. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `AUTHORIZATION_MISSING`: no Authorization header found; `TOKEN_CLAIMS_INVALID`: token is not valid; `USER_NOT_FOUND`: 404 User not found; `BODY_MALFORMED`: the body is not valid JSON */
            400: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "AUTHORIZATION_MISSING" | "TOKEN_CLAIMS_INVALID" | "USER_NOT_FOUND" | "BODY_MALFORMED";
                    };
                };
            };
            /** @description `TOKEN_INVALID`: token is invalid; `TOKEN_EXPIRED`: token has expired; `TOKEN_REVOKED`: token has been revoked; `PASSWORD_INCORRECT`: password incorrect; `CODE_REQUIRED`: a code of the second factor is needed; `CODE_INCORRECT`: code incorrect */
            401: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOKEN_INVALID" | "TOKEN_EXPIRED" | "TOKEN_REVOKED" | "PASSWORD_INCORRECT" | "CODE_REQUIRED" | "CODE_INCORRECT";
                    };
                };
            };
            /** @description `USERNAME_TAKEN`: username already taken; `EMAIL_TAKEN`: email already signed-up */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "USERNAME_TAKEN" | "EMAIL_TAKEN";
                    };
                };
            };
            /** @description `BODY_TOO_LARGE`: the body is too large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "BODY_TOO_LARGE";
                    };
                };
            };
            /** @description `MEDIA_TYPE_UNSUPPORTED`: the body must be application/json */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "MEDIA_TYPE_UNSUPPORTED";
                    };
                };
            };
            /** @description `VALIDATION_FAILED`: the request does not match its schema */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ValidationErrorResponse"] & {
                        /** @enum {string} */
                        code: "VALIDATION_FAILED";
                    };
                };
            };
            /** @description `TOO_MANY_ATTEMPTS`: too many attempts: try again later */
            429: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOO_MANY_ATTEMPTS";
                    };
                };
            };
            /** @description `INTERNAL_SERVER_ERROR` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "INTERNAL_SERVER_ERROR";
                    };
                };
            };
            /** @description `SERVICE_UNAVAILABLE`; `OVERLOADED` */
            503: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "SERVICE_UNAVAILABLE" | "OVERLOADED";
                    };
                };
            };
        };
    };
    changeEmail: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["EmailChange"];
            };
        };
        responses: {
            /** @description A code was mailed to the address. */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description The account has this email, or none. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `AUTHORIZATION_MISSING`: no Authorization header found; `TOKEN_CLAIMS_INVALID`: token is not valid; `USER_NOT_FOUND`: 404 User not found; `BODY_MALFORMED`: the body is not valid JSON */
            400: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "AUTHORIZATION_MISSING" | "TOKEN_CLAIMS_INVALID" | "USER_NOT_FOUND" | "BODY_MALFORMED";
                    };
                };
            };
            /** @description `TOKEN_INVALID`: token is invalid; `TOKEN_EXPIRED`: token has expired; `TOKEN_REVOKED`: token has been revoked; `PASSWORD_INCORRECT`: password incorrect; `CODE_REQUIRED`: a code of the second factor is needed; `CODE_INCORRECT`: code incorrect */
            401: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOKEN_INVALID" | "TOKEN_EXPIRED" | "TOKEN_REVOKED" | "PASSWORD_INCORRECT" | "CODE_REQUIRED" | "CODE_INCORRECT";
                    };
                };
            };
            /** @description `EMAIL_TAKEN`: email already signed-up */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "EMAIL_TAKEN";
                    };
                };
            };
            /** @description `BODY_TOO_LARGE`: the body is too large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "BODY_TOO_LARGE";
                    };
                };
            };
            /** @description `MEDIA_TYPE_UNSUPPORTED`: the body must be application/json */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "MEDIA_TYPE_UNSUPPORTED";
                    };
                };
            };
            /** @description `VALIDATION_FAILED`: the request does not match its schema */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ValidationErrorResponse"] & {
                        /** @enum {string} */
                        code: "VALIDATION_FAILED";
                    };
                };
            };
            /** @description `TOO_MANY_ATTEMPTS`: too many attempts: try again later */
            429: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOO_MANY_ATTEMPTS";
                    };
                };
            };
            /** @description `INTERNAL_SERVER_ERROR` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "INTERNAL_SERVER_ERROR";
                    };
                };
            };
            /** @description `SERVICE_UNAVAILABLE`; `OVERLOADED` */
            503: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "SERVICE_UNAVAILABLE" | "OVERLOADED";
                    };
                };
            };
        };
    };
    verifyEmail: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["EmailVerification"];
            };
        };
        responses: {
            /** @description The email is verified. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `BODY_MALFORMED`: the body is not valid JSON */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "BODY_MALFORMED";
                    };
                };
            };
            /** @description `CODE_INVALID`: the code is not valid, or not any longer */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "CODE_INVALID";
                    };
                };
            };
            /** @description `EMAIL_TAKEN`: email already signed-up */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "EMAIL_TAKEN";
                    };
                };
            };
            /** @description `BODY_TOO_LARGE`: the body is too large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "BODY_TOO_LARGE";
                    };
                };
            };
            /** @description `MEDIA_TYPE_UNSUPPORTED`: the body must be application/json */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "MEDIA_TYPE_UNSUPPORTED";
                    };
                };
            };
            /** @description `VALIDATION_FAILED`: the request does not match its schema */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ValidationErrorResponse"] & {
                        /** @enum {string} */
                        code: "VALIDATION_FAILED";
                    };
                };
            };
            /** @description `INTERNAL_SERVER_ERROR` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "INTERNAL_SERVER_ERROR";
                    };
                };
            };
        };
    };
    mailEmailVerification: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A code was mailed, now or in the last minute. */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `AUTHORIZATION_MISSING`: no Authorization header found; `TOKEN_CLAIMS_INVALID`: token is not valid; `USER_NOT_FOUND`: 404 User not found; `BODY_UNEXPECTED`: this request must not have a body */
            400: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "AUTHORIZATION_MISSING" | "TOKEN_CLAIMS_INVALID" | "USER_NOT_FOUND" | "BODY_UNEXPECTED";
                    };
                };
            };
            /** @description `TOKEN_INVALID`: token is invalid; `TOKEN_EXPIRED`: token has expired; `TOKEN_REVOKED`: token has been revoked */
            401: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOKEN_INVALID" | "TOKEN_EXPIRED" | "TOKEN_REVOKED";
                    };
                };
            };
            /** @description `EMAIL_MISSING`: the account has no email; `EMAIL_VERIFIED`: the email is verified already; `MAIL_NOT_CONFIGURED`: this server sends no mails */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "EMAIL_MISSING" | "EMAIL_VERIFIED" | "MAIL_NOT_CONFIGURED";
                    };
                };
            };
            /** @description `TOO_MANY_ATTEMPTS`: too many attempts: try again later */
            429: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOO_MANY_ATTEMPTS";
                    };
                };
            };
            /** @description `INTERNAL_SERVER_ERROR` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "INTERNAL_SERVER_ERROR";
                    };
                };
            };
            /** @description `SERVICE_UNAVAILABLE` */
            503: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "SERVICE_UNAVAILABLE";
                    };
                };
            };
        };
    };
    logIn: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["LoginRequest"];
            };
        };
        responses: {
            /** @description A token, in the shape of RFC 6749, section 5.1. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["LoginResponse"];
                };
            };
            /** @description `BODY_MALFORMED`: the body is not valid JSON */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "BODY_MALFORMED";
                    };
                };
            };
            /** @description `PASSWORD_INCORRECT`: password incorrect; `CREDENTIALS_INCORRECT`: username or password incorrect; `CODE_REQUIRED`: a code of the second factor is needed; `CODE_INCORRECT`: code incorrect */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "PASSWORD_INCORRECT" | "CREDENTIALS_INCORRECT" | "CODE_REQUIRED" | "CODE_INCORRECT";
                    };
                };
            };
            /** @description `ACCOUNT_DISABLED`: this account is disabled */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "ACCOUNT_DISABLED";
                    };
                };
            };
            /** @description `USERNAME_UNKNOWN`: username incorrect */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "USERNAME_UNKNOWN";
                    };
                };
            };
            /** @description `BODY_TOO_LARGE`: the body is too large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "BODY_TOO_LARGE";
                    };
                };
            };
            /** @description `MEDIA_TYPE_UNSUPPORTED`: the body must be application/json */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "MEDIA_TYPE_UNSUPPORTED";
                    };
                };
            };
            /** @description `VALIDATION_FAILED`: the request does not match its schema */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ValidationErrorResponse"] & {
                        /** @enum {string} */
                        code: "VALIDATION_FAILED";
                    };
                };
            };
            /** @description `TOO_MANY_ATTEMPTS`: too many attempts: try again later */
            429: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOO_MANY_ATTEMPTS";
                    };
                };
            };
            /** @description `INTERNAL_SERVER_ERROR` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "INTERNAL_SERVER_ERROR";
                    };
                };
            };
            /** @description `SERVICE_UNAVAILABLE`; `OVERLOADED` */
            503: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "SERVICE_UNAVAILABLE" | "OVERLOADED";
                    };
                };
            };
        };
    };
    renewToken: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A token, in the shape of RFC 6749, section 5.1. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["LoginResponse"];
                };
            };
            /** @description `AUTHORIZATION_MISSING`: no Authorization header found; `TOKEN_CLAIMS_INVALID`: token is not valid; `USER_NOT_FOUND`: 404 User not found; `BODY_UNEXPECTED`: this request must not have a body */
            400: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "AUTHORIZATION_MISSING" | "TOKEN_CLAIMS_INVALID" | "USER_NOT_FOUND" | "BODY_UNEXPECTED";
                    };
                };
            };
            /** @description `TOKEN_INVALID`: token is invalid; `TOKEN_EXPIRED`: token has expired; `TOKEN_REVOKED`: token has been revoked; `LOGIN_TOO_OLD`: your login is too old: log in again */
            401: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOKEN_INVALID" | "TOKEN_EXPIRED" | "TOKEN_REVOKED" | "LOGIN_TOO_OLD";
                    };
                };
            };
            /** @description `LOGIN_REQUIRED`: this needs the token of a login */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "LOGIN_REQUIRED";
                    };
                };
            };
            /** @description `TOO_MANY_ATTEMPTS`: too many attempts: try again later */
            429: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOO_MANY_ATTEMPTS";
                    };
                };
            };
            /** @description `INTERNAL_SERVER_ERROR` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "INTERNAL_SERVER_ERROR";
                    };
                };
            };
            /** @description `SERVICE_UNAVAILABLE` */
            503: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "SERVICE_UNAVAILABLE";
                    };
                };
            };
        };
    };
    logOut: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A confirmation. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Message"];
                };
            };
            /** @description `AUTHORIZATION_MISSING`: no Authorization header found; `TOKEN_CLAIMS_INVALID`: token is not valid; `USER_NOT_FOUND`: 404 User not found; `BODY_UNEXPECTED`: this request must not have a body */
            400: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "AUTHORIZATION_MISSING" | "TOKEN_CLAIMS_INVALID" | "USER_NOT_FOUND" | "BODY_UNEXPECTED";
                    };
                };
            };
            /** @description `TOKEN_INVALID`: token is invalid; `TOKEN_EXPIRED`: token has expired; `TOKEN_REVOKED`: token has been revoked */
            401: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOKEN_INVALID" | "TOKEN_EXPIRED" | "TOKEN_REVOKED";
                    };
                };
            };
            /** @description `INTERNAL_SERVER_ERROR` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "INTERNAL_SERVER_ERROR";
                    };
                };
            };
            /** @description `SERVICE_UNAVAILABLE` */
            503: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "SERVICE_UNAVAILABLE";
                    };
                };
            };
        };
    };
    listTokens: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description All active tokens of an account. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TokenList"];
                };
            };
            /** @description `AUTHORIZATION_MISSING`: no Authorization header found; `TOKEN_CLAIMS_INVALID`: token is not valid; `USER_NOT_FOUND`: 404 User not found */
            400: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "AUTHORIZATION_MISSING" | "TOKEN_CLAIMS_INVALID" | "USER_NOT_FOUND";
                    };
                };
            };
            /** @description `TOKEN_INVALID`: token is invalid; `TOKEN_EXPIRED`: token has expired; `TOKEN_REVOKED`: token has been revoked */
            401: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOKEN_INVALID" | "TOKEN_EXPIRED" | "TOKEN_REVOKED";
                    };
                };
            };
            /** @description `INTERNAL_SERVER_ERROR` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "INTERNAL_SERVER_ERROR";
                    };
                };
            };
            /** @description `SERVICE_UNAVAILABLE` */
            503: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "SERVICE_UNAVAILABLE";
                    };
                };
            };
        };
    };
    createToken: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["TokenRequest"];
            };
        };
        responses: {
            /** @description A new token. The server shows its text only once. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["NewToken"];
                };
            };
            /** @description `AUTHORIZATION_MISSING`: no Authorization header found; `TOKEN_CLAIMS_INVALID`: token is not valid; `USER_NOT_FOUND`: 404 User not found; `BODY_MALFORMED`: the body is not valid JSON */
            400: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "AUTHORIZATION_MISSING" | "TOKEN_CLAIMS_INVALID" | "USER_NOT_FOUND" | "BODY_MALFORMED";
                    };
                };
            };
            /** @description `TOKEN_INVALID`: token is invalid; `TOKEN_EXPIRED`: token has expired; `TOKEN_REVOKED`: token has been revoked; `PASSWORD_INCORRECT`: password incorrect; `CODE_REQUIRED`: a code of the second factor is needed; `CODE_INCORRECT`: code incorrect; `LOGIN_TOO_OLD`: your login is too old: log in again */
            401: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOKEN_INVALID" | "TOKEN_EXPIRED" | "TOKEN_REVOKED" | "PASSWORD_INCORRECT" | "CODE_REQUIRED" | "CODE_INCORRECT" | "LOGIN_TOO_OLD";
                    };
                };
            };
            /** @description `LOGIN_REQUIRED`: this needs the token of a login */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "LOGIN_REQUIRED";
                    };
                };
            };
            /** @description `TOO_MANY_TOKENS`: you have too many access tokens: delete one first */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOO_MANY_TOKENS";
                    };
                };
            };
            /** @description `BODY_TOO_LARGE`: the body is too large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "BODY_TOO_LARGE";
                    };
                };
            };
            /** @description `MEDIA_TYPE_UNSUPPORTED`: the body must be application/json */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "MEDIA_TYPE_UNSUPPORTED";
                    };
                };
            };
            /** @description `VALIDATION_FAILED`: the request does not match its schema */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ValidationErrorResponse"] & {
                        /** @enum {string} */
                        code: "VALIDATION_FAILED";
                    };
                };
            };
            /** @description `TOO_MANY_ATTEMPTS`: too many attempts: try again later */
            429: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOO_MANY_ATTEMPTS";
                    };
                };
            };
            /** @description `INTERNAL_SERVER_ERROR` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "INTERNAL_SERVER_ERROR";
                    };
                };
            };
            /** @description `SERVICE_UNAVAILABLE`; `OVERLOADED` */
            503: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "SERVICE_UNAVAILABLE" | "OVERLOADED";
                    };
                };
            };
        };
    };
    revokeTokens: {
        parameters: {
            query?: {
                /** @description `others` keeps the token of this request. */
                scope?: "all" | "others";
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A confirmation. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Message"];
                };
            };
            /** @description `AUTHORIZATION_MISSING`: no Authorization header found; `TOKEN_CLAIMS_INVALID`: token is not valid; `USER_NOT_FOUND`: 404 User not found; `BODY_UNEXPECTED`: this request must not have a body */
            400: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "AUTHORIZATION_MISSING" | "TOKEN_CLAIMS_INVALID" | "USER_NOT_FOUND" | "BODY_UNEXPECTED";
                    };
                };
            };
            /** @description `TOKEN_INVALID`: token is invalid; `TOKEN_EXPIRED`: token has expired; `TOKEN_REVOKED`: token has been revoked */
            401: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOKEN_INVALID" | "TOKEN_EXPIRED" | "TOKEN_REVOKED";
                    };
                };
            };
            /** @description `VALIDATION_FAILED`: the request does not match its schema */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ValidationErrorResponse"] & {
                        /** @enum {string} */
                        code: "VALIDATION_FAILED";
                    };
                };
            };
            /** @description `INTERNAL_SERVER_ERROR` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "INTERNAL_SERVER_ERROR";
                    };
                };
            };
            /** @description `SERVICE_UNAVAILABLE` */
            503: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "SERVICE_UNAVAILABLE";
                    };
                };
            };
        };
    };
    revokeToken: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /**
                 * @description The `id` of the token.
                 * @example 4e808214-e320-4173-bb6c-b75fbdd51003
                 */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A confirmation. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Message"];
                };
            };
            /** @description `AUTHORIZATION_MISSING`: no Authorization header found; `TOKEN_CLAIMS_INVALID`: token is not valid; `USER_NOT_FOUND`: 404 User not found; `BODY_UNEXPECTED`: this request must not have a body */
            400: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "AUTHORIZATION_MISSING" | "TOKEN_CLAIMS_INVALID" | "USER_NOT_FOUND" | "BODY_UNEXPECTED";
                    };
                };
            };
            /** @description `TOKEN_INVALID`: token is invalid; `TOKEN_EXPIRED`: token has expired; `TOKEN_REVOKED`: token has been revoked */
            401: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOKEN_INVALID" | "TOKEN_EXPIRED" | "TOKEN_REVOKED";
                    };
                };
            };
            /** @description `TOKEN_NOT_FOUND`: you have no such token */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOKEN_NOT_FOUND";
                    };
                };
            };
            /** @description `INTERNAL_SERVER_ERROR` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "INTERNAL_SERVER_ERROR";
                    };
                };
            };
            /** @description `SERVICE_UNAVAILABLE` */
            503: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "SERVICE_UNAVAILABLE";
                    };
                };
            };
        };
    };
    getSecondFactor: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The state of a second factor. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SecondFactor"];
                };
            };
            /** @description `AUTHORIZATION_MISSING`: no Authorization header found; `TOKEN_CLAIMS_INVALID`: token is not valid; `USER_NOT_FOUND`: 404 User not found */
            400: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "AUTHORIZATION_MISSING" | "TOKEN_CLAIMS_INVALID" | "USER_NOT_FOUND";
                    };
                };
            };
            /** @description `TOKEN_INVALID`: token is invalid; `TOKEN_EXPIRED`: token has expired; `TOKEN_REVOKED`: token has been revoked */
            401: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOKEN_INVALID" | "TOKEN_EXPIRED" | "TOKEN_REVOKED";
                    };
                };
            };
            /** @description `INTERNAL_SERVER_ERROR` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "INTERNAL_SERVER_ERROR";
                    };
                };
            };
            /** @description `SERVICE_UNAVAILABLE` */
            503: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "SERVICE_UNAVAILABLE";
                    };
                };
            };
        };
    };
    enableSecondFactor: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["EnrolmentProof"];
            };
        };
        responses: {
            /** @description New recovery codes. The old ones are not valid any longer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RecoveryCodes"];
                };
            };
            /** @description `AUTHORIZATION_MISSING`: no Authorization header found; `TOKEN_CLAIMS_INVALID`: token is not valid; `USER_NOT_FOUND`: 404 User not found; `BODY_MALFORMED`: the body is not valid JSON */
            400: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "AUTHORIZATION_MISSING" | "TOKEN_CLAIMS_INVALID" | "USER_NOT_FOUND" | "BODY_MALFORMED";
                    };
                };
            };
            /** @description `TOKEN_INVALID`: token is invalid; `TOKEN_EXPIRED`: token has expired; `TOKEN_REVOKED`: token has been revoked; `CODE_INCORRECT`: code incorrect */
            401: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOKEN_INVALID" | "TOKEN_EXPIRED" | "TOKEN_REVOKED" | "CODE_INCORRECT";
                    };
                };
            };
            /** @description `CODE_INVALID`: the code is not valid, or not any longer */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "CODE_INVALID";
                    };
                };
            };
            /** @description `BODY_TOO_LARGE`: the body is too large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "BODY_TOO_LARGE";
                    };
                };
            };
            /** @description `MEDIA_TYPE_UNSUPPORTED`: the body must be application/json */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "MEDIA_TYPE_UNSUPPORTED";
                    };
                };
            };
            /** @description `VALIDATION_FAILED`: the request does not match its schema */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ValidationErrorResponse"] & {
                        /** @enum {string} */
                        code: "VALIDATION_FAILED";
                    };
                };
            };
            /** @description `TOO_MANY_ATTEMPTS`: too many attempts: try again later */
            429: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOO_MANY_ATTEMPTS";
                    };
                };
            };
            /** @description `INTERNAL_SERVER_ERROR` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "INTERNAL_SERVER_ERROR";
                    };
                };
            };
            /** @description `SERVICE_UNAVAILABLE`; `OVERLOADED` */
            503: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "SERVICE_UNAVAILABLE" | "OVERLOADED";
                    };
                };
            };
        };
    };
    enrolSecondFactor: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SecondFactorConfirmation"];
            };
        };
        responses: {
            /** @description A new secret, which counts once a code has proven it. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Enrolment"];
                };
            };
            /** @description `AUTHORIZATION_MISSING`: no Authorization header found; `TOKEN_CLAIMS_INVALID`: token is not valid; `USER_NOT_FOUND`: 404 User not found; `BODY_MALFORMED`: the body is not valid JSON */
            400: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "AUTHORIZATION_MISSING" | "TOKEN_CLAIMS_INVALID" | "USER_NOT_FOUND" | "BODY_MALFORMED";
                    };
                };
            };
            /** @description `TOKEN_INVALID`: token is invalid; `TOKEN_EXPIRED`: token has expired; `TOKEN_REVOKED`: token has been revoked; `PASSWORD_INCORRECT`: password incorrect; `CODE_REQUIRED`: a code of the second factor is needed; `CODE_INCORRECT`: code incorrect */
            401: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOKEN_INVALID" | "TOKEN_EXPIRED" | "TOKEN_REVOKED" | "PASSWORD_INCORRECT" | "CODE_REQUIRED" | "CODE_INCORRECT";
                    };
                };
            };
            /** @description `BODY_TOO_LARGE`: the body is too large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "BODY_TOO_LARGE";
                    };
                };
            };
            /** @description `MEDIA_TYPE_UNSUPPORTED`: the body must be application/json */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "MEDIA_TYPE_UNSUPPORTED";
                    };
                };
            };
            /** @description `VALIDATION_FAILED`: the request does not match its schema */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ValidationErrorResponse"] & {
                        /** @enum {string} */
                        code: "VALIDATION_FAILED";
                    };
                };
            };
            /** @description `TOO_MANY_ATTEMPTS`: too many attempts: try again later */
            429: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOO_MANY_ATTEMPTS";
                    };
                };
            };
            /** @description `INTERNAL_SERVER_ERROR` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "INTERNAL_SERVER_ERROR";
                    };
                };
            };
            /** @description `SERVICE_UNAVAILABLE`; `OVERLOADED` */
            503: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "SERVICE_UNAVAILABLE" | "OVERLOADED";
                    };
                };
            };
        };
    };
    disableSecondFactor: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SecondFactorConfirmation"];
            };
        };
        responses: {
            /** @description The second factor is off. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `AUTHORIZATION_MISSING`: no Authorization header found; `TOKEN_CLAIMS_INVALID`: token is not valid; `USER_NOT_FOUND`: 404 User not found; `BODY_MALFORMED`: the body is not valid JSON */
            400: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "AUTHORIZATION_MISSING" | "TOKEN_CLAIMS_INVALID" | "USER_NOT_FOUND" | "BODY_MALFORMED";
                    };
                };
            };
            /** @description `TOKEN_INVALID`: token is invalid; `TOKEN_EXPIRED`: token has expired; `TOKEN_REVOKED`: token has been revoked; `PASSWORD_INCORRECT`: password incorrect; `CODE_REQUIRED`: a code of the second factor is needed; `CODE_INCORRECT`: code incorrect */
            401: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOKEN_INVALID" | "TOKEN_EXPIRED" | "TOKEN_REVOKED" | "PASSWORD_INCORRECT" | "CODE_REQUIRED" | "CODE_INCORRECT";
                    };
                };
            };
            /** @description `SECOND_FACTOR_OFF`: the account has no second factor */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "SECOND_FACTOR_OFF";
                    };
                };
            };
            /** @description `BODY_TOO_LARGE`: the body is too large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "BODY_TOO_LARGE";
                    };
                };
            };
            /** @description `MEDIA_TYPE_UNSUPPORTED`: the body must be application/json */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "MEDIA_TYPE_UNSUPPORTED";
                    };
                };
            };
            /** @description `VALIDATION_FAILED`: the request does not match its schema */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ValidationErrorResponse"] & {
                        /** @enum {string} */
                        code: "VALIDATION_FAILED";
                    };
                };
            };
            /** @description `TOO_MANY_ATTEMPTS`: too many attempts: try again later */
            429: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOO_MANY_ATTEMPTS";
                    };
                };
            };
            /** @description `INTERNAL_SERVER_ERROR` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "INTERNAL_SERVER_ERROR";
                    };
                };
            };
            /** @description `SERVICE_UNAVAILABLE`; `OVERLOADED` */
            503: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "SERVICE_UNAVAILABLE" | "OVERLOADED";
                    };
                };
            };
        };
    };
    disableSecondFactorByPost: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SecondFactorConfirmation"];
            };
        };
        responses: {
            /** @description The second factor is off. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `AUTHORIZATION_MISSING`: no Authorization header found; `TOKEN_CLAIMS_INVALID`: token is not valid; `USER_NOT_FOUND`: 404 User not found; `BODY_MALFORMED`: the body is not valid JSON */
            400: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "AUTHORIZATION_MISSING" | "TOKEN_CLAIMS_INVALID" | "USER_NOT_FOUND" | "BODY_MALFORMED";
                    };
                };
            };
            /** @description `TOKEN_INVALID`: token is invalid; `TOKEN_EXPIRED`: token has expired; `TOKEN_REVOKED`: token has been revoked; `PASSWORD_INCORRECT`: password incorrect; `CODE_REQUIRED`: a code of the second factor is needed; `CODE_INCORRECT`: code incorrect */
            401: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOKEN_INVALID" | "TOKEN_EXPIRED" | "TOKEN_REVOKED" | "PASSWORD_INCORRECT" | "CODE_REQUIRED" | "CODE_INCORRECT";
                    };
                };
            };
            /** @description `SECOND_FACTOR_OFF`: the account has no second factor */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "SECOND_FACTOR_OFF";
                    };
                };
            };
            /** @description `BODY_TOO_LARGE`: the body is too large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "BODY_TOO_LARGE";
                    };
                };
            };
            /** @description `MEDIA_TYPE_UNSUPPORTED`: the body must be application/json */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "MEDIA_TYPE_UNSUPPORTED";
                    };
                };
            };
            /** @description `VALIDATION_FAILED`: the request does not match its schema */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ValidationErrorResponse"] & {
                        /** @enum {string} */
                        code: "VALIDATION_FAILED";
                    };
                };
            };
            /** @description `TOO_MANY_ATTEMPTS`: too many attempts: try again later */
            429: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOO_MANY_ATTEMPTS";
                    };
                };
            };
            /** @description `INTERNAL_SERVER_ERROR` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "INTERNAL_SERVER_ERROR";
                    };
                };
            };
            /** @description `SERVICE_UNAVAILABLE`; `OVERLOADED` */
            503: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "SERVICE_UNAVAILABLE" | "OVERLOADED";
                    };
                };
            };
        };
    };
    createRecoveryCodes: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SecondFactorConfirmation"];
            };
        };
        responses: {
            /** @description New recovery codes. The old ones are not valid any longer. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RecoveryCodes"];
                };
            };
            /** @description `AUTHORIZATION_MISSING`: no Authorization header found; `TOKEN_CLAIMS_INVALID`: token is not valid; `USER_NOT_FOUND`: 404 User not found; `BODY_MALFORMED`: the body is not valid JSON */
            400: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "AUTHORIZATION_MISSING" | "TOKEN_CLAIMS_INVALID" | "USER_NOT_FOUND" | "BODY_MALFORMED";
                    };
                };
            };
            /** @description `TOKEN_INVALID`: token is invalid; `TOKEN_EXPIRED`: token has expired; `TOKEN_REVOKED`: token has been revoked; `PASSWORD_INCORRECT`: password incorrect; `CODE_REQUIRED`: a code of the second factor is needed; `CODE_INCORRECT`: code incorrect */
            401: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOKEN_INVALID" | "TOKEN_EXPIRED" | "TOKEN_REVOKED" | "PASSWORD_INCORRECT" | "CODE_REQUIRED" | "CODE_INCORRECT";
                    };
                };
            };
            /** @description `SECOND_FACTOR_OFF`: the account has no second factor */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "SECOND_FACTOR_OFF";
                    };
                };
            };
            /** @description `BODY_TOO_LARGE`: the body is too large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "BODY_TOO_LARGE";
                    };
                };
            };
            /** @description `MEDIA_TYPE_UNSUPPORTED`: the body must be application/json */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "MEDIA_TYPE_UNSUPPORTED";
                    };
                };
            };
            /** @description `VALIDATION_FAILED`: the request does not match its schema */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ValidationErrorResponse"] & {
                        /** @enum {string} */
                        code: "VALIDATION_FAILED";
                    };
                };
            };
            /** @description `TOO_MANY_ATTEMPTS`: too many attempts: try again later */
            429: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOO_MANY_ATTEMPTS";
                    };
                };
            };
            /** @description `INTERNAL_SERVER_ERROR` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "INTERNAL_SERVER_ERROR";
                    };
                };
            };
            /** @description `SERVICE_UNAVAILABLE`; `OVERLOADED` */
            503: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "SERVICE_UNAVAILABLE" | "OVERLOADED";
                    };
                };
            };
        };
    };
    resetPassword: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PasswordReset"];
            };
        };
        responses: {
            /** @description The password was set. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `BODY_MALFORMED`: the body is not valid JSON */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "BODY_MALFORMED";
                    };
                };
            };
            /** @description `CODE_INVALID`: the code is not valid, or not any longer */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "CODE_INVALID";
                    };
                };
            };
            /** @description `BODY_TOO_LARGE`: the body is too large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "BODY_TOO_LARGE";
                    };
                };
            };
            /** @description `MEDIA_TYPE_UNSUPPORTED`: the body must be application/json */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "MEDIA_TYPE_UNSUPPORTED";
                    };
                };
            };
            /** @description `VALIDATION_FAILED`: the request does not match its schema */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ValidationErrorResponse"] & {
                        /** @enum {string} */
                        code: "VALIDATION_FAILED";
                    };
                };
            };
            /** @description `INTERNAL_SERVER_ERROR` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "INTERNAL_SERVER_ERROR";
                    };
                };
            };
            /** @description `SERVICE_UNAVAILABLE`; `OVERLOADED` */
            503: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "SERVICE_UNAVAILABLE" | "OVERLOADED";
                    };
                };
            };
        };
    };
    requestPasswordReset: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PasswordResetRequest"];
            };
        };
        responses: {
            /** @description The request was accepted. */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `BODY_MALFORMED`: the body is not valid JSON */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "BODY_MALFORMED";
                    };
                };
            };
            /** @description `BODY_TOO_LARGE`: the body is too large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "BODY_TOO_LARGE";
                    };
                };
            };
            /** @description `MEDIA_TYPE_UNSUPPORTED`: the body must be application/json */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "MEDIA_TYPE_UNSUPPORTED";
                    };
                };
            };
            /** @description `VALIDATION_FAILED`: the request does not match its schema */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ValidationErrorResponse"] & {
                        /** @enum {string} */
                        code: "VALIDATION_FAILED";
                    };
                };
            };
            /** @description `TOO_MANY_ATTEMPTS`: too many attempts: try again later */
            429: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOO_MANY_ATTEMPTS";
                    };
                };
            };
            /** @description `INTERNAL_SERVER_ERROR` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "INTERNAL_SERVER_ERROR";
                    };
                };
            };
        };
    };
    listUsers: {
        parameters: {
            query?: {
                /** @description Only accounts whose username begins with this, in any case. No character stands for others. */
                search?: string;
                /** @description Only the account with this email, in any case. */
                email?: string;
                /** @description Only accounts that have this role. */
                role?: string;
                /** @description `true`: only disabled accounts; `false`: only enabled ones. */
                disabled?: boolean;
                /** @description The maximum number of accounts. */
                limit?: number;
                /** @description The `next_cursor` of the previous page. */
                cursor?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of accounts. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["UserList"];
                };
            };
            /** @description `AUTHORIZATION_MISSING`: no Authorization header found; `TOKEN_CLAIMS_INVALID`: token is not valid; `USER_NOT_FOUND`: 404 User not found */
            400: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "AUTHORIZATION_MISSING" | "TOKEN_CLAIMS_INVALID" | "USER_NOT_FOUND";
                    };
                };
            };
            /** @description `TOKEN_INVALID`: token is invalid; `TOKEN_EXPIRED`: token has expired; `TOKEN_REVOKED`: token has been revoked */
            401: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOKEN_INVALID" | "TOKEN_EXPIRED" | "TOKEN_REVOKED";
                    };
                };
            };
            /** @description `ROLE_REQUIRED`: you do not have the role that this needs */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "ROLE_REQUIRED";
                    };
                };
            };
            /** @description `VALIDATION_FAILED`: the request does not match its schema */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ValidationErrorResponse"] & {
                        /** @enum {string} */
                        code: "VALIDATION_FAILED";
                    };
                };
            };
            /** @description `INTERNAL_SERVER_ERROR` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "INTERNAL_SERVER_ERROR";
                    };
                };
            };
            /** @description `SERVICE_UNAVAILABLE` */
            503: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "SERVICE_UNAVAILABLE";
                    };
                };
            };
        };
    };
    createUser: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["NewUserRequest"];
            };
        };
        responses: {
            /** @description A new account, and the code with which its owner sets a password. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["NewUser"];
                };
            };
            /** @description `AUTHORIZATION_MISSING`: no Authorization header found; `TOKEN_CLAIMS_INVALID`: token is not valid; `USER_NOT_FOUND`: 404 User not found; `BODY_MALFORMED`: the body is not valid JSON */
            400: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "AUTHORIZATION_MISSING" | "TOKEN_CLAIMS_INVALID" | "USER_NOT_FOUND" | "BODY_MALFORMED";
                    };
                };
            };
            /** @description `TOKEN_INVALID`: token is invalid; `TOKEN_EXPIRED`: token has expired; `TOKEN_REVOKED`: token has been revoked */
            401: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOKEN_INVALID" | "TOKEN_EXPIRED" | "TOKEN_REVOKED";
                    };
                };
            };
            /** @description `ROLE_REQUIRED`: you do not have the role that this needs */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "ROLE_REQUIRED";
                    };
                };
            };
            /** @description `ROLE_NOT_FOUND`: there is no such role */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "ROLE_NOT_FOUND";
                    };
                };
            };
            /** @description `USERNAME_TAKEN`: username already taken; `EMAIL_TAKEN`: email already signed-up */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "USERNAME_TAKEN" | "EMAIL_TAKEN";
                    };
                };
            };
            /** @description `BODY_TOO_LARGE`: the body is too large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "BODY_TOO_LARGE";
                    };
                };
            };
            /** @description `MEDIA_TYPE_UNSUPPORTED`: the body must be application/json */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "MEDIA_TYPE_UNSUPPORTED";
                    };
                };
            };
            /** @description `VALIDATION_FAILED`: the request does not match its schema */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ValidationErrorResponse"] & {
                        /** @enum {string} */
                        code: "VALIDATION_FAILED";
                    };
                };
            };
            /** @description `INTERNAL_SERVER_ERROR` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "INTERNAL_SERVER_ERROR";
                    };
                };
            };
            /** @description `SERVICE_UNAVAILABLE` */
            503: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "SERVICE_UNAVAILABLE";
                    };
                };
            };
        };
    };
    getUser: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /**
                 * @description In any case.
                 * @example grace
                 */
                username: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description An account with its details. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["UserDetails"];
                };
            };
            /** @description `AUTHORIZATION_MISSING`: no Authorization header found; `TOKEN_CLAIMS_INVALID`: token is not valid; `USER_NOT_FOUND`: 404 User not found */
            400: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "AUTHORIZATION_MISSING" | "TOKEN_CLAIMS_INVALID" | "USER_NOT_FOUND";
                    };
                };
            };
            /** @description `TOKEN_INVALID`: token is invalid; `TOKEN_EXPIRED`: token has expired; `TOKEN_REVOKED`: token has been revoked */
            401: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOKEN_INVALID" | "TOKEN_EXPIRED" | "TOKEN_REVOKED";
                    };
                };
            };
            /** @description `ROLE_REQUIRED`: you do not have the role that this needs */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "ROLE_REQUIRED";
                    };
                };
            };
            /** @description `USER_UNKNOWN`: there is no such user */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "USER_UNKNOWN";
                    };
                };
            };
            /** @description `INTERNAL_SERVER_ERROR` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "INTERNAL_SERVER_ERROR";
                    };
                };
            };
            /** @description `SERVICE_UNAVAILABLE` */
            503: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "SERVICE_UNAVAILABLE";
                    };
                };
            };
        };
    };
    deleteUser: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /**
                 * @description In any case.
                 * @example grace
                 */
                username: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The account was deleted. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `AUTHORIZATION_MISSING`: no Authorization header found; `TOKEN_CLAIMS_INVALID`: token is not valid; `USER_NOT_FOUND`: 404 User not found; `BODY_UNEXPECTED`: this request must not have a body */
            400: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "AUTHORIZATION_MISSING" | "TOKEN_CLAIMS_INVALID" | "USER_NOT_FOUND" | "BODY_UNEXPECTED";
                    };
                };
            };
            /** @description `TOKEN_INVALID`: token is invalid; `TOKEN_EXPIRED`: token has expired; `TOKEN_REVOKED`: token has been revoked */
            401: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOKEN_INVALID" | "TOKEN_EXPIRED" | "TOKEN_REVOKED";
                    };
                };
            };
            /** @description `ROLE_REQUIRED`: you do not have the role that this needs */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "ROLE_REQUIRED";
                    };
                };
            };
            /** @description `USER_UNKNOWN`: there is no such user */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "USER_UNKNOWN";
                    };
                };
            };
            /** @description `LAST_ADMIN`: this would leave nobody with the role admin */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "LAST_ADMIN";
                    };
                };
            };
            /** @description `INTERNAL_SERVER_ERROR` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "INTERNAL_SERVER_ERROR";
                    };
                };
            };
            /** @description `SERVICE_UNAVAILABLE` */
            503: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "SERVICE_UNAVAILABLE";
                    };
                };
            };
        };
    };
    disableUser: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /**
                 * @description In any case.
                 * @example grace
                 */
                username: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The account is disabled. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `AUTHORIZATION_MISSING`: no Authorization header found; `TOKEN_CLAIMS_INVALID`: token is not valid; `USER_NOT_FOUND`: 404 User not found; `BODY_UNEXPECTED`: this request must not have a body */
            400: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "AUTHORIZATION_MISSING" | "TOKEN_CLAIMS_INVALID" | "USER_NOT_FOUND" | "BODY_UNEXPECTED";
                    };
                };
            };
            /** @description `TOKEN_INVALID`: token is invalid; `TOKEN_EXPIRED`: token has expired; `TOKEN_REVOKED`: token has been revoked */
            401: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOKEN_INVALID" | "TOKEN_EXPIRED" | "TOKEN_REVOKED";
                    };
                };
            };
            /** @description `ROLE_REQUIRED`: you do not have the role that this needs */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "ROLE_REQUIRED";
                    };
                };
            };
            /** @description `USER_UNKNOWN`: there is no such user */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "USER_UNKNOWN";
                    };
                };
            };
            /** @description `LAST_ADMIN`: this would leave nobody with the role admin */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "LAST_ADMIN";
                    };
                };
            };
            /** @description `INTERNAL_SERVER_ERROR` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "INTERNAL_SERVER_ERROR";
                    };
                };
            };
            /** @description `SERVICE_UNAVAILABLE` */
            503: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "SERVICE_UNAVAILABLE";
                    };
                };
            };
        };
    };
    enableUser: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /**
                 * @description In any case.
                 * @example grace
                 */
                username: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The account is enabled. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `AUTHORIZATION_MISSING`: no Authorization header found; `TOKEN_CLAIMS_INVALID`: token is not valid; `USER_NOT_FOUND`: 404 User not found; `BODY_UNEXPECTED`: this request must not have a body */
            400: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "AUTHORIZATION_MISSING" | "TOKEN_CLAIMS_INVALID" | "USER_NOT_FOUND" | "BODY_UNEXPECTED";
                    };
                };
            };
            /** @description `TOKEN_INVALID`: token is invalid; `TOKEN_EXPIRED`: token has expired; `TOKEN_REVOKED`: token has been revoked */
            401: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOKEN_INVALID" | "TOKEN_EXPIRED" | "TOKEN_REVOKED";
                    };
                };
            };
            /** @description `ROLE_REQUIRED`: you do not have the role that this needs */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "ROLE_REQUIRED";
                    };
                };
            };
            /** @description `USER_UNKNOWN`: there is no such user */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "USER_UNKNOWN";
                    };
                };
            };
            /** @description `INTERNAL_SERVER_ERROR` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "INTERNAL_SERVER_ERROR";
                    };
                };
            };
            /** @description `SERVICE_UNAVAILABLE` */
            503: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "SERVICE_UNAVAILABLE";
                    };
                };
            };
        };
    };
    listUserTokens: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /**
                 * @description In any case.
                 * @example grace
                 */
                username: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description All active tokens of an account. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TokenList"];
                };
            };
            /** @description `AUTHORIZATION_MISSING`: no Authorization header found; `TOKEN_CLAIMS_INVALID`: token is not valid; `USER_NOT_FOUND`: 404 User not found */
            400: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "AUTHORIZATION_MISSING" | "TOKEN_CLAIMS_INVALID" | "USER_NOT_FOUND";
                    };
                };
            };
            /** @description `TOKEN_INVALID`: token is invalid; `TOKEN_EXPIRED`: token has expired; `TOKEN_REVOKED`: token has been revoked */
            401: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOKEN_INVALID" | "TOKEN_EXPIRED" | "TOKEN_REVOKED";
                    };
                };
            };
            /** @description `ROLE_REQUIRED`: you do not have the role that this needs */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "ROLE_REQUIRED";
                    };
                };
            };
            /** @description `USER_UNKNOWN`: there is no such user */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "USER_UNKNOWN";
                    };
                };
            };
            /** @description `INTERNAL_SERVER_ERROR` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "INTERNAL_SERVER_ERROR";
                    };
                };
            };
            /** @description `SERVICE_UNAVAILABLE` */
            503: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "SERVICE_UNAVAILABLE";
                    };
                };
            };
        };
    };
    revokeUserTokens: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /**
                 * @description In any case.
                 * @example grace
                 */
                username: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The user has no token any longer. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `AUTHORIZATION_MISSING`: no Authorization header found; `TOKEN_CLAIMS_INVALID`: token is not valid; `USER_NOT_FOUND`: 404 User not found; `BODY_UNEXPECTED`: this request must not have a body */
            400: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "AUTHORIZATION_MISSING" | "TOKEN_CLAIMS_INVALID" | "USER_NOT_FOUND" | "BODY_UNEXPECTED";
                    };
                };
            };
            /** @description `TOKEN_INVALID`: token is invalid; `TOKEN_EXPIRED`: token has expired; `TOKEN_REVOKED`: token has been revoked */
            401: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOKEN_INVALID" | "TOKEN_EXPIRED" | "TOKEN_REVOKED";
                    };
                };
            };
            /** @description `ROLE_REQUIRED`: you do not have the role that this needs */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "ROLE_REQUIRED";
                    };
                };
            };
            /** @description `USER_UNKNOWN`: there is no such user */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "USER_UNKNOWN";
                    };
                };
            };
            /** @description `INTERNAL_SERVER_ERROR` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "INTERNAL_SERVER_ERROR";
                    };
                };
            };
            /** @description `SERVICE_UNAVAILABLE` */
            503: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "SERVICE_UNAVAILABLE";
                    };
                };
            };
        };
    };
    unlockUser: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /**
                 * @description In any case.
                 * @example grace
                 */
                username: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The failed logins are forgotten. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `AUTHORIZATION_MISSING`: no Authorization header found; `TOKEN_CLAIMS_INVALID`: token is not valid; `USER_NOT_FOUND`: 404 User not found; `BODY_UNEXPECTED`: this request must not have a body */
            400: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "AUTHORIZATION_MISSING" | "TOKEN_CLAIMS_INVALID" | "USER_NOT_FOUND" | "BODY_UNEXPECTED";
                    };
                };
            };
            /** @description `TOKEN_INVALID`: token is invalid; `TOKEN_EXPIRED`: token has expired; `TOKEN_REVOKED`: token has been revoked */
            401: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOKEN_INVALID" | "TOKEN_EXPIRED" | "TOKEN_REVOKED";
                    };
                };
            };
            /** @description `ROLE_REQUIRED`: you do not have the role that this needs */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "ROLE_REQUIRED";
                    };
                };
            };
            /** @description `USER_UNKNOWN`: there is no such user */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "USER_UNKNOWN";
                    };
                };
            };
            /** @description `INTERNAL_SERVER_ERROR` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "INTERNAL_SERVER_ERROR";
                    };
                };
            };
            /** @description `SERVICE_UNAVAILABLE` */
            503: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "SERVICE_UNAVAILABLE";
                    };
                };
            };
        };
    };
    startPasswordReset: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /**
                 * @description In any case.
                 * @example grace
                 */
                username: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ResetCodeRequest"];
            };
        };
        responses: {
            /** @description A code with which the owner of an account sets a password. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ResetCode"];
                };
            };
            /** @description `AUTHORIZATION_MISSING`: no Authorization header found; `TOKEN_CLAIMS_INVALID`: token is not valid; `USER_NOT_FOUND`: 404 User not found; `BODY_MALFORMED`: the body is not valid JSON */
            400: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "AUTHORIZATION_MISSING" | "TOKEN_CLAIMS_INVALID" | "USER_NOT_FOUND" | "BODY_MALFORMED";
                    };
                };
            };
            /** @description `TOKEN_INVALID`: token is invalid; `TOKEN_EXPIRED`: token has expired; `TOKEN_REVOKED`: token has been revoked */
            401: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOKEN_INVALID" | "TOKEN_EXPIRED" | "TOKEN_REVOKED";
                    };
                };
            };
            /** @description `ROLE_REQUIRED`: you do not have the role that this needs */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "ROLE_REQUIRED";
                    };
                };
            };
            /** @description `USER_UNKNOWN`: there is no such user */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "USER_UNKNOWN";
                    };
                };
            };
            /** @description `BODY_TOO_LARGE`: the body is too large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "BODY_TOO_LARGE";
                    };
                };
            };
            /** @description `MEDIA_TYPE_UNSUPPORTED`: the body must be application/json */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "MEDIA_TYPE_UNSUPPORTED";
                    };
                };
            };
            /** @description `VALIDATION_FAILED`: the request does not match its schema */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ValidationErrorResponse"] & {
                        /** @enum {string} */
                        code: "VALIDATION_FAILED";
                    };
                };
            };
            /** @description `INTERNAL_SERVER_ERROR` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "INTERNAL_SERVER_ERROR";
                    };
                };
            };
            /** @description `SERVICE_UNAVAILABLE` */
            503: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "SERVICE_UNAVAILABLE";
                    };
                };
            };
        };
    };
    disableSecondFactorOfUser: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /**
                 * @description In any case.
                 * @example grace
                 */
                username: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The second factor is off. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `AUTHORIZATION_MISSING`: no Authorization header found; `TOKEN_CLAIMS_INVALID`: token is not valid; `USER_NOT_FOUND`: 404 User not found; `BODY_UNEXPECTED`: this request must not have a body */
            400: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "AUTHORIZATION_MISSING" | "TOKEN_CLAIMS_INVALID" | "USER_NOT_FOUND" | "BODY_UNEXPECTED";
                    };
                };
            };
            /** @description `TOKEN_INVALID`: token is invalid; `TOKEN_EXPIRED`: token has expired; `TOKEN_REVOKED`: token has been revoked */
            401: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOKEN_INVALID" | "TOKEN_EXPIRED" | "TOKEN_REVOKED";
                    };
                };
            };
            /** @description `ROLE_REQUIRED`: you do not have the role that this needs */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "ROLE_REQUIRED";
                    };
                };
            };
            /** @description `USER_UNKNOWN`: there is no such user */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "USER_UNKNOWN";
                    };
                };
            };
            /** @description `INTERNAL_SERVER_ERROR` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "INTERNAL_SERVER_ERROR";
                    };
                };
            };
            /** @description `SERVICE_UNAVAILABLE` */
            503: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "SERVICE_UNAVAILABLE";
                    };
                };
            };
        };
    };
    listRoles: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description All roles. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RoleList"];
                };
            };
            /** @description `AUTHORIZATION_MISSING`: no Authorization header found; `TOKEN_CLAIMS_INVALID`: token is not valid; `USER_NOT_FOUND`: 404 User not found */
            400: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "AUTHORIZATION_MISSING" | "TOKEN_CLAIMS_INVALID" | "USER_NOT_FOUND";
                    };
                };
            };
            /** @description `TOKEN_INVALID`: token is invalid; `TOKEN_EXPIRED`: token has expired; `TOKEN_REVOKED`: token has been revoked */
            401: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOKEN_INVALID" | "TOKEN_EXPIRED" | "TOKEN_REVOKED";
                    };
                };
            };
            /** @description `ROLE_REQUIRED`: you do not have the role that this needs */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "ROLE_REQUIRED";
                    };
                };
            };
            /** @description `INTERNAL_SERVER_ERROR` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "INTERNAL_SERVER_ERROR";
                    };
                };
            };
            /** @description `SERVICE_UNAVAILABLE` */
            503: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "SERVICE_UNAVAILABLE";
                    };
                };
            };
        };
    };
    createRole: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Role"];
            };
        };
        responses: {
            /** @description A role that users can have. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Role"];
                };
            };
            /** @description `AUTHORIZATION_MISSING`: no Authorization header found; `TOKEN_CLAIMS_INVALID`: token is not valid; `USER_NOT_FOUND`: 404 User not found; `BODY_MALFORMED`: the body is not valid JSON */
            400: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "AUTHORIZATION_MISSING" | "TOKEN_CLAIMS_INVALID" | "USER_NOT_FOUND" | "BODY_MALFORMED";
                    };
                };
            };
            /** @description `TOKEN_INVALID`: token is invalid; `TOKEN_EXPIRED`: token has expired; `TOKEN_REVOKED`: token has been revoked */
            401: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOKEN_INVALID" | "TOKEN_EXPIRED" | "TOKEN_REVOKED";
                    };
                };
            };
            /** @description `ROLE_REQUIRED`: you do not have the role that this needs */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "ROLE_REQUIRED";
                    };
                };
            };
            /** @description `ROLE_EXISTS`: there is such a role already */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "ROLE_EXISTS";
                    };
                };
            };
            /** @description `BODY_TOO_LARGE`: the body is too large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "BODY_TOO_LARGE";
                    };
                };
            };
            /** @description `MEDIA_TYPE_UNSUPPORTED`: the body must be application/json */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "MEDIA_TYPE_UNSUPPORTED";
                    };
                };
            };
            /** @description `VALIDATION_FAILED`: the request does not match its schema */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ValidationErrorResponse"] & {
                        /** @enum {string} */
                        code: "VALIDATION_FAILED";
                    };
                };
            };
            /** @description `INTERNAL_SERVER_ERROR` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "INTERNAL_SERVER_ERROR";
                    };
                };
            };
            /** @description `SERVICE_UNAVAILABLE` */
            503: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "SERVICE_UNAVAILABLE";
                    };
                };
            };
        };
    };
    deleteRole: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /**
                 * @description The name of the role.
                 * @example editor
                 */
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The role was deleted. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `AUTHORIZATION_MISSING`: no Authorization header found; `TOKEN_CLAIMS_INVALID`: token is not valid; `USER_NOT_FOUND`: 404 User not found; `BODY_UNEXPECTED`: this request must not have a body */
            400: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "AUTHORIZATION_MISSING" | "TOKEN_CLAIMS_INVALID" | "USER_NOT_FOUND" | "BODY_UNEXPECTED";
                    };
                };
            };
            /** @description `TOKEN_INVALID`: token is invalid; `TOKEN_EXPIRED`: token has expired; `TOKEN_REVOKED`: token has been revoked */
            401: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOKEN_INVALID" | "TOKEN_EXPIRED" | "TOKEN_REVOKED";
                    };
                };
            };
            /** @description `ROLE_REQUIRED`: you do not have the role that this needs */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "ROLE_REQUIRED";
                    };
                };
            };
            /** @description `ROLE_NOT_FOUND`: there is no such role */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "ROLE_NOT_FOUND";
                    };
                };
            };
            /** @description `ROLE_PROTECTED`: this role cannot be deleted */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "ROLE_PROTECTED";
                    };
                };
            };
            /** @description `INTERNAL_SERVER_ERROR` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "INTERNAL_SERVER_ERROR";
                    };
                };
            };
            /** @description `SERVICE_UNAVAILABLE` */
            503: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "SERVICE_UNAVAILABLE";
                    };
                };
            };
        };
    };
    grantRole: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /**
                 * @description In any case.
                 * @example ada
                 */
                username: string;
                /**
                 * @description The name of the role.
                 * @example editor
                 */
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The user has the role. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `AUTHORIZATION_MISSING`: no Authorization header found; `TOKEN_CLAIMS_INVALID`: token is not valid; `USER_NOT_FOUND`: 404 User not found; `BODY_UNEXPECTED`: this request must not have a body */
            400: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "AUTHORIZATION_MISSING" | "TOKEN_CLAIMS_INVALID" | "USER_NOT_FOUND" | "BODY_UNEXPECTED";
                    };
                };
            };
            /** @description `TOKEN_INVALID`: token is invalid; `TOKEN_EXPIRED`: token has expired; `TOKEN_REVOKED`: token has been revoked */
            401: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOKEN_INVALID" | "TOKEN_EXPIRED" | "TOKEN_REVOKED";
                    };
                };
            };
            /** @description `ROLE_REQUIRED`: you do not have the role that this needs */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "ROLE_REQUIRED";
                    };
                };
            };
            /** @description `USER_UNKNOWN`: there is no such user; `ROLE_NOT_FOUND`: there is no such role */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "USER_UNKNOWN" | "ROLE_NOT_FOUND";
                    };
                };
            };
            /** @description `INTERNAL_SERVER_ERROR` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "INTERNAL_SERVER_ERROR";
                    };
                };
            };
            /** @description `SERVICE_UNAVAILABLE` */
            503: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "SERVICE_UNAVAILABLE";
                    };
                };
            };
        };
    };
    revokeRole: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /**
                 * @description In any case.
                 * @example ada
                 */
                username: string;
                /**
                 * @description The name of the role.
                 * @example editor
                 */
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The user does not have the role. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `AUTHORIZATION_MISSING`: no Authorization header found; `TOKEN_CLAIMS_INVALID`: token is not valid; `USER_NOT_FOUND`: 404 User not found; `BODY_UNEXPECTED`: this request must not have a body */
            400: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "AUTHORIZATION_MISSING" | "TOKEN_CLAIMS_INVALID" | "USER_NOT_FOUND" | "BODY_UNEXPECTED";
                    };
                };
            };
            /** @description `TOKEN_INVALID`: token is invalid; `TOKEN_EXPIRED`: token has expired; `TOKEN_REVOKED`: token has been revoked */
            401: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOKEN_INVALID" | "TOKEN_EXPIRED" | "TOKEN_REVOKED";
                    };
                };
            };
            /** @description `ROLE_REQUIRED`: you do not have the role that this needs */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "ROLE_REQUIRED";
                    };
                };
            };
            /** @description `USER_UNKNOWN`: there is no such user; `ROLE_NOT_FOUND`: there is no such role */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "USER_UNKNOWN" | "ROLE_NOT_FOUND";
                    };
                };
            };
            /** @description `LAST_ADMIN`: this would leave nobody with the role admin */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "LAST_ADMIN";
                    };
                };
            };
            /** @description `INTERNAL_SERVER_ERROR` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "INTERNAL_SERVER_ERROR";
                    };
                };
            };
            /** @description `SERVICE_UNAVAILABLE` */
            503: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "SERVICE_UNAVAILABLE";
                    };
                };
            };
        };
    };
    listInvites: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description All open invitations. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["InviteList"];
                };
            };
            /** @description `AUTHORIZATION_MISSING`: no Authorization header found; `TOKEN_CLAIMS_INVALID`: token is not valid; `USER_NOT_FOUND`: 404 User not found */
            400: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "AUTHORIZATION_MISSING" | "TOKEN_CLAIMS_INVALID" | "USER_NOT_FOUND";
                    };
                };
            };
            /** @description `TOKEN_INVALID`: token is invalid; `TOKEN_EXPIRED`: token has expired; `TOKEN_REVOKED`: token has been revoked */
            401: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOKEN_INVALID" | "TOKEN_EXPIRED" | "TOKEN_REVOKED";
                    };
                };
            };
            /** @description `ROLE_REQUIRED`: you do not have the role that this needs */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "ROLE_REQUIRED";
                    };
                };
            };
            /** @description `INTERNAL_SERVER_ERROR` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "INTERNAL_SERVER_ERROR";
                    };
                };
            };
            /** @description `SERVICE_UNAVAILABLE` */
            503: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "SERVICE_UNAVAILABLE";
                    };
                };
            };
        };
    };
    createInvite: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["InviteRequest"];
            };
        };
        responses: {
            /** @description A new invitation. The server shows its code only once. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["NewInvite"];
                };
            };
            /** @description `AUTHORIZATION_MISSING`: no Authorization header found; `TOKEN_CLAIMS_INVALID`: token is not valid; `USER_NOT_FOUND`: 404 User not found; `BODY_MALFORMED`: the body is not valid JSON */
            400: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "AUTHORIZATION_MISSING" | "TOKEN_CLAIMS_INVALID" | "USER_NOT_FOUND" | "BODY_MALFORMED";
                    };
                };
            };
            /** @description `TOKEN_INVALID`: token is invalid; `TOKEN_EXPIRED`: token has expired; `TOKEN_REVOKED`: token has been revoked */
            401: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOKEN_INVALID" | "TOKEN_EXPIRED" | "TOKEN_REVOKED";
                    };
                };
            };
            /** @description `ROLE_REQUIRED`: you do not have the role that this needs */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "ROLE_REQUIRED";
                    };
                };
            };
            /** @description `ROLE_NOT_FOUND`: there is no such role */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "ROLE_NOT_FOUND";
                    };
                };
            };
            /** @description `EMAIL_TAKEN`: email already signed-up; `TOO_MANY_INVITES`: there are too many open invitations: delete one first */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "EMAIL_TAKEN" | "TOO_MANY_INVITES";
                    };
                };
            };
            /** @description `BODY_TOO_LARGE`: the body is too large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "BODY_TOO_LARGE";
                    };
                };
            };
            /** @description `MEDIA_TYPE_UNSUPPORTED`: the body must be application/json */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "MEDIA_TYPE_UNSUPPORTED";
                    };
                };
            };
            /** @description `VALIDATION_FAILED`: the request does not match its schema */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ValidationErrorResponse"] & {
                        /** @enum {string} */
                        code: "VALIDATION_FAILED";
                    };
                };
            };
            /** @description `INTERNAL_SERVER_ERROR` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "INTERNAL_SERVER_ERROR";
                    };
                };
            };
            /** @description `SERVICE_UNAVAILABLE` */
            503: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "SERVICE_UNAVAILABLE";
                    };
                };
            };
        };
    };
    deleteInvite: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /**
                 * @description The `id` of the invitation.
                 * @example q1rOFJ3mMB3GhXWDsRAyZbYs1Y0SkQ1b8tB7nqd0qFE
                 */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The invitation was deleted. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `AUTHORIZATION_MISSING`: no Authorization header found; `TOKEN_CLAIMS_INVALID`: token is not valid; `USER_NOT_FOUND`: 404 User not found; `BODY_UNEXPECTED`: this request must not have a body */
            400: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "AUTHORIZATION_MISSING" | "TOKEN_CLAIMS_INVALID" | "USER_NOT_FOUND" | "BODY_UNEXPECTED";
                    };
                };
            };
            /** @description `TOKEN_INVALID`: token is invalid; `TOKEN_EXPIRED`: token has expired; `TOKEN_REVOKED`: token has been revoked */
            401: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOKEN_INVALID" | "TOKEN_EXPIRED" | "TOKEN_REVOKED";
                    };
                };
            };
            /** @description `ROLE_REQUIRED`: you do not have the role that this needs */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "ROLE_REQUIRED";
                    };
                };
            };
            /** @description `INVITE_NOT_FOUND`: there is no such invitation */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "INVITE_NOT_FOUND";
                    };
                };
            };
            /** @description `INTERNAL_SERVER_ERROR` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "INTERNAL_SERVER_ERROR";
                    };
                };
            };
            /** @description `SERVICE_UNAVAILABLE` */
            503: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "SERVICE_UNAVAILABLE";
                    };
                };
            };
        };
    };
    unlockAddress: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /**
                 * @description An IPv4 or IPv6 address.
                 * @example 203.0.113.7
                 */
                address: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The attempts of the address are forgotten. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `AUTHORIZATION_MISSING`: no Authorization header found; `TOKEN_CLAIMS_INVALID`: token is not valid; `USER_NOT_FOUND`: 404 User not found; `BODY_UNEXPECTED`: this request must not have a body */
            400: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "AUTHORIZATION_MISSING" | "TOKEN_CLAIMS_INVALID" | "USER_NOT_FOUND" | "BODY_UNEXPECTED";
                    };
                };
            };
            /** @description `TOKEN_INVALID`: token is invalid; `TOKEN_EXPIRED`: token has expired; `TOKEN_REVOKED`: token has been revoked */
            401: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOKEN_INVALID" | "TOKEN_EXPIRED" | "TOKEN_REVOKED";
                    };
                };
            };
            /** @description `ROLE_REQUIRED`: you do not have the role that this needs */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "ROLE_REQUIRED";
                    };
                };
            };
            /** @description `VALIDATION_FAILED`: the request does not match its schema */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ValidationErrorResponse"] & {
                        /** @enum {string} */
                        code: "VALIDATION_FAILED";
                    };
                };
            };
            /** @description `INTERNAL_SERVER_ERROR` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "INTERNAL_SERVER_ERROR";
                    };
                };
            };
            /** @description `SERVICE_UNAVAILABLE` */
            503: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "SERVICE_UNAVAILABLE";
                    };
                };
            };
        };
    };
    listEvents: {
        parameters: {
            query?: {
                /** @description Only events of the user with this username, in any case. If no user has it, the list is empty. */
                user?: string;
                /** @description Only events of the user with this id, also if the user was deleted. */
                user_id?: number;
                /** @description Only events of this kind. */
                kind?: "signup" | "login" | "login_failure" | "backoff" | "unlock" | "renewal" | "logout" | "token_creation" | "revocation" | "eviction" | "password_change" | "role_change" | "deletion" | "user_creation" | "disabling" | "enabling" | "reset_request" | "password_reset" | "email_change" | "email_verification" | "username_change" | "second_factor_change" | "invitation" | "export" | "import" | "restore" | "reset";
                /** @description The maximum number of events. */
                limit?: number;
                /** @description The `next_cursor` of the previous page. */
                cursor?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of events. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["EventList"];
                };
            };
            /** @description `AUTHORIZATION_MISSING`: no Authorization header found; `TOKEN_CLAIMS_INVALID`: token is not valid; `USER_NOT_FOUND`: 404 User not found */
            400: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "AUTHORIZATION_MISSING" | "TOKEN_CLAIMS_INVALID" | "USER_NOT_FOUND";
                    };
                };
            };
            /** @description `TOKEN_INVALID`: token is invalid; `TOKEN_EXPIRED`: token has expired; `TOKEN_REVOKED`: token has been revoked */
            401: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOKEN_INVALID" | "TOKEN_EXPIRED" | "TOKEN_REVOKED";
                    };
                };
            };
            /** @description `ROLE_REQUIRED`: you do not have the role that this needs */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "ROLE_REQUIRED";
                    };
                };
            };
            /** @description `VALIDATION_FAILED`: the request does not match its schema */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ValidationErrorResponse"] & {
                        /** @enum {string} */
                        code: "VALIDATION_FAILED";
                    };
                };
            };
            /** @description `INTERNAL_SERVER_ERROR` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "INTERNAL_SERVER_ERROR";
                    };
                };
            };
            /** @description `SERVICE_UNAVAILABLE` */
            503: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "SERVICE_UNAVAILABLE";
                    };
                };
            };
        };
    };
    listMyEvents: {
        parameters: {
            query?: {
                /** @description Only events of this kind. */
                kind?: "signup" | "login" | "login_failure" | "backoff" | "unlock" | "renewal" | "logout" | "token_creation" | "revocation" | "eviction" | "password_change" | "role_change" | "deletion" | "user_creation" | "disabling" | "enabling" | "reset_request" | "password_reset" | "email_change" | "email_verification" | "username_change" | "second_factor_change" | "invitation" | "export" | "import" | "restore" | "reset";
                /** @description The maximum number of events. */
                limit?: number;
                /** @description The `next_cursor` of the previous page. */
                cursor?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of events. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["EventList"];
                };
            };
            /** @description `AUTHORIZATION_MISSING`: no Authorization header found; `TOKEN_CLAIMS_INVALID`: token is not valid; `USER_NOT_FOUND`: 404 User not found */
            400: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "AUTHORIZATION_MISSING" | "TOKEN_CLAIMS_INVALID" | "USER_NOT_FOUND";
                    };
                };
            };
            /** @description `TOKEN_INVALID`: token is invalid; `TOKEN_EXPIRED`: token has expired; `TOKEN_REVOKED`: token has been revoked */
            401: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOKEN_INVALID" | "TOKEN_EXPIRED" | "TOKEN_REVOKED";
                    };
                };
            };
            /** @description `VALIDATION_FAILED`: the request does not match its schema */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ValidationErrorResponse"] & {
                        /** @enum {string} */
                        code: "VALIDATION_FAILED";
                    };
                };
            };
            /** @description `INTERNAL_SERVER_ERROR` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "INTERNAL_SERVER_ERROR";
                    };
                };
            };
            /** @description `SERVICE_UNAVAILABLE` */
            503: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "SERVICE_UNAVAILABLE";
                    };
                };
            };
        };
    };
    hello: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A sentence. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": string;
                };
            };
        };
    };
    needLogin: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A sentence. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": string;
                };
            };
            /** @description `AUTHORIZATION_MISSING`: no Authorization header found; `TOKEN_CLAIMS_INVALID`: token is not valid; `USER_NOT_FOUND`: 404 User not found */
            400: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "AUTHORIZATION_MISSING" | "TOKEN_CLAIMS_INVALID" | "USER_NOT_FOUND";
                    };
                };
            };
            /** @description `TOKEN_INVALID`: token is invalid; `TOKEN_EXPIRED`: token has expired; `TOKEN_REVOKED`: token has been revoked */
            401: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOKEN_INVALID" | "TOKEN_EXPIRED" | "TOKEN_REVOKED";
                    };
                };
            };
            /** @description `INTERNAL_SERVER_ERROR` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "INTERNAL_SERVER_ERROR";
                    };
                };
            };
            /** @description `SERVICE_UNAVAILABLE` */
            503: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "SERVICE_UNAVAILABLE";
                    };
                };
            };
        };
    };
    needLoginV1: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A sentence. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": string;
                };
            };
            /** @description `AUTHORIZATION_MISSING`: no Authorization header found; `TOKEN_CLAIMS_INVALID`: token is not valid; `USER_NOT_FOUND`: 404 User not found */
            400: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "AUTHORIZATION_MISSING" | "TOKEN_CLAIMS_INVALID" | "USER_NOT_FOUND";
                    };
                };
            };
            /** @description `TOKEN_INVALID`: token is invalid; `TOKEN_EXPIRED`: token has expired; `TOKEN_REVOKED`: token has been revoked */
            401: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOKEN_INVALID" | "TOKEN_EXPIRED" | "TOKEN_REVOKED";
                    };
                };
            };
            /** @description `INTERNAL_SERVER_ERROR` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "INTERNAL_SERVER_ERROR";
                    };
                };
            };
            /** @description `SERVICE_UNAVAILABLE` */
            503: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "SERVICE_UNAVAILABLE";
                    };
                };
            };
        };
    };
    needAdmin: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A sentence. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": string;
                };
            };
            /** @description `AUTHORIZATION_MISSING`: no Authorization header found; `TOKEN_CLAIMS_INVALID`: token is not valid; `USER_NOT_FOUND`: 404 User not found */
            400: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "AUTHORIZATION_MISSING" | "TOKEN_CLAIMS_INVALID" | "USER_NOT_FOUND";
                    };
                };
            };
            /** @description `TOKEN_INVALID`: token is invalid; `TOKEN_EXPIRED`: token has expired; `TOKEN_REVOKED`: token has been revoked */
            401: {
                headers: {
                    /** @description The scheme to authenticate with (RFC 6750, section 3). */
                    "www-authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "TOKEN_INVALID" | "TOKEN_EXPIRED" | "TOKEN_REVOKED";
                    };
                };
            };
            /** @description `ROLE_REQUIRED`: you do not have the role that this needs */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "ROLE_REQUIRED";
                    };
                };
            };
            /** @description `INTERNAL_SERVER_ERROR` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "INTERNAL_SERVER_ERROR";
                    };
                };
            };
            /** @description `SERVICE_UNAVAILABLE` */
            503: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "SERVICE_UNAVAILABLE";
                    };
                };
            };
        };
    };
    isLive: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The server works. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Health"];
                };
            };
        };
    };
    isReady: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The server works. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Health"];
                };
            };
            /** @description `SERVICE_UNAVAILABLE` */
            503: {
                headers: {
                    /** @description Seconds to wait before the next attempt (RFC 9110, section 10.2.3). */
                    "retry-after"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"] & {
                        /** @enum {string} */
                        code: "SERVICE_UNAVAILABLE";
                    };
                };
            };
        };
    };
}
