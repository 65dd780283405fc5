import type { Static } from '@sinclair/typebox'
import type { IssuedLink } from '../../plugins/codes/issued-link.js'
import type { ListedUser, UserDetails } from '../../plugins/users/directory.js'
import { userBody } from '../../plugins/users/user-body.js'
import type { ManagedUser, ResetCode, UserDetailsBody } from './schemas.js'

/** Puts an account of the list into the form of the API. */
export function managedUser ({ disabledAt, secondFactor, roles, ...user }: ListedUser): Static<typeof ManagedUser> {
  return { ...userBody(user), second_factor: secondFactor, disabled_at: disabledAt?.toISOString() ?? null, roles }
}

/** Puts an account with its details into the form of the API. */
export function userDetails ({ lastLoginAt, tokenCount, ...user }: UserDetails): Static<typeof UserDetailsBody> {
  return { ...managedUser(user), last_login_at: lastLoginAt?.toISOString() ?? null, token_count: tokenCount }
}

/** Puts a new code into the form of the API. */
export function resetCode ({ code, url, expiresAt }: IssuedLink): Static<typeof ResetCode> {
  return { code, url, expires_at: expiresAt.toISOString() }
}
