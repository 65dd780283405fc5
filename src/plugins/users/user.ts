/** An account, without its secrets. */
export interface User {
  /** Never given to another user, not even after the account is deleted. */
  id: number
  username: string
  email: string | null
  /** Whether its owner has proven that the email is theirs. */
  emailVerified: boolean
  createdAt: Date
}
