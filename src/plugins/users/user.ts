/** An account, without its secrets. */
export interface User {
  /** Never given to another user, not even after the account is deleted. */
  id: number
  username: string
  email: string | null
  createdAt: Date
}
