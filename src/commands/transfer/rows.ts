import type { Store } from '../../database/store.js'
import { recoveryLifetimeSeconds } from '../../plugins/second-factor/repository.js'
import { createNoPassword, isNoPassword } from '../../plugins/passwords/stored-hash.js'
import { canonicalEmail } from '../../plugins/users/email.js'
import { canonicalUsername } from '../../plugins/users/username.js'
import { CommandError } from '../terminal.js'
import type { SecondFactorRecord, TokenRecord, UserRecord } from './format.js'

type Tables = Store['tables']
type UserRow = Tables['users']['$inferSelect']
type TokenRow = Tables['tokens']['$inferSelect']

/** What an account has besides its row. */
export interface UserData {
  roles: string[]
  tokens: TokenRow[]
  /** Undefined where it has none. */
  secondFactor: Tables['secondFactors']['$inferSelect'] | undefined
  recoveryHashes: string[]
}

/** The canonical form of a valid username, as the column `username_key` has it. */
export const usernameKeyOf = (user: UserRecord): string => String(canonicalUsername(user.username))
/** The canonical form of an email, as the column `email_key` has it; null without one. */
export const emailKeyOf = ({ email = null }: UserRecord): string | null => email === null ? null : canonicalEmail(email)

const timeOf = (time: string | null | undefined): Date | null => typeof time === 'string' ? new Date(time) : null
const textOf = (time: Date | null): string | null => time === null ? null : time.toISOString()

function toTokenRecord (token: TokenRow): TokenRecord {
  return {
    id: token.id,
    kind: token.kind,
    description: token.description,
    created_at: token.createdAt.toISOString(),
    expires_at: token.expiresAt.toISOString(),
    last_used_at: textOf(token.lastUsedAt),
    logged_in_at: textOf(token.loggedInAt)
  }
}

/** @throws {CommandError} the secret is missing: that is never taken for "off" */
function toSecondFactorRecord ({ username, secondFactorAt }: UserRow, { secondFactor, recoveryHashes }: UserData): SecondFactorRecord | null {
  if (secondFactorAt === null) return null
  if (secondFactor === undefined) throw new CommandError(`the secret of the second factor of user ${username} is missing: switch it off first, latchkey user second-factor off ${username}`)
  return { sealed_secret: secondFactor.sealedSecret, last_step: secondFactor.lastStep, enabled_at: secondFactorAt.toISOString(), recovery_hashes: recoveryHashes }
}

/** Converts an account with its data from rows to a record. */
export function toUserRecord (user: UserRow, data: UserData): UserRecord & { id: number } {
  return {
    type: 'user',
    id: user.id,
    username: user.username,
    email: user.email,
    password_hash: isNoPassword(user.passwordHash) ? null : user.passwordHash,
    created_at: user.createdAt.toISOString(),
    updated_at: user.updatedAt.toISOString(),
    disabled_at: textOf(user.disabledAt),
    email_verified_at: textOf(user.emailVerifiedAt),
    second_factor: toSecondFactorRecord(user, data),
    roles: data.roles,
    tokens: data.tokens.map(toTokenRecord)
  }
}

/**
 * Converts a record to a row of `users`.
 *
 * @param now the time of the import, for a record without times
 */
export function toUserRow (user: UserRecord, now: Date) {
  return {
    id: user.id,
    username: user.username,
    usernameKey: usernameKeyOf(user),
    email: user.email ?? null,
    emailKey: emailKeyOf(user),
    passwordHash: user.password_hash ?? createNoPassword(),
    createdAt: new Date(user.created_at ?? now),
    updatedAt: new Date(user.updated_at ?? user.created_at ?? now),
    disabledAt: timeOf(user.disabled_at),
    emailVerifiedAt: timeOf(user.email_verified_at),
    secondFactorAt: timeOf(user.second_factor?.enabled_at)
  }
}

/** Converts a record to a row of `tokens`. */
export function toTokenRow (userId: number, token: TokenRecord) {
  return {
    id: token.id,
    userId,
    kind: token.kind,
    description: token.description,
    createdAt: new Date(token.created_at),
    expiresAt: new Date(token.expires_at),
    lastUsedAt: timeOf(token.last_used_at),
    loggedInAt: timeOf(token.logged_in_at)
  }
}

/** A row of `codes` for a recovery code, without its user. */
export function toRecoveryRow (hash: string, now: Date) {
  return { hash, kind: 'recovery' as const, createdAt: now, expiresAt: new Date(now.getTime() + recoveryLifetimeSeconds * 1_000) }
}
