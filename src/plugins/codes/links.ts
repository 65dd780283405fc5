import type { CodeKind } from './repository.js'

/** The kinds of codes that a link can carry. */
export type LinkKind = Extract<CodeKind, 'password_reset' | 'email_verification' | 'invite'>

/** The pages that take a code, below PUBLIC_URL. */
const pages: Record<LinkKind, string> = {
  password_reset: 'ui/reset',
  email_verification: 'ui/verify',
  invite: 'ui/signup'
}

/** Makes links. */
export interface CodeLinks {
  /**
   * The link to the page that takes a code; null without PUBLIC_URL. The code is its fragment,
   * which reaches no server, no log and no Referer (RFC 9110, section 4.2.4).
   */
  urlOf: (kind: LinkKind, code: string) => string | null
}

/** @param publicUrl where people reach the app; the only source of links: never a header of a request */
export function codeLinks (publicUrl: string | undefined): CodeLinks {
  return {
    urlOf: (kind, code) => publicUrl === undefined ? null : `${publicUrl.replace(/\/$/, '')}/${pages[kind]}#${code}`
  }
}
