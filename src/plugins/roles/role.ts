/** A role that users can have. */
export interface Role {
  name: string
  /** What the role permits, in one line. */
  description: string
}
