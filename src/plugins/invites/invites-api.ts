import type { Invite, IssuedInvite } from './invite.js'

/** `app.latchkey.invites`: invitations, without HTTP. */
export interface InvitesApi {
  /**
   * Creates an invitation, and mails it if it has an email and the app sends mails: what is
   * returned is the only time that its code is shown.
   *
   * @param invite.email the only email that the account can have; it counts as verified
   * @param invite.roles the names of the roles that the account gets
   * @param invite.expiresInSeconds its lifetime: 7 days by default, from a minute to 30 days
   * @throws {ValidationFailed} 422: the email, a role or the lifetime is not allowed
   * @throws {RoleNotFound} 404
   * @throws {EmailTaken} 409: an account has the email already
   * @throws {TooManyInvites} 409
   */
  create: (invite?: { email?: string | null, roles?: string[], expiresInSeconds?: number }) => Promise<IssuedInvite>
  /** The open invitations, newest first, without their codes. */
  list: () => Promise<Invite[]>
  /** Deletes an invitation; false when there was none. */
  delete: (id: string) => Promise<boolean>
}
