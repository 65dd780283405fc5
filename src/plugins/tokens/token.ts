/** An active token, as its owner sees it. */
export interface Token {
  /** Its `jti` claim (RFC 7519, section 4.1.7). */
  id: string
  /** What it is for; of a login, the start of the User-Agent. */
  description: string
  createdAt: Date
  expiresAt: Date
  /** To about five minutes; null when it was not used yet. */
  lastUsedAt: Date | null
}

/** A token as its owner gets it, once. */
export interface IssuedToken {
  id: string
  /** The JSON Web Token. */
  token: string
  lifetimeSeconds: number
  createdAt: Date
  expiresAt: Date
}
