import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import t from 'tap'
import { rowsPerCleanup, scheduleCleanup } from '../src/lib/background.js'
import { isTokenId, isUserId, validateTimeClaims } from '../src/plugins/tokens/claims.js'
import { printableUrl } from '../src/database/urls.js'
import { describeRequestId, descriptionProblem, describeUserAgent } from '../src/lib/single-line.js'
import { canonicalEmail, emailProblem } from '../src/plugins/users/email.js'
import { parseNdjson } from '../src/commands/transfer/ndjson.js'
import { logDestination } from '../src/standalone/log-destination.js'
import { loggerOptions } from '../src/standalone/log-serializers.js'
import { folderProblem, linkProblem, replacementProblem } from '../src/lib/new-file.js'
import { parseHash, recommendedParameters } from '../src/plugins/passwords/stored-hash.js'
import { clientNetwork, printableAddress, clientSite } from '../src/lib/client-network.js'
import { canonicalPassword, newPasswordProblem, passwordProblem, personalPasswordProblem } from '../src/plugins/passwords/policy.js'
import { ref } from '../src/schema-ref.js'
import { canonicalUsername, usernamePattern, usernameProblem } from '../src/plugins/users/username.js'
import { costlyToNormalize, temporaryFolder, watchNormalization } from './helper.js'

t.test('usernames', async (t) => {
  const pattern = new RegExp(usernamePattern)
  for (const good of ['b', 'bob', 'Bob_1', 'a.b@c+d-e', '_', 'x'.repeat(64), '__proto__', 'constructor', 'b-', '.b', '..b', '...', '....', '.-', '..-', '._', '@', '+1']) {
    t.equal(usernameProblem(good), undefined, good)
    t.match(good, pattern, 'and the contract says so')
  }
  for (const bad of ['bob ', ' bob', 'b ob', 'böb', 'bob\n', 'bob\0', 'bob\u202e', 'bob\u200b', 'ｂｏｂ', 'b/b', '\ud800', 'x'.repeat(65)]) {
    t.type(usernameProblem(bad), 'string', JSON.stringify(bad))
    t.equal(canonicalUsername(bad), undefined)
    if (bad.length <= 64) t.notMatch(bad, pattern)
  }
  for (const [bad, problem] of [['.', 'must not be . or ..'], ['..', 'must not be . or ..'], ['-', 'must not begin with -'], ['--help', 'must not begin with -'], ['-X', 'must not begin with -']] as const) {
    t.equal(usernameProblem(bad), problem)
    t.notMatch(bad, pattern)
    t.equal(canonicalUsername(bad), bad.toLowerCase(), 'an account that has it already is found')
  }
  t.equal(canonicalUsername('BoB'), 'bob')
})

t.test('emails', async (t) => {
  for (const good of ['a@b', 'bob@example.com', "o'hara+tag@mail.example.co.uk", 'jörg@exämple.de', '用户@例子.公司', 'a@b-c.d--e', `${'a'.repeat(252)}@b`]) {
    t.equal(emailProblem(good), undefined, good)
  }
  for (const bad of [
    '', 'bob', '@b', 'a@', 'a@b@c', 'a b@c', ' a@b', 'a@b ', 'a@b\n', 'a@b.', 'a@.b', 'a@b..c', 'a@-b', 'a@b-', 'a..b@c', 'a@b,c@d', 'a@b;c', '<a@b>', 'Bob <a@b>', 'a@[127.0.0.1]', 'a@b:c',
    'a\0@b', 'a\u202e@b', 'a\u200b@b', 'a\u00a0@b', 'a@b\ud800', '\ufeffa@b', 'a@b_c', `${'a'.repeat(253)}@b`
  ]) {
    t.type(emailProblem(bad), 'string', JSON.stringify(bad))
  }
  t.equal(emailProblem(''), 'is empty')
  t.equal(canonicalEmail('JO\u0308RG@Example.COM'), 'jörg@example.com')
})

t.test('what clients say of themselves', async (t) => {
  t.equal(describeUserAgent(undefined), '')
  t.equal(describeUserAgent(` curl/8\n\u200b${'x'.repeat(300)}`), ` curl/8${'x'.repeat(193)}`)
  t.equal(describeUserAgent('\u200b'.repeat(16_000) + 'x'), '', 'of a string of any length the start is looked at')
  t.equal(describeRequestId('\u200b'.repeat(16_000) + 'x'), null)
  t.equal(describeRequestId('req-1'), 'req-1')
})

