import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import latchkeyOnApp from './latchkey.js'
import type { LatchkeyOptions } from './options.js'
import { resolveOptions } from './resolve-options.js'

export type { LatchkeyApi } from './host.js'
export type { LatchkeyOptions } from './options.js'
export type { AuditEvent, EventFilter, EventKind, EventOutcome, NewEvent } from './plugins/audit/event.js'
export type { Guard } from './plugins/authenticate/guard.js'
export type { IssuedLink } from './plugins/codes/issued-link.js'
export type { InvitesApi } from './plugins/invites/invites-api.js'
export type { Invite, IssuedInvite } from './plugins/invites/invite.js'
export type { Mail, MailKind, SendMail } from './plugins/mail/mail.js'
export type { Role } from './plugins/roles/role.js'
export type { IssuedToken, Token } from './plugins/tokens/token.js'
export type { User } from './plugins/users/user.js'
export { StoreError } from './database/store-error.js'
export * from './errors.js'
export * from './plugins/codes/errors.js'
export * from './routes/accounts/errors.js'
export * from './routes/invites/errors.js'
export * from './routes/second-factor/errors.js'
export * from './routes/sessions/errors.js'

/** The code of an error class. */
type CodeOf<Exported> = Exported extends abstract new (...args: never[]) => { code: infer Code extends string } ? Code : never
/** The codes of a module's error classes. */
type CodesOf<Module> = { [Name in keyof Module]: CodeOf<Module[Name]> }[keyof Module]

/** Every code that an error of Latchkey can have. A code has one meaning and one status. */
export type ErrorCode =
  | CodesOf<typeof import('./errors.js')>
  | CodesOf<typeof import('./plugins/codes/errors.js')>
  | CodesOf<typeof import('./routes/accounts/errors.js')>
  | CodesOf<typeof import('./routes/invites/errors.js')>
  | CodesOf<typeof import('./routes/second-factor/errors.js')>
  | CodesOf<typeof import('./routes/sessions/errors.js')>

/**
 * Latchkey as a Fastify plugin: guards for your routes, and accounts, sessions, roles and events
 * under `/api/v1`. `await` the registration, and write guards in arrays.
 *
 * @throws {StoreError} the database cannot be opened
 * @throws {TypeError} an option is wrong; the message names every one
 * @example
 * await app.register(latchkey, { databaseUrl: 'sqlite:///data/app.sqlite', secretKey: process.env.SECRET_KEY })
 * app.get('/mine', { preHandler: [app.authenticate] }, async (request) => request.currentUser.username)
 */
const latchkey: FastifyPluginAsync<LatchkeyOptions> = async (app, options) => {
  await app.register(latchkeyOnApp, resolveOptions(options))
}

const plugin: FastifyPluginAsync<LatchkeyOptions> = fp(latchkey, { name: 'latchkey', fastify: '5.x' })

export default plugin
