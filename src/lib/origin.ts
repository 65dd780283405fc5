/** Schemes whose pages have no origin of their own, or that no page is loaded from. */
const originless = new Set(['file:', 'data:', 'blob:', 'about:', 'javascript:', 'ftp:', 'ws:', 'wss:'])

/** Scheme, host and perhaps a port, such as `capacitor://localhost`, with what may follow them. */
const parts = /^([a-z][a-z0-9+.-]*:)\/\/([a-z0-9._-]+(?::\d{1,5})?)(?:[/?#]|$)/

/**
 * The origin of a page as a browser sends it (RFC 6454, section 6.2); undefined if a text names
 * none. Apps and browser extensions have schemes of their own: their origin is what is written.
 */
function canonicalOrigin (text: string): string | undefined {
  if (/^https?:\/\//i.test(text)) return URL.canParse(text) ? new URL(text).origin : undefined
  const [, scheme = '', host] = parts.exec(text.toLowerCase()) ?? []
  return host === undefined || originless.has(scheme) ? undefined : `${scheme}//${host}`
}

/** Whether a text is an origin exactly as a browser sends it in `Origin`. Wildcards and `null` are none. */
export function isOrigin (text: string): boolean {
  return !text.includes('*') && canonicalOrigin(text) === text
}

/**
 * What is wrong with a text that is no origin, as the end of a sentence; undefined if there is
 * nothing particular to say.
 */
export function originProblem (text: string): string | undefined {
  if (text.includes('*')) return 'must be a list of origins without wildcards: name each one'
  if (text.toLowerCase() === 'null') return 'must be a list of origins without null: anybody can make pages with this origin'
  const origin = text.includes('@') ? undefined : canonicalOrigin(text)
  return origin === undefined || origin.length > 100 ? undefined : `must be written as browsers send it: ${origin}`
}
