// Header members that our tokens have. Any other (jku, x5u, jwk, kid, crit, …) asks the verifier
// to fetch, trust or understand something: such a token is rejected before it is verified
// (RFC 8725, sections 3.1 and 3.10).
const headerMembers = new Set(['alg', 'typ'])

// Three parts of base64url (JWS Compact Serialization: RFC 7515, section 7.1). The last is the 32
// bytes of HMAC-SHA-256: 43 characters, of which the last has two unused bits. Only the canonical
// form is accepted (RFC 4648, section 3.5), so that a token has one spelling.
const compactForm = /^[\w-]+\.[\w-]+\.[\w-]{42}[AEIMQUYcgkosw048]$/

function hasOurHeader (token: string): boolean {
  let header: unknown
  try {
    header = JSON.parse(Buffer.from(token.slice(0, token.indexOf('.')), 'base64url').toString())
  } catch {
    return false
  }
  return typeof header === 'object' && header !== null && !Array.isArray(header) &&
    Object.keys(header).every((member) => headerMembers.has(member)) &&
    (!('typ' in header) || header.typ === 'JWT')
}

/** Whether a string has the form of a token that we issue, and nothing else in its header. Its signature is not verified. */
export function hasTokenForm (token: string): boolean {
  return compactForm.test(token) && hasOurHeader(token)
}