t.test('where a file can be made, which link followed, what replaced', async (t) => {
  const [root, own, other] = [0, 1_000, 1_001]
  for (const [uid, mode, user, problem] of [
    [own, 0o40700, own, undefined],
    [own, 0o40775, own, undefined],
    [root, 0o40755, own, undefined],
    [root, 0o41777, own, undefined],
    [other, 0o40700, own, 'belongs to another user'],
    [other, 0o41777, own, 'belongs to another user'],
    [own, 0o40777, own, 'can be written to by everybody'],
    [own, 0o40702, own, 'can be written to by everybody'],
    [root, 0o40777, own, 'can be written to by everybody'],
    [other, 0o40755, root, undefined],
    [other, 0o40777, root, 'can be written to by everybody'],
    [other, 0o40777, undefined, undefined]
  ] as const) t.equal(folderProblem({ uid, mode }, user), problem, `${uid} ${mode.toString(8)} ${user}`)

  const another = 'belongs to another user'
  for (const [uid, user, link, replacement] of [
    [own, own, undefined, undefined],
    [root, own, undefined, another],
    [other, own, another, another],
    [root, root, undefined, undefined],
    [other, root, another, undefined],
    [0, undefined, undefined, undefined]
  ] as const) {
    t.equal(linkProblem({ uid }, user), link, `a link of ${uid} for ${user}`)
    t.equal(replacementProblem({ uid }, user), replacement, `a file of ${uid} for ${user}`)
  }
})

t.test('passwords', async (t) => {
  const policy = { minLength: 8, blocklist: true }
  for (const good of ['correct horse', '        ', 'test_user', '𝒫'.repeat(8), 'é'.repeat(256), 'e\u0301'.repeat(256), '\ufffd'.repeat(8)]) {
    t.equal(newPasswordProblem(good, policy), undefined, JSON.stringify(good))
  }
  t.equal(newPasswordProblem('1234567', policy), 'must be at least 8 characters long')
  t.equal(newPasswordProblem('𝒫'.repeat(7), policy), 'must be at least 8 characters long', 'counts code points')
  t.equal(newPasswordProblem('e\u0301'.repeat(7), policy), 'must be at least 8 characters long', 'counts after NFC')
  t.equal(newPasswordProblem('x'.repeat(257), policy), 'must not be longer than 256 characters')
  t.equal(newPasswordProblem('long enough\ud800', policy), 'is not valid Unicode')
  for (const withNul of ['\0', '\0\0\0\0\0\0\0\0', 'long enough\0', '\0long enough', 'long\0enough']) {
    t.equal(passwordProblem(withNul), 'must not contain NUL', 'not at a login either')
    t.equal(newPasswordProblem(withNul, policy), 'must not contain NUL')
  }
  for (const common of ['password', 'PassWord', '12345678', 'qwertyuiop', 'iloveyou', 'password123']) {
    t.equal(newPasswordProblem(common, policy), 'is one of the most common passwords', common)
    t.equal(newPasswordProblem(common, { ...policy, blocklist: false }), undefined)
  }
  t.equal(newPasswordProblem('# Source:', policy), undefined, 'the head of the list is no entry')
  t.equal(passwordProblem('x'), undefined, 'a login asks for less')
  t.type(passwordProblem('x'.repeat(257)), 'string')
  t.equal(canonicalPassword(' e\u0301 '), ' \u00e9 ')
})

