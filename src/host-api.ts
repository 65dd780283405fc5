import type { FastifyInstance } from 'fastify'
import { AccountDisabled, EmailTaken, LastAdmin, RoleExists, RoleNotFound, RoleProtected, TooManyTokens, UsernameTaken, UserUnknown } from './errors.js'
import type { LatchkeyApi } from './host.js'
import { descriptionProblem, emptyProblem } from './lib/single-line.js'
import { emailChangedMail } from './plugins/mail/messages.js'
import { notifyOwner } from './plugins/mail/notes.js'
import { secondsProblem, validate } from './lib/validate.js'
import { issuePasswordReset, resetLifetimeMaxSeconds, resetLifetimeMinSeconds, resetLifetimeSeconds } from './plugins/codes/password-reset.js'
import { createInvitesApi } from './plugins/invites/api.js'
import { newPasswordProblem, type PasswordPolicy, personalPasswordProblem } from './plugins/passwords/policy.js'
import { resetPassword } from './plugins/passwords/reset-password.js'
import { adminRole, roleNameProblem } from './plugins/roles/role-name.js'
import { isTokenId, tokenMaxLifetimeSeconds } from './plugins/tokens/claims.js'
import { personalTokenLifetimeSeconds } from './plugins/tokens/limits.js'
import { emailProblem } from './plugins/users/email.js'
import { usernameProblem } from './plugins/users/username.js'
import { emailChangeProblem, requireOwnAddress } from './plugins/users/username-address.js'

/** Creates `app.latchkey` from the services. */
export function createHostApi (services: FastifyInstance, policy: PasswordPolicy): LatchkeyApi {
  const { accessTokens, audit, codes, loginFailures, mail, passwords, roles, store, tokens, users } = services
  return {
    users: {
      find: (username) => users.find(username),
      list: () => users.list(),

      async create ({ username, email: givenEmail = null, password }) {
        validate({
          username: username === '' ? emptyProblem : usernameProblem(username),
          email: givenEmail === null ? undefined : emailProblem(givenEmail),
          password: newPasswordProblem(password, policy)
        })
        const email = requireOwnAddress(username, givenEmail)
        // Only now: username and email have a bounded length.
        validate({ password: personalPasswordProblem(password, { username, email }) })
        const created = await users.create({ username, email, passwordHash: await passwords.hash(password) })
        if (created === undefined) throw await users.find(username) === undefined ? new EmailTaken() : new UsernameTaken()
        audit.record({ kind: 'signup', userId: created.id })
        return created
      },

      async delete (userId) {
        if (await users.findById(userId) === undefined) return false
        if (!(await users.delete(userId))) throw new LastAdmin()
        audit.record({ kind: 'deletion', userId })
        return true
      },

      async setPassword (userId, password) {
        const user = await users.findById(userId)
        if (user === undefined) throw new UserUnknown()
        validate({ password: newPasswordProblem(password, policy) ?? personalPasswordProblem(password, user) })
        await resetPassword({ audit, loginFailures, mail, users }, user, await passwords.hash(password))
      },

      async rename (userId, username) {
        const user = await users.findById(userId)
        if (user === undefined) throw new UserUnknown()
        validate({ username: username === '' ? emptyProblem : usernameProblem(username) })
        const email = requireOwnAddress(username, user.email)
        if (!(await users.rename(userId, username))) throw email !== null && await users.isEmailTaken(email, userId) ? new EmailTaken() : new UsernameTaken()
        audit.record({ kind: 'username_change', userId })
      },

      async setEmail (userId, email, { verified = false } = {}) {
        const user = await users.findById(userId)
        if (user === undefined) throw new UserUnknown()
        validate({ email: (email === null ? undefined : emailProblem(email)) ?? emailChangeProblem(user, email) })
        // Of the same email only more can become known.
        if (email === user.email && !verified) return
        if (!(await users.setEmail(userId, email, { isVerified: verified && email !== null }))) throw new EmailTaken()
        if (email === user.email) return audit.record({ kind: 'email_verification', userId })
        audit.record({ kind: 'email_change', userId })
        notifyOwner({ mail }, user, emailChangedMail)
      },

      async disable (userId) {
        if (await users.findById(userId) === undefined) return false
        const wasEnabled = await users.findDisabledAt(userId) === null
        if (!(await users.disable(userId))) {
          if (await users.findById(userId) === undefined) return false
          throw new LastAdmin()
        }
        if (wasEnabled) audit.record({ kind: 'disabling', userId })
        return true
      },

      async enable (userId) {
        if (await users.findById(userId) === undefined) return false
        if (await users.enable(userId)) audit.record({ kind: 'enabling', userId })
        return true
      },

      async startPasswordReset (userId, { expiresInSeconds: lifetimeSeconds = resetLifetimeSeconds } = {}) {
        validate({ expiresInSeconds: secondsProblem(lifetimeSeconds, resetLifetimeMinSeconds, resetLifetimeMaxSeconds) })
        const issued = await users.findById(userId) && await issuePasswordReset({ codes }, userId, { lifetimeSeconds })
        if (issued === undefined) throw new UserUnknown()
        audit.record({ kind: 'reset_request', userId })
        return issued
      }
    },

    roles: {
      list: () => roles.list(),

      async create ({ name, description }) {
        validate({ name: name === '' ? emptyProblem : roleNameProblem(name), description: descriptionProblem(description) })
        const created = await roles.create({ name, description })
        if (created === undefined) throw new RoleExists()
        audit.record({ kind: 'role_change', detail: `created ${name}` })
        return created
      },

      async delete (name) {
        if (name === adminRole) throw new RoleProtected()
        const isDeleted = await roles.delete(name)
        if (isDeleted) audit.record({ kind: 'role_change', detail: `deleted ${name}` })
        return isDeleted
      },

      ofUser: (userId) => roles.ofUser(userId),

      async grant (userId, name) {
        if (!(await roles.has(name))) throw new RoleNotFound()
        if (!(await roles.grant(userId, name))) throw new UserUnknown()
        audit.record({ kind: 'role_change', userId, detail: `granted ${name}` })
      },

      async revoke (userId, name) {
        if (!(await roles.revoke(userId, name))) throw new LastAdmin()
        audit.record({ kind: 'role_change', userId, detail: `revoked ${name}` })
      }
    },

    tokens: {
      async issue (userId, { description, expiresInSeconds: lifetimeSeconds = personalTokenLifetimeSeconds }) {
        validate({ description: descriptionProblem(description), expiresInSeconds: secondsProblem(lifetimeSeconds, 1, tokenMaxLifetimeSeconds) })
        if (await users.findById(userId) === undefined) throw new UserUnknown()
        const issued = await accessTokens.issue({ userId, kind: 'personal', description, lifetimeSeconds })
        if (issued === undefined) throw await users.findDisabledAt(userId) instanceof Date ? new AccountDisabled() : new TooManyTokens()
        audit.record({ kind: 'token_creation', userId, detail: issued.id })
        return issued
      },

      list: (userId) => tokens.list(userId),

      async revoke (userId, tokenId) {
        const isRevoked = isTokenId(tokenId) && await tokens.revoke(userId, tokenId)
        if (isRevoked) audit.record({ kind: 'revocation', userId, detail: tokenId })
        return isRevoked
      },

      async revokeAll (userId) {
        const isRevoked = await tokens.revokeAll(userId)
        if (isRevoked) audit.record({ kind: 'revocation', userId, detail: 'all' })
        return isRevoked
      }
    },

    invites: createInvitesApi(services),
    audit: { subscribe: audit.subscribe, list: audit.list },
    ping: () => store.ping()
  }
}
