/** What a user can be. */
export interface Role {
  name: string
  /** What it allows: one line. */
  description: string
}