t.test('no rule looks at more of a string than its longest value can have', async (t) => {
  const policy = { minLength: 8, blocklist: true }
  const normalized = watchNormalization(t)
  // Four units are the most that become one character: a Greek letter with three marks.
  const longest = '\u03b1\u0313\u0300\u0345'.repeat(256)
  t.equal(longest.length, 1_024)
  t.equal(newPasswordProblem(longest, policy), undefined)
  t.equal(canonicalPassword(longest), '\u1f82'.repeat(256))
  for (const long of [`${longest}x`, costlyToNormalize, 'x'.repeat(1_000_000), '\ud800'.repeat(2_000)]) {
    for (const problem of [passwordProblem(long), newPasswordProblem(long, policy)]) t.equal(problem, 'must not be longer than 256 characters')
    t.equal(emailProblem(`${long}@example.com`), 'must not be longer than 254 characters')
    t.equal(descriptionProblem(long), 'must not be longer than 200 characters')
    t.type(usernameProblem(long), 'string')
    t.equal(parseHash(long), undefined)
    for (const text of [clientNetwork(long), printableAddress(long), printableAddress(`[::1%${long}]:80`)]) t.equal(text, 'unknown')
    t.equal(clientNetwork(`::1%${long}`), '::/64')
    t.equal(printableAddress(`::1%${long}`), '::1')
    t.equal(describeUserAgent(long.slice(0, 600)), describeUserAgent(long.slice(0, 600) + long))
    for (const normalize of [canonicalPassword, canonicalEmail, (text: string) => personalPasswordProblem(text, { username: 'bob', email: null })]) t.throws(() => normalize(long), { name: 'RangeError' })
  }
  t.equal(Math.max(...normalized.map(({ units }) => units)), 1_024)
  t.equal(describeUserAgent(`${'\u200b'.repeat(10)}curl/8`), 'curl/8')
  t.equal(descriptionProblem('𝒫'.repeat(200)), undefined)
})

t.test('password hashes', async (t) => {
  const hash = (parameters: string, variant = 'argon2id') => `$${variant}$v=19$${parameters}$${'A'.repeat(22)}$${'A'.repeat(43)}`
  const bcrypt = (cost: string, variant = '2b') => `$${variant}$${cost}$${'a'.repeat(53)}`
  t.same(parseHash(hash('m=19456,t=2,p=1')), { algorithm: 'argon2id', parameters: recommendedParameters })
  t.same(parseHash(hash('m=65536,t=3,p=4', 'argon2i')), { algorithm: 'argon2i', parameters: { memoryCost: 65_536, timeCost: 3, parallelism: 4 } })
  t.match(parseHash(hash('m=102400,t=2,p=8', 'argon2d')), { algorithm: 'argon2d' })
  for (const [cost, variant] of [['04', '2b'], ['10', '2y'], ['12', '2a'], ['13', '2b']] as const) t.same(parseHash(bcrypt(cost, variant)), { algorithm: 'bcrypt' })
  for (const bad of [
    '', 'plain', 'pbkdf2:sha256:1000$a$b', hash('m=1048576,t=2,p=1'), hash('m=19456,t=21,p=1'), hash('m=131072,t=3,p=1'), hash('m=19456,t=2,p=9'), hash('m=99999999999,t=2,p=1'), `${hash('m=19456,t=2,p=1')}\n`, hash('m=8,t=1,p=1', 'argon2'), hash('m=8,t=1,p=1').replace('v=19', 'v=16'),
    hash('m=0,t=0,p=0'), hash('m=7,t=1,p=1'), hash('m=8,t=1,p=2'), hash('m=8,t=0,p=1'), hash('m=8,t=1,p=0'), hash('m=08,t=1,p=1'),
    `$argon2id$v=19$m=8,t=1,p=1$${'A'.repeat(13)}$${'A'.repeat(43)}`, `$argon2id$v=19$m=8,t=1,p=1$${'A'.repeat(22)}$${'A'.repeat(29)}`, `$argon2id$v=19$m=8,t=1,p=1$${'A'.repeat(22)}$${'B'.repeat(43)}`,
    bcrypt('14'), bcrypt('31'), bcrypt('03'), bcrypt('99'), bcrypt('12', '2x'), bcrypt('12', '2'), bcrypt('12').slice(0, -1), `${bcrypt('12')}\n`
  ]) {
    t.equal(parseHash(bad), undefined, JSON.stringify(bad))
  }
})

