import fc from 'fast-check'

// Requests as they are on the wire, well-formed or not.

const requestLines = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom('GET / HTTP/1.1', 'GET /need_login HTTP/1.1', 'POST /api/v1/login HTTP/1.1', 'DELETE /api/v1/tokens HTTP/1.1', 'PUT /api/v1/users/bob/roles/admin HTTP/1.1', 'GET /health/live HTTP/1.1') },
  {
    weight: 5,
    arbitrary: fc.constantFrom(
      'GET /need_login HTTP/1.0', 'GET / HTTP/2.0', 'PRI * HTTP/2.0', 'GET / HTTP/0.9', 'GET / HTTP/9.9', 'GET /', 'GET', '', ' ', 'GET  / HTTP/1.1', 'GET / HTTP/1.1 x', 'get / HTTP/1.1', 'G\0ET / HTTP/1.1', 'QUERY /api/v1/me HTTP/1.1', 'PROPFIND / HTTP/1.1', 'OPTIONS * HTTP/1.1', 'TRACE / HTTP/1.1', 'CONNECT localhost:1 HTTP/1.1', 'FOO / HTTP/1.1',
      'GET http://localhost/need_login HTTP/1.1', 'GET //need_login HTTP/1.1', 'GET /need_login/ HTTP/1.1', 'GET /NEED_LOGIN HTTP/1.1', 'GET /need_login;x HTTP/1.1', 'GET /%6eeed_login HTTP/1.1', 'GET /x/../need_login HTTP/1.1', 'GET /%2e%2e/need_login HTTP/1.1', 'GET /x%2f..%2fneed_login HTTP/1.1', 'GET need_login HTTP/1.1', 'GET * HTTP/1.1', 'GET /\0 HTTP/1.1', 'GET /\xff HTTP/1.1', 'GET /%zz HTTP/1.1', 'GET /?\0 HTTP/1.1', 'GET /#x HTTP/1.1', 'GET \\ HTTP/1.1',
      'DELETE /api/v1/users/../roles/admin HTTP/1.1', 'DELETE /api/v1/users/bob/roles/.. HTTP/1.1', 'DELETE /api/v1/tokens/ HTTP/1.1', `GET /${'a'.repeat(20_000)} HTTP/1.1`, `GET /api/v1/me/events?limit=${'9'.repeat(8_000)} HTTP/1.1`, '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'
    )
  }
)

const headers = fc.constantFrom(
  'Host: localhost', 'Host: localhost', 'Host: other', 'host:', 'Host: a b', 'Host: localhost:99999', 'Host : localhost', 'Connection: close', 'Connection: keep-alive', 'Connection: Upgrade', 'Upgrade: h2c', 'Upgrade: websocket', 'HTTP2-Settings: AAMAAABkAAQAAP__',
  'Expect: 200-ok', 'Expect: 100-continue', 'Expect: ', 'Content-Type: application/json', 'Content-Type: application/json', 'Content-Type: \x00', 'Accept: \xff', 'Authorization: Bearer x', 'Authorization: e.y.J', 'Authorization : Bearer x', 'AUTHORIZATION: x', `Authorization: ${'x'.repeat(15_000)}`, `X: ${'x'.repeat(20_000)}`,
  'Transfer-Encoding: chunked', 'Transfer-Encoding: chunked, chunked', 'Transfer-Encoding: xchunked', 'Transfer-Encoding : chunked', 'Transfer-Encoding: \x0bchunked', 'Transfer-Encoding: identity', 'Transfer-Encoding: gzip, chunked', 'Trailer: Authorization',
  'Content-Length: 0', 'Content-Length: 2', 'Content-Length: 5', 'Content-Length: 100', 'Content-Length: -1', 'Content-Length: +2', 'Content-Length: 2, 2', 'Content-Length: 0x2', 'Content-Length: 99999999999999999999', 'Content-Length: 2\r\nContent-Length: 3', 'Content_Length: 2',
  ' folded: x', '\tfolded', 'without a colon', ': without a name', 'X\0: y', 'X: \0', 'X: \r', 'X: a\nTransfer-Encoding: chunked', 'X\xff: y', '__proto__: x', 'Cookie: a=b', 'X-Forwarded-For: 10.0.0.1', 'X-HTTP-Method-Override: DELETE', 'Sec-WebSocket-Key: x', 'Content-Encoding: gzip', 'Range: bytes=0-1', 'If-None-Match: *'
)

const bodies = fc.constantFrom(
  '', '', '{}', '{"username":"bob","password":"x"}', '0\r\n\r\n', '2\r\n{}\r\n0\r\n\r\n', '5\r\nhello\r\n0\r\n\r\n', '2;x=y\r\n{}\r\n0\r\nAuthorization: x\r\n\r\n', 'zz\r\n{}\r\n', '-1\r\n', 'ffffffffffffffff\r\n', '2\n{}\n0\n\n', '0\r\n\r\nGET /need_login HTTP/1.1\r\nHost: localhost\r\n\r\n',
  'GET /need_login HTTP/1.1\r\nHost: localhost\r\n\r\n', '\0'.repeat(100), 'x'.repeat(20_000)
)

const request = fc.record({
  line: requestLines,
  hasHost: fc.oneof({ weight: 5, arbitrary: fc.constant(true) }, { weight: 1, arbitrary: fc.constant(false) }),
  headers: fc.array(headers, { maxLength: 4 }),
  lineEnd: fc.oneof({ weight: 15, arbitrary: fc.constant('\r\n') }, { weight: 1, arbitrary: fc.constantFrom('\n', '\r', '\r\n ') }),
  body: bodies
}).map(({ line, hasHost, headers, lineEnd, body }) => [line, ...(hasHost ? ['Host: localhost'] : []), ...headers, '', body].join(lineEnd))

/** What one connection sends: a request or several, all in one write. Each character is a byte. */
export const connections = fc.array(request, { minLength: 1, maxLength: 3 }).map((texts) => texts.join(''))

const post = (...lines: string[]) => ['POST /api/v1/login HTTP/1.1', ...lines, '', '{}'].join('\r\n')

/** What has one right answer. Each ends the connection. */
export const malformed: Array<{ name: string, text: string, statuses: number[] }> = [
  { name: 'HTTP/1.1 without Host', text: 'GET / HTTP/1.1\r\nConnection: close\r\n\r\n', statuses: [400] },
  { name: 'two Host lines', text: 'GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\nConnection: close\r\n\r\n', statuses: [400] },
  { name: 'another expectation', text: 'GET / HTTP/1.1\r\nHost: localhost\r\nExpect: 200-ok\r\nConnection: close\r\n\r\n', statuses: [417] },
  { name: 'the method QUERY', text: 'QUERY / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n', statuses: [400, 405] },
  { name: 'an HTTP/2.0 request line', text: 'GET / HTTP/2.0\r\nHost: localhost\r\nConnection: close\r\n\r\n', statuses: [400, 505] },
  { name: 'Content-Length and Transfer-Encoding', text: post('Host: localhost', 'Content-Length: 2', 'Transfer-Encoding: chunked', 'Connection: close'), statuses: [400] },
  { name: 'two lengths', text: post('Host: localhost', 'Content-Length: 2', 'Content-Length: 3', 'Connection: close'), statuses: [400] },
  { name: 'a header name with a space', text: post('Host: localhost', 'Transfer-Encoding : chunked', 'Connection: close'), statuses: [400] },
  { name: 'headers that are too large', text: `GET / HTTP/1.1\r\nHost: localhost\r\nX: ${'x'.repeat(20_000)}\r\nConnection: close\r\n\r\n`, statuses: [431] }
]
