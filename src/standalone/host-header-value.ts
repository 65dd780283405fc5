import type { IncomingMessage } from 'node:http'

// RFC 3986, section 3.2.2, and a port; the comma, which a registered name can have, would
// make one host of two.
const authority = /^[\w.~!$&'()*+;=%:[\]-]*$/

/** Whether a request names its host as HTTP asks: HTTP/1.1 once, HTTP/1.0 at most once, in either nothing that is no host. */
function namesOneHost (httpVersion: string, rawHeaders: string[]): boolean {
  let host: string | undefined
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]
    if (name?.length !== 4 || name.toLowerCase() !== 'host') continue
    if (host !== undefined) return false
    host = rawHeaders[i + 1]
  }
  return host === undefined ? httpVersion === '1.0' : authority.test(host)
}

/** Whether a request is one of HTTP/1.0 or 1.1 that says for whom it is (RFC 9112, sections 2.3 and 3.2). */
export function isUnambiguous ({ httpVersion, httpVersionMajor, rawHeaders }: IncomingMessage): boolean {
  return httpVersionMajor === 1 && namesOneHost(httpVersion, rawHeaders)
}