t.test('database URLs', async (t) => {
  for (const [url, shown] of [
    ['sqlite:////home/a@b/latchkey.sqlite', 'sqlite:////home/a@b/latchkey.sqlite'],
    ['postgres://bob:secret@db.example:5433/latchkey?sslmode=require&password=secret', 'postgres://db.example:5433/latchkey'],
    ['postgresql://bob:sec@ret@db.example/latchkey', 'postgresql://db.example/latchkey'],
    ['postgres://bob@/latchkey?host=/run/postgresql', 'postgres:///run/postgresql/latchkey'],
    ['postgres:///latchkey', 'postgres:///latchkey'],
    ...['postgres://bob:sec/ret@db.example/latchkey', 'postgres://bob:/secret@db.example/latchkey', 'postgres://bob:12/secret@db.example/latchkey', 'postgres://bob:12#secret@db.example/latchkey', 'postgres://bob:12?secret@db.example/latchkey', 'postgres://bob:sec ret@db.example/latchkey', 'postgres://db.example/latchkey#x'].map((url) => [url, 'postgres://'] as const)
  ] as const) {
    t.equal(printableUrl(url), shown)
  }
})

t.test('lines', async (t) => {
  const read = async (...chunks: Array<string | Buffer>) => {
    const lines: unknown[] = []
    for await (const { number, text } of parseNdjson(Readable.from(chunks.map((chunk) => Buffer.from(chunk))))) lines.push([number, text?.slice(0, 5)])
    return lines
  }
  t.same(await read(), [])
  t.same(await read('a\nb', 'c\n\n', '\r\nd'), [[1, 'a'], [2, 'bc'], [5, 'd']])
  t.same(await read('a\n', Buffer.from([0xff, 0x0a]), 'b\n'), [[1, 'a'], [2, undefined], [3, 'b']], 'what is not UTF-8')
  const euro = Buffer.from('€')
  t.same(await read(euro.subarray(0, 1), euro.subarray(1)), [[1, '€']])
  const long = Array.from({ length: 40 }, () => 'x'.repeat(65_536))
  t.same(await read(...long, '\nshort\n'), [[1, undefined], [2, 'short']], 'what is too long is not kept')
  t.same(await read(...long), [[1, undefined]])
  t.same(await read('x'.repeat(1_048_576), '\n', 'x'.repeat(1_048_577)), [[1, 'xxxxx'], [2, undefined]])
})

t.test('lines · in however small pieces a line comes, each byte is copied once', async (t) => {
  const { concat } = Buffer
  let copied = 0
  t.teardown(() => { Buffer.concat = concat })
  Buffer.concat = (list, length) => {
    const all = concat(list, length)
    copied += all.length
    return all
  }
  const read = async (bytes: number) => {
    const pieces = Array.from({ length: bytes / 512 }, () => Buffer.alloc(512, 'x'))
    for await (const line of parseNdjson(Readable.from(pieces))) t.equal(line.text?.length, bytes > 1_048_576 ? undefined : bytes)
  }
  await read(1_048_576)
  await read(4 * 1_048_576)
  t.ok(copied <= 2 * 1_048_576, `${copied} bytes copied`)
})

t.test('claims', async (t) => {
  const now = 1_000_000
  const judge = (claims: object) => validateTimeClaims({ iat: now, exp: now + 10, ...claims }, now)
  t.equal(judge({}), 'valid')
  t.equal(judge({ exp: now + 31_536_000 }), 'valid')
  t.equal(judge({ iat: now + 60, nbf: now + 60, exp: now + 120 }), 'valid', 'a clock may run ahead a little')
  t.equal(judge({ iat: now - 20, exp: now }), 'expired')
  for (const claims of [
    { exp: undefined }, { iat: undefined }, { exp: '2000000' }, { iat: '1' }, { exp: null }, { exp: Infinity }, { exp: NaN },
    { exp: now + 31_536_001 }, { iat: now - 5, exp: now - 6 }, { iat: now + 61, exp: now + 120 }, { nbf: now + 61 }, { nbf: 'now' }, { nbf: null }
  ]) {
    t.equal(judge(claims), 'invalid', JSON.stringify(claims))
  }
  for (const id of [1, Number.MAX_SAFE_INTEGER]) t.ok(isUserId(id))
  for (const id of [0, -1, 1.5, Number.MAX_SAFE_INTEGER + 1, '1', null, undefined, [1], {}, true, NaN, Infinity]) t.notOk(isUserId(id), String(id))
  t.ok(isTokenId('4e808214-e320-4173-bb6c-b75fbdd51003'))
  for (const id of ['', '4E808214-E320-4173-BB6C-B75FBDD51003', '4e808214', '4e808214-e320-4173-bb6c-b75fbdd5100\0', 1, null]) t.notOk(isTokenId(id))
})

