/** How long an invitation is valid by default, in seconds: 7 days. */
export const inviteLifetimeSeconds = 604_800
/** The shortest and the longest lifetime of an invitation, in seconds: a minute, 30 days. */
export const inviteMinLifetimeSeconds = 60
export const inviteMaxLifetimeSeconds = 2_592_000
/** How many roles an invitation can grant. */
export const inviteRolesMax = 100
/** How many invitations can be open at the same time. */
export const openInvitesMax = 1_000

/** What an invitation is for. */
export interface InviteData {
  /** The only email that it can be used with; null for any. */
  email: string | null
  /** The names of the roles that the new account gets, sorted. */
  roles: string[]
}

/** An open invitation, without its code. */
export interface Invite extends InviteData {
  /** The hash under which its code is stored: the code cannot be found from it. */
  id: string
  createdAt: Date
  expiresAt: Date
}

/** A new invitation: its code is shown this once. */
export interface IssuedInvite extends Invite {
  code: string
  /** The link that has the code; null without `publicUrl`. */
  url: string | null
}

/** An invitation to be created; its email and the names of its roles have been validated. */
export interface NewInvite extends InviteData {
  lifetimeSeconds: number
}
