/** The ids that a token names. A type, not an interface: they are the values of a prepared query. */
export type TokenIds = {
  userId: number
  tokenId: string
}

/** An active token, as its owner sees it. */
export interface Token {
  /** Its `jti` claim (RFC 7519, section 4.1.7). */
  id: string
  /** What it is for; of a login token, the start of the User-Agent. */
  description: string
  createdAt: Date
  expiresAt: Date
  /** To five minutes; null when it was not used yet. */
  lastUsedAt: Date | null
}

/** A new token. Its text is shown once, to its owner. */
export interface IssuedToken {
  id: string
  /** The JSON Web Token. */
  token: string
  lifetimeSeconds: number
  createdAt: Date
  expiresAt: Date
}