t.test('a logged path holds no query, and nothing of a whole URL but its path', async (t) => {
  const { req } = loggerOptions.serializers
  const app = Fastify()
  t.teardown(() => app.close())
  const paths: Array<string | undefined> = []
  app.addHook('onRequest', async (request) => { paths.push(req(request).path) })
  for (const url of ['/a?token=x', '/a#x', '/']) await app.inject(url)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const [address] = app.addresses()
  const socket = connect(typeof address === 'object' ? address.port : 0, '127.0.0.1')
  socket.end('GET http://user:password@localhost/a?token=x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')
  await once(socket.resume(), 'close')
  t.same(paths, ['/a', '/a', '/', '/a'])
})

t.test('a log target that takes nothing stops nobody, and gets the next line when it can', async (t) => {
  const closed = openSync(join(temporaryFolder(t), 'log'), 'w')
  closeSync(closed)
  const lost = logDestination(closed)
  lost.write('lost\n')
  lost.flushSync()

  // A pipe that nobody reads takes 64 KiB; afterwards lines are dropped, not waited for.
  const reader = spawn('sleep', ['30'], { stdio: ['pipe', 'ignore', 'ignore'] })
  const { fd } = Object(reader.stdin)._handle
  const before = performance.now()
  const full = logDestination(fd)
  for (let i = 0; i < 30; i++) full.write(`${'x'.repeat(10_000)}\n`)
  full.flushSync()
  t.ok(performance.now() - before < 5_000)
  reader.kill('SIGKILL')
  await once(reader, 'exit')

  const file = join(temporaryFolder(t), 'log')
  const fileFd = openSync(file, 'w')
  const sink = logDestination(fileFd)
  sink.write('one\n')
  sink.write('two\n')
  t.equal(readFileSync(file, 'utf8'), '', 'lines of one turn are written at its end')
  await new Promise((resolve) => setImmediate(resolve))
  t.equal(readFileSync(file, 'utf8'), 'one\ntwo\n')
  sink.write(`${'x'.repeat(20_000)}\n`)
  t.equal(readFileSync(file, 'utf8').length, 20_009, 'or when there are many')
  closeSync(fileFd)
})

t.test('a log line that was cut short does not run into the next one', async (t) => {
  // It stops itself, and reads when it is told to go on.
  const reader = spawn('sh', ['-c', 'kill -STOP $$; cat'], { stdio: ['pipe', 'pipe', 'ignore'] })
  const { fd } = Object(reader.stdin)._handle
  const sink = logDestination(fd)
  sink.write(`${'x'.repeat(2_000_000)}\n`)
  const goOn = setInterval(() => reader.kill('SIGCONT'), 10)
  t.teardown(() => clearInterval(goOn))
  let read = ''
  for await (const piece of reader.stdout.setEncoding('utf8')) {
    read += piece
    if (!reader.stdin.writableEnded) {
      sink.write('{"whole":true}\n')
      sink.flushSync()
      reader.stdin.end()
    }
  }
  t.match(read.split('\n'), [/^x+$/, '{"whole":true}', ''])
  t.ok(read.length < 2_000_000)
})

t.test('ref · needs an $id', async (t) => {
  t.throws(() => ref(Type.String()), /only a schema with an \$id/)
  t.same({ ...ref(Type.String({ $id: 'Name' })) }.$ref, 'Name#')
})

t.test('sweep · once at a time', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  let rounds = 0
  const sweepNow = scheduleCleanup(app, { deleteBatch: async () => ++rounds < 3 ? rowsPerCleanup : 0, failure: '' })
  await Promise.all([sweepNow(), sweepNow()])
  t.equal(rounds, 3)
})

t.test('siteOf · what one customer is given at the most', async (t) => {
  for (const address of ['2001:db8:1::1', '2001:db8:1:ffff::2', '2001:db8:1:0:1::%eth0', '[2001:db8:1:ab::1]:80']) t.equal(clientSite(address), '2001:db8:1::/48')
  t.equal(clientSite('2001:db8:2::1'), '2001:db8:2::/48')
  for (const address of ['203.0.113.7', '::ffff:203.0.113.7', '64:ff9b::203.0.113.7', '203.0.113.7:80']) t.equal(clientSite(address), '203.0.113.7')
  for (const address of ['nonsense', '', undefined]) t.equal(clientSite(address), 'unknown')
})
