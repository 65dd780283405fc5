// What is true, told by the contract alone. Plain data, so that it can be copied; the
// server's database never decides what is expected of it.

/** An account, also one that is deleted: its id and its tokens must stay dead. */
export interface Account {
  id: number
  username: string
  email: string | null
  password: string
  createdAt: number
  roles: string[]
  isDeleted: boolean
}

/** A token that was given out, whatever became of it. */
export interface Token {
  value: string
  id: string
  userId: number
  kind: 'login' | 'personal'
  description: string
  createdAt: number
  /** When the login with a password was that it goes back to. */
  loggedInAt: number
  /** Whether a renewal has made it. */
  isSuccessor: boolean
  /** When it was renewed first. */
  renewedAt?: number
  expiresAt: number
  isRevoked: boolean
  /** When it passed the guard. */
  uses: number[]
}

/** An event that the audit log must have; `isOptional`: may have. */
export interface AuditEvent {
  time: number
  kind: string
  outcome: string
  userId: number | null
  actorId: number | null
  isOptional: boolean
}

/** Times are milliseconds since 1970. */
export interface Model {
  now: number
  accounts: Account[]
  tokens: Token[]
  /** Descriptions by name. */
  roles: Record<string, string>
  events: AuditEvent[]
  /** When several requests were answered at once: which of their events were written is not known. */
  concurrentTimes: number[]
}

export const loginLifetimeSeconds = 172_800
/** For how long after the login with a password tokens are renewed. */
export const sessionMaxSeconds = 2_592_000
/** For how long a renewed token stays valid. */
export const graceSeconds = 30
/** At most one use of a token in this time is noted. */
const useResolutionMs = 300_000
export const personalLifetimeSeconds = 2_592_000
export const tokensMax = 100
export const personalTokensMax = 99
/** A login that is older than this needs the password to make a personal token. */
export const freshLoginSeconds = 900

export const emptyModel = (now: number): Model => ({
  now, accounts: [], tokens: [], roles: { admin: '' }, events: [], concurrentTimes: []
})

/** The account of a username in any case. */
export function accountNamed (model: Model, username: string): Account | undefined {
  return model.accounts.find((account) => !account.isDeleted && account.username.toLowerCase() === username.toLowerCase())
}

export function accountOf (model: Model, id: number): Account {
  const account = model.accounts.find((account) => account.id === id)
  if (account === undefined) throw new Error(`the model has no account ${id}`)
  return account
}

export const isAdmin = (account: Account) => !account.isDeleted && account.roles.includes('admin')

export const isPastGrace = (model: Model, { renewedAt = Infinity }: Token) => model.now - renewedAt >= graceSeconds * 1_000

export const isActive = (model: Model, token: Token) =>
  !token.isRevoked && !isPastGrace(model, token) && token.expiresAt > model.now && !accountOf(model, token.userId).isDeleted

/** A user's active tokens, newest first. */
export function activeTokens (model: Model, userId: number): Token[] {
  return model.tokens.filter((token) => token.userId === userId && isActive(model, token)).reverse()
}

/** Whether anybody but this account has the role `admin`. */
export const hasOtherAdmin = (model: Model, id: number) => model.accounts.some((account) => account.id !== id && isAdmin(account))

export function revokeTokens (model: Model, userId: number, keptValue?: string): void {
  for (const token of model.tokens) {
    if (token.userId === userId && token.value !== keptValue) token.isRevoked = true
  }
}

/** Revokes a token, those of its login that were renewed, and if it was renewed itself, its successors. */
export function revokeToken (model: Model, { id, userId, kind, loggedInAt, renewedAt }: Token): void {
  for (const token of model.tokens) {
    const isOfLogin = kind === 'login' && token.userId === userId && token.loggedInAt === loggedInAt
    if (token.id === id || (isOfLogin && (token.renewedAt !== undefined || (renewedAt !== undefined && token.isSuccessor)))) token.isRevoked = true
  }
}

/** When a token was used last, as the server has noted it; when it was made, if it was not used. */
const lastUse = ({ uses, createdAt }: Token) => uses.reduce((last, use) => last === 0 || use - last >= useResolutionMs ? use : last, 0) || createdAt

/** The tokens that are evicted first are first: renewed ones, then those that were not used for the longest time. */
function byEviction (a: Token, b: Token): number {
  return Number(a.renewedAt === undefined) - Number(b.renewedAt === undefined) || lastUse(a) - lastUse(b) || a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1)
}

/** Adds a token. Of more than `tokensMax` the least recently used logins are evicted, but none of `kept`. */
export function addToken (model: Model, token: Omit<Token, 'isRevoked' | 'uses' | 'createdAt' | 'loggedInAt' | 'isSuccessor' | 'renewedAt'> & { loggedInAt?: number }, ...kept: string[]): void {
  model.tokens.push({ loggedInAt: model.now, ...token, isSuccessor: token.loggedInAt !== undefined, createdAt: model.now, isRevoked: false, uses: [] })
  const active = activeTokens(model, token.userId)
  const evictable = active.filter(({ kind, value }) => kind === 'login' && value !== token.value && !kept.includes(value))
  for (const evicted of evictable.sort(byEviction).slice(0, Math.max(0, active.length - tokensMax))) {
    evicted.isRevoked = true
    recordEvent(model, 'eviction', { userId: token.userId })
  }
}

export function recordEvent (model: Model, kind: string, event: Partial<AuditEvent> = {}): void {
  model.events.push({ time: model.now, kind, outcome: 'success', userId: null, actorId: null, isOptional: false, ...event })
}
