import fc from 'fast-check'

/** What a number in a query string is not, or hardly. */
export const numbers = fc.oneof(
  fc.constantFrom('1', '5', '50', '100'),
  fc.constantFrom(
    'Infinity', '-Infinity', 'NaN', '1e309', '-1e309', '0x10', '0b1', '0o7', '1e1', '+5', '-5', ' 5', '5 ', '5\n', '\t5', '5.0', '5.', '.5', '-0', '0', '05', '101',
    '', 'null', 'true', '[]', '1_0', '5,6', '٥', '５', '5\0', '9007199254740991', '9007199254740993', '1000000000000000', '9'.repeat(400)
  ),
  fc.double().map(String)
)

const longUnicode = ['a' + '\u0345'.repeat(4_000), '\u0334\u0345'.repeat(2_000), 'e\u0301'.repeat(300), '\ud83d\ude00'.repeat(300)]

/** Strings that something may stumble over. */
export const strings = fc.oneof(
  fc.constantFrom(
    '', ' ', '.', '..', '-', '--help', '\0', 'bob\0', 'bob ', ' bob', 'BOB', 'null', 'undefined', 'true', '__proto__', 'constructor', 'toString', 'hasOwnProperty',
    "' or 1=1 --", '"; drop table users; --', '%', '_', '%00', '%2e%2e%2f', '\\', '/', '../../etc/passwd', '<script>alert(1)</script>', 'a\r\nX-Injected: 1', '\u202ebob', '\ufeffbob', '\u200bbob',
    '\u212a', '\u0130', 'ſ', 'ß', 'é', 'e\u0301', '\ud800', 'bob\udfff', '\uffff', 'x'.repeat(64), 'x'.repeat(65), 'x'.repeat(200), 'x'.repeat(257), 'x'.repeat(10_000), 'bob@example.com', 'a@b\n'
  ),
  fc.constantFrom(...longUnicode),
  // Any code points, lone surrogates too.
  fc.array(fc.oneof(fc.integer({ min: 0, max: 0x2ff }), fc.integer({ min: 0, max: 0x10ffff })), { maxLength: 40 }).map((points) => String.fromCodePoint(...points))
)

/** Values of every type that JSON has. */
export const jsonValues: fc.Arbitrary<unknown> = fc.oneof(
  strings,
  fc.constantFrom(null, true, false, 0, -1, 1.5, 1e308, Number.MAX_SAFE_INTEGER + 2, [], {}, ['bob'], [[]], { toString: 'bob' }, { length: 5 }, { $ref: '#' }),
  fc.jsonValue({ maxDepth: 3 })
)

const deep = (depth: number) => '['.repeat(depth) + ']'.repeat(depth)

/** Bodies that are no JSON, or none of ours. */
const bodies = fc.constantFrom<string | Buffer>(
  '{', '{}', '[]', 'null', '5', '"bob"', 'true', 'undefined', ' ', '\n', '\0', '{"username":', '{"username":"bob",}', "{'username':'bob'}", '{"a":1e309}', '{"expires_in":1e309,"description":"x"}', '{"a":NaN}',
  deep(8_000), deep(100), '{"a":'.repeat(2_000), '{"__proto__":{"x":1}}', '{"constructor":{"prototype":{"x":1}}}', '{"username":"\\ud800","password":"\\udfff"}', '{"username":"bob\\u0000","password":"\\u0000"}',
  `{"x":"${'x'.repeat(16_384)}"}`, 'x'.repeat(20_000), '\ufeff{}', 'username=bob&password=x',
  Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d]), Buffer.from('{"username":"bob"}', 'utf16le'), Buffer.from([0xed, 0xa0, 0x80]), Buffer.from([0xc0, 0x80])
)

/** What becomes of a body on its way: mostly nothing. */
export const bodyChanges: fc.Arbitrary<(json: string) => string | Buffer | undefined> = fc.oneof(
  { weight: 20, arbitrary: fc.constant((json: string) => json) },
  { weight: 4, arbitrary: bodies.map((body) => () => body) },
  { weight: 2, arbitrary: fc.constantFrom((): undefined => undefined, () => '') },
  {
    weight: 3,
    arbitrary: fc.constantFrom<(json: string) => string | Buffer>(
      (json) => `\ufeff${json}`,
    (json) => `${json}x`,
    (json) => json.slice(0, -1),
    (json) => json.replace('{', '{"__proto__":null,'),
    (json) => json.replace('{', '{"id":1,"user_id":1,"roles":["admin"],"is_admin":true,"password_hash":"x",'),
    // The same names twice.
    (json) => json.replace(/\}$/, `,${json.slice(1)}`),
    (json) => Buffer.from(json, 'utf16le'),
    (json) => Buffer.from(json.replace(/"([^"]*)"\}$/, '"\u00ff"}'), 'latin1')
    )
  }
)

export const contentTypes = fc.oneof(
  { weight: 20, arbitrary: fc.constant('application/json') },
  { weight: 2, arbitrary: fc.constant(undefined) },
  {
    weight: 4,
    arbitrary: fc.constantFrom(
      'Application/JSON; charset=UTF-8', 'application/json;charset=utf-16', 'application/json; charset="', 'application/json;', 'application/jsonp', 'text/json', 'text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data', 'multipart/form-data; boundary=x',
      'application/vnd.api+json', '', ';', '/', 'json', 'application/json, text/plain', '*/*', '__proto__', 'x'.repeat(2_000)
    )
  }
)

/** Authorization headers that are no token of ours. */
export const authorizations = fc.oneof(
  fc.constantFrom('', ' ', 'Bearer', 'Bearer ', 'bearer  ', 'Basic Ym9iOnB3', 'Bearer null', 'Bearer undefined', '.', '..', '...', 'Bearer ..', 'e.y.J', 'Bearer a.b.c.d', 'x'.repeat(15_000), 'Bearer ' + 'ey.'.repeat(3_000), '__proto__', 'Bearer \u00ff', 'Bearer eyJhbGciOiJub25lIn0.e30.'),
  fc.base64String({ maxLength: 60 }),
  fc.string({ maxLength: 60 })
)
