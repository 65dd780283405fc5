/** A new code with its link; `url` is null without PUBLIC_URL. */
export interface IssuedLink {
  code: string
  url: string | null
  expiresAt: Date
}
