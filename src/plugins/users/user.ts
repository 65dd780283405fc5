/** An account, without its secrets. */
export interface User {
  /** Never given to anybody else, not even after the account is deleted. */
  id: number
  username: string
  email: string | null
  createdAt: Date
}
