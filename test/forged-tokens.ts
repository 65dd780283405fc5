import { createHmac, generateKeyPairSync, sign as signRsa } from 'node:crypto'
import { claimsOf, secretKey } from './helper.js'

const encode = (part: unknown) => Buffer.from(typeof part === 'string' ? part : JSON.stringify(part)).toString('base64url')

const ours = { alg: 'HS256', typ: 'JWT' }

/** A token like another one, with any header, payload, key and hash. */
export function forge (token: string, head: unknown = ours, body: unknown = claimsOf(token), key = secretKey, hash = 'sha256'): string {
  const input = `${encode(head)}.${encode(body)}`
  return `${input}.${createHmac(hash, key).update(input).digest('base64url')}`
}

/** Values of the Authorization header that are almost a valid token: none may be accepted. */
export function forgedTokens (token: string): Record<string, string> {
  const [header = '', payload = '', signature = ''] = token.split('.')
  const claims = claimsOf(token)
  const middle = Math.floor(signature.length / 2)
  const flipped = `${signature.slice(0, middle)}${signature[middle] === 'A' ? 'B' : 'A'}${signature.slice(middle + 1)}`
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const rsaInput = `${encode({ alg: 'RS256', typ: 'JWT' })}.${payload}`
  return {
    'empty header value': '',
    'Bearer and nothing': 'Bearer',
    'Bearer and a space': 'Bearer ',
    'another scheme': `Basic ${token}`,
    'token68 of another scheme': 'Basic Ym9iOnBhc3N3b3Jk',
    'scheme twice': `Bearer Bearer ${token}`,
    'something after it': `Bearer ${token} x`,
    'a comma after it': `Bearer ${token},`,
    'in quotes': `Bearer "${token}"`,
    'a tab before it': `Bearer\t${token}`,
    'two segments': `${header}.${payload}`,
    'no signature': `${header}.${payload}.`,
    'four segments': `${token}.x`,
    'five segments': `${token}.x.y`,
    'only dots': '..',
    padding: `${header}.${payload}.${signature}=`,
    'padding in the payload': `${header}.${payload}==.${signature}`,
    'the standard alphabet': `${header}.${payload}+/.${signature}`,
    'a space within': `${header}. ${payload}.${signature}`,
    'signature flipped': `${header}.${payload}.${flipped}`,
    'signature cut': `${header}.${payload}.${signature.slice(0, -4)}`,
    'signature in another spelling': `${token.slice(0, -1)}${String.fromCharCode(token.charCodeAt(token.length - 1) + 1)}`,
    'signature longer': `${token}AAAA`,
    'signature of nothing': `${header}.${payload}.AAAA`,
    'payload of another': `${header}.${encode({ ...claims, user_id: 2 })}.${signature}`,
    'another key': forge(token, ours, claims, 'Another-Key-Of-Somebody-Else-Altogether-42'),
    'an empty key': forge(token, ours, claims, ''),
    'alg none': `${encode({ alg: 'none', typ: 'JWT' })}.${payload}.`,
    'alg none, signed': forge(token, { alg: 'none', typ: 'JWT' }),
    'alg NONE': `${encode({ alg: 'NONE' })}.${payload}.${signature}`,
    'alg nOnE': `${encode({ alg: 'nOnE' })}.${payload}.x`,
    'alg hs256': forge(token, { alg: 'hs256', typ: 'JWT' }),
    'alg HS384': forge(token, { alg: 'HS384', typ: 'JWT' }, claims, secretKey, 'sha384'),
    'alg HS512': forge(token, { alg: 'HS512', typ: 'JWT' }, claims, secretKey, 'sha512'),
    'alg RS256': `${rsaInput}.${signRsa('sha256', Buffer.from(rsaInput), privateKey).toString('base64url')}`,
    'alg RS256 keyed with the secret': forge(token, { alg: 'RS256', typ: 'JWT' }),
    'alg missing': forge(token, { typ: 'JWT' }),
    'alg a number': forge(token, { alg: 256 }),
    'alg null': forge(token, { alg: null }),
    'alg an array': forge(token, { alg: ['HS256'] }),
    'alg an object': forge(token, { alg: { toString: 'HS256' } }),
    'typ another': forge(token, { alg: 'HS256', typ: 'at+jwt' }),
    'typ a number': forge(token, { alg: 'HS256', typ: 1 }),
    jku: forge(token, { ...ours, jku: 'http://127.0.0.1/keys' }),
    x5u: forge(token, { ...ours, x5u: 'http://127.0.0.1/cert' }),
    jwk: forge(token, { ...ours, jwk: { kty: 'oct', k: '' } }),
    x5c: forge(token, { ...ours, x5c: ['MIIB'] }),
    kid: forge(token, { ...ours, kid: '../../../dev/null' }),
    'crit unknown': forge(token, { ...ours, crit: ['exp2'], exp2: 1 }),
    'crit empty': forge(token, { ...ours, crit: [] }),
    'b64 false': forge(token, { ...ours, b64: false, crit: ['b64'] }),
    'header an array': forge(token, [ours]),
    'header a string': forge(token, '"HS256"'),
    'header null': forge(token, 'null'),
    'header no JSON': forge(token, '{'),
    'header empty': `.${payload}.${signature}`,
    'payload an array': forge(token, ours, [claims]),
    'payload a string': forge(token, ours, '"bob"'),
    'payload null': forge(token, ours, 'null'),
    'payload a number': forge(token, ours, '42'),
    'payload no JSON': forge(token, ours, '{'),
    'payload empty': `${header}..${signature}`,
    'payload not UTF-8': `${header}.${Buffer.from([0xff, 0xfe]).toString('base64url')}.${signature}`,
    'no exp': forge(token, ours, { ...claims, exp: undefined }),
    'no iat': forge(token, ours, { ...claims, iat: undefined }),
    'exp a string': forge(token, ours, { ...claims, exp: String(claims.exp) }),
    'exp infinite': forge(token, ours, `{"user_id":1,"jti":"${claims.jti}","iat":${claims.iat},"exp":1e999}`),
    'exp in ten years': forge(token, ours, { ...claims, exp: claims.iat + 315_360_000 }),
    'exp in milliseconds': forge(token, ours, { ...claims, exp: claims.exp * 1000 }),
    'iat in the future': forge(token, ours, { ...claims, iat: claims.iat + 90, exp: claims.exp + 90 }),
    'nbf in the future': forge(token, ours, { ...claims, nbf: claims.iat + 90 }),
    'nbf a string': forge(token, ours, { ...claims, nbf: '0' }),
    '15 kB of garbage': 'x'.repeat(15_000),
    '15 kB of dots': '.'.repeat(15_000),
    '15 kB in three segments': `${'a'.repeat(5000)}.${'b'.repeat(5000)}.${'c'.repeat(5000)}`,
    'deep JSON': `${encode('['.repeat(5000))}.${payload}.${signature}`
  }
}
