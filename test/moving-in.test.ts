import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t, { type Test } from 'tap'
import { hashProblem, parseHash } from '../src/plugins/passwords/stored-hash.js'
import { servicesOf } from '../src/services.js'
import { commandLine, refused } from './command-line.js'
import { databases, type TestDatabase } from './databases.js'
import { build, builtProgram, logIn, plainNode, signUp } from './helper.js'

// Of Firebase: the example of https://github.com/firebase/scrypt.
const signerKey = 'jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA=='
const firebaseSalt = '42xEC+ixf3L2lw=='
const firebaseDigest = 'lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ=='
const firebase = `$firebase-scrypt$ln=14,r=8,ss=Bw==,sk=${signerKey}$${firebaseSalt}$${firebaseDigest}`

/** Of Django's own tests (tests/auth_tests/test_hashers.py): base64(pbkdf2_hmac(digest, 'lètmein', 'seasalt', iterations)). */
const django = 'pbkdf2_sha256$10000$seasalt$CWWFdHOWwPnki7HvkcqN9iA2T3KLW1cf2uZ5kvArtVY='
/** RFC 7914, section 12, the third vector. */
const scrypt = '$scrypt$ln=14,r=8,p=1$U29kaXVtQ2hsb3JpZGU$cCO9yzr9c0hGHAbNgf046/2o+7qQT44+qbVD9lRdofLVQylVYT8Pz2LUlwUkKpr55h6F3A1lHkDfzwF7RVdYhw'

const vectors = [
  ['lètmein', django],
  ['lètmein', 'pbkdf2_sha256$870000$seasalt$wJSpLMQRQz0Dhj/pFpbyjMj71B2gUYp6HJS5AU+32Ac='],
  ['lètmein', 'pbkdf2_sha1$10000$seasalt$oAfF6vgs95ncksAhGXOWf4Okq7o='],
  // RFC 6070; RFC 7914, section 11, whose first 32 bytes are the first block.
  ['password', 'pbkdf2_sha1$4096$salt$SwB5AbdlSJq+rUnZJvch0GWkKcE='],
  ['passwd', 'pbkdf2_sha256$1$salt$VawEblbjCJ/sFpHCJUS2BflBhSFt3gRl5oudV8INrLw='],
  ['Password', 'pbkdf2_sha256$80000$NaCl$TdzY9guYviGDDO5e8icB+WQaRBjQTAQUrv8Ih2s0q1Y='],
  // passlib 1.7.4: the first has dots in its salt, the last in its hash.
  ['password', '$pbkdf2-sha256$29000$.//.MDEyMzQ1Njc4OWFiYw$KNTc15d5ASTd2L6va6jiDU3kqYFVUzCnePOETWTzbFs'],
  ['password', '$pbkdf2-sha512$25000$MDEyMzQ1Njc4OWFiY2RlZg$uxdHU.JH8vyHyz/DeXpgS7H6Tjz9A.lBWgSoOvvbH2iwTOWkhoRip9yMdB0AZCvZtIdBg46qUM3yPQkKDTKUSg'],
  ['password', '$pbkdf2$1000$MDEyMzQ1Njc4OWFiY2RlZg$DYW.LTZG5wxyiF/qvsh40/./hXk'],
  ['password', '$scrypt$ln=10,r=8,p=1$MDEyMzQ1Njc4OWFiY2RlZg$ZEBCzLptWM7dhpNJDU2HbQ945ovKHmVEozHkePPbSqw'],
  // RFC 7914, section 12. Its salt and hash may have padding.
  ['password', '$scrypt$ln=10,r=8,p=16$TmFDbA==$/bq+HJ00cgB4VucZDQHp/nxq18vII3gw53N2Y0s3MWIurzDZLiKjiG/xCSedmDDaxyevuUqD7m2DYMvfoswGQA=='],
  ['pleaseletmein', scrypt],
  ['user1password', firebase],
  ['user1password', firebase.replace('ss=Bw==', 'ss=Bw').replaceAll('==$', '$').replace(/==$/, '')]
] as const

/** What each hash breaks. */
const violations = [
  ['', 'has an unknown format'],
  ['secret', 'has an unknown format: argon2, bcrypt, PBKDF2 (of Django or passlib), scrypt'],
  ['md5$seasalt$3f86d0d3d465b7b458c231bf3555c0e3', 'has an unknown format'],
  ['x'.repeat(501), 'is longer than 500 characters'],
  ['$argon2id$v=16$m=8,t=1,p=1$c29tZXNhbHQ$c29tZXNhbHRzb21lc2FsdA', 'is no argon2 hash of version 19'],
  ['$argon2id$v=19$m=8,t=1,p=9$c29tZXNhbHQ$c29tZXNhbHRzb21lc2FsdA', 'costs too much: p must be at most 8'],
  ['$argon2id$v=19$m=131072,t=3,p=1$c29tZXNhbHQ$c29tZXNhbHRzb21lc2FsdA', 'costs too much: m times t must be at most 389120'],
  ['$argon2id$v=19$m=32,t=1001,p=4$c29tZXNhbHQ$c29tZXNhbHRzb21lc2FsdA', 'costs too much: t must be at most 1000'],
  ['$argon2id$v=19$m=15,t=1,p=2$c29tZXNhbHQ$c29tZXNhbHRzb21lc2FsdA', 'has parameters that argon2 does not permit'],
  ['$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ=$c29tZXNhbHRzb21lc2FsdA', 'has a salt that is not base64'],
  ['$2b$14$aaaa', 'is no bcrypt hash'],
  [django.replace('10000', '2000001'), 'costs too much: at most 2000000 iterations are permitted'],
  [django.replace('10000', '9'.repeat(400)), 'costs too much'],
  [django.replace('10000', '0'), 'is no PBKDF2 hash of Django or passlib'],
  [django.replace('10000', '-1'), 'is no PBKDF2 hash of'],
  [django.replace('sha256', 'sha512'), 'is no PBKDF2 hash of'],
  [`${django}$`, 'is no PBKDF2 hash of'],
  [`${django}\n`, 'has a hash that is not base64'],
  [django.replace('seasalt', ''), 'has a salt of a wrong length: 1 to 64 characters'],
  [django.replace('seasalt', 'x'.repeat(65)), 'has a salt of a wrong length'],
  [django.replace('seasalt', 'seasält'), 'has a salt that is not ASCII'],
  [django.replace('seasalt', 'sea\0salt'), 'has a salt that is not ASCII'],
  [django.replace('sha256', 'sha1'), 'has a hash of a wrong length: 20 bytes are permitted'],
  [django.replace('CWWF', '****'), 'has a hash that is not base64'],
  ['$pbkdf2-sha256$1000$$KNTc15d5ASTd2L6va6jiDU3kqYFVUzCnePOETWTzbFs', 'has a salt of a wrong length: 1 to 64 bytes'],
  ['$pbkdf2-sha256$9999999$c2FsdA$KNTc15d5ASTd2L6va6jiDU3kqYFVUzCnePOETWTzbFs', 'costs too much'],
  ['$scrypt$ln=14,r=8$c2FsdA$c2FsdA', 'is no scrypt hash'],
  [scrypt.replace('ln=14', 'ln=18'), 'costs too much: 128 * 2^ln * r must be at most 128 MiB'],
  [scrypt.replace('ln=14', `ln=${'9'.repeat(300)}`), 'costs too much'],
  [scrypt.replace('r=8', 'r=33'), 'costs too much: r must be at most 32'],
  [scrypt.replace('p=1', 'p=17'), 'costs too much: p must be at most 16'],
  [scrypt.replace('p=1', 'p=9'), 'costs too much: 2^ln * r * p must be at most 1048576'],
  [scrypt.replace('ln=14,r=8', 'ln=16,r=1'), 'has parameters that scrypt does not permit'],
  [scrypt.replace('ln=14', 'ln=0'), 'is no scrypt hash'],
  [scrypt.replace('U29k', '****'), 'has a salt that is not base64'],
  [scrypt.replace('U29kaXVtQ2hsb3JpZGU', 'U29kaXVtQ2hsb3JpZGU='.repeat(2)), 'has a salt that is not base64'],
  [scrypt.replace(/[^$]+$/, 'U29kaXVtQ2hsb3JpZGU'), 'has a hash of a wrong length: 16 to 64 bytes'],
  [firebase.replace(',sk=', ',key='), 'is no Firebase scrypt hash'],
  [firebase.replace('ln=14', 'ln=20'), 'costs too much'],
  [firebase.replace('ss=Bw==', `ss=${'A'.repeat(24)}`), 'has a salt separator of a wrong length: 0 to 16 bytes'],
  [firebase.replace(signerKey, 'c2FsdA=='), 'has a signer key of a wrong length: 16 to 64 bytes'],
  [firebase.replace(firebaseSalt, ''), 'has a salt of a wrong length'],
  [firebase.replace(firebaseDigest, signerKey.slice(0, 40)), 'has a hash of a wrong length: 64 bytes are permitted']
] as const

const lines = (...records: object[]) => records.map((record) => JSON.stringify(record)).join('\n')
const user = (more: object = {}) => ({ type: 'user', username: 'bob', password_hash: django, ...more })

/** A new database, with the command line and an app on it. */
async function newInstallation (t: Test, database: TestDatabase) {
  const { settings, latchkey, folder } = commandLine(t, { DATABASE_URL: await database.create(t, { isShared: true }) })
  const app = await build(t, settings)
  const hashOf = async (username: string) => (await servicesOf(app).users.findCredentials(username))?.passwordHash
  return { settings, latchkey, folder, app, hashOf }
}

for (const database of databases) {
  t.test(database.name, async (t) => {
    t.test('latchkey import · PBKDF2, scrypt and Firebase scrypt hashes → login 200, upgraded to argon2id', async (t) => {
      const { latchkey, app, hashOf } = await newInstallation(t, database)
      const records = vectors.map(([, hash], i) => user({ username: `user${i}`, password_hash: hash }))
      t.match(await latchkey(['import'], lines(...records)), { code: 0, out: `imported ${records.length} users, 0 roles and 0 tokens\n`, err: '' })
      const exported = (await latchkey(['export'])).out
      for (const [i, [password, hash]] of vectors.entries()) {
        const username = `user${i}`
        t.ok(exported.includes(JSON.stringify(hash)), 'an export carries it as it is')
        const { passed } = servicesOf(app).passwords.load()
        t.match((await logIn(app, { username, password: `${password}!` })).json(), { statusCode: 401, code: 'PASSWORD_INCORRECT' })
        t.equal(servicesOf(app).passwords.load().passed, passed + 1, 'under the hash limiter')
        t.equal(await hashOf(username), hash)
        t.equal((await logIn(app, { username, password })).statusCode, 200, hash)
        t.match(await hashOf(username), /^\$argon2id\$v=19\$m=8,/)
        t.equal((await logIn(app, { username, password })).statusCode, 200)
        t.equal((await logIn(app, { username, password: `${password}!` })).statusCode, 401)
      }
    })

    t.test('POST /api/v1/login · imported hash of a composed password, typed decomposed → 200; of a decomposed one → 401', async (t) => {
      const { latchkey, app } = await newInstallation(t, database)
      // hashlib.pbkdf2_hmac('sha256', 'le\u0300tmein'.encode(), b'seasalt', 10000)
      const decomposed = 'pbkdf2_sha256$10000$seasalt$LeEQbEqVEhKrGj4UUBaWUjiFao/0WCplHYGSkRfqoFU='
      await latchkey(['import'], lines(user(), user({ username: 'carol', password_hash: decomposed })))
      const password = 'lètmein'.normalize('NFD')
      t.equal((await logIn(app, { username: 'bob', password })).statusCode, 200)
      t.equal((await logIn(app, { username: 'carol', password })).statusCode, 401)
    })

    t.test('latchkey import, POST /api/v1/login · hash that breaks a rule → the rule and never the hash; in a row 500, nothing is computed', async (t) => {
      const { latchkey, app } = await newInstallation(t, database)
      await signUp(app)
      const { store, passwords } = servicesOf(app)
      const { passed } = passwords.load()
      const before = process.memoryUsage().rss
      for (const [hash, problem] of violations) {
        t.equal(parseHash(hash), undefined)
        t.ok(hashProblem(hash)?.startsWith(problem), `${hashProblem(hash)}`)
        const answer = await latchkey(['import'], lines(user({ username: 'carol' }), user({ password_hash: hash })))
        refused(t, answer, `line 2: the password_hash ${problem}`)
        for (const part of hash.split(/[$,]/)) if (part.length > 16) t.notOk(answer.err.includes(part), 'the hash is not repeated')
        // No row of PostgreSQL has a NUL.
        if (hash.includes('\0')) continue
        await store.db.update(store.tables.users).set({ passwordHash: hash })
        const response = await logIn(app)
        t.same(response.json(), { statusCode: 500, code: 'INTERNAL_SERVER_ERROR', error: 'Internal Server Error', message: 'Internal Server Error' })
      }
      t.equal(passwords.load().passed, passed)
      t.ok(process.memoryUsage().rss - before < 128 * 1_048_576, 'a hash with 18 for ln would take 256 MiB')
      t.equal(await servicesOf(app).users.count(), 1)
    })

    t.test('latchkey import · records without a password → accounts whose owners need a code', async (t) => {
      const { latchkey, app } = await newInstallation(t, database)
      const records = lines(user(), user({ username: 'carol', password_hash: null }), user({ username: 'dave', password_hash: undefined }))
      t.match(await latchkey(['import'], records), { code: 0, out: 'imported 3 users, 0 roles and 0 tokens; 2 of them without a password\n' })
      const list = JSON.parse((await latchkey(['user', 'list', '--json'])).out)
      t.match(list, [{ username: 'bob', has_password: true }, { username: 'carol', has_password: false }, { username: 'dave', has_password: false }])
      t.match(JSON.parse((await latchkey(['user', 'show', 'dave', '--json'])).out), { has_password: false })
      t.match(JSON.parse((await latchkey(['user', 'create', 'erin', '--no-password', '--json'])).out), { has_password: false })
      t.equal((await logIn(app, { username: 'carol', password: 'lètmein' })).statusCode, 401)
      const { code } = JSON.parse((await latchkey(['user', 'reset', 'carol', '--json'])).out)
      const password = 'another horse battery staple'
      t.equal((await app.inject({ method: 'PUT', url: '/api/v1/password-reset', payload: { code, new_password: password } })).statusCode, 204)
      t.equal((await logIn(app, { username: 'carol', password })).statusCode, 200)
      t.match(JSON.parse((await latchkey(['user', 'show', 'carol', '--json'])).out), { has_password: true })
    })

    t.test('latchkey import --dry-run, --skip-existing → counts; nothing is written, or only what is new', async (t) => {
      const { latchkey, app } = await newInstallation(t, database)
      await signUp(app, { username: 'Bob', email: 'bob@example.com', password: 'correct horse battery staple' })
      const before = (await latchkey(['export'])).out
      const records = lines(
        { type: 'role', name: 'editor', description: 'x' },
        user({ password_hash: null }),
        user({ username: 'bobby', email: 'BOB@example.com' }),
        user({ username: 'carol', roles: ['editor'] }),
        user({ username: 'dave', password_hash: null })
      )
      refused(t, await latchkey(['import', '--dry-run'], records), 'line 2: the username "bob" is already taken; nothing was imported')
      t.same(await latchkey(['import', '--dry-run', '--skip-existing'], records), { code: 0, out: 'would import 2 users, 1 role and 0 tokens; 1 of them without a password; 2 users left out because of a username or an email that is taken\n', err: '' })
      refused(t, await latchkey(['import', '--dry-run', '--skip-existing'], lines(user({ username: 'x', roles: ['nothing'] }))), 'line 1: there is no role "nothing"')
      t.equal((await latchkey(['export'])).out, before, 'nothing is written')
      t.match((await latchkey(['events', '--json'])).out, /^(?!.*"kind":"import")/s, 'nor recorded')

      t.same(await latchkey(['import', '--skip-existing', '--json'], records), { code: 0, out: '{"users":2,"roles":1,"tokens":0,"skipped":2,"without_password":1}\n', err: '' })
      t.match(await servicesOf(app).users.list(), [{ username: 'Bob', email: 'bob@example.com' }, { username: 'carol' }, { username: 'dave' }])
      t.match(await latchkey(['import', '--skip-existing'], records), { code: 0, out: 'imported 0 users, 1 role and 0 tokens; 4 users left out because of a username or an email that is taken\n' })
      t.match(await latchkey(['import', '--skip-existing'], lines(user())), { out: 'imported 0 users, 0 roles and 0 tokens; 1 user left out because of a username or an email that is taken\n' })
      refused(t, await latchkey(['import', '--skip-existing'], lines(user(), user({ username: 'BOB' }))), 'line 2: the username "BOB" is already on line 1')
    })
  })
}

t.test('latchkey import --dry-run · no database → one line, and none is created', async (t) => {
  const { latchkey } = commandLine(t)
  refused(t, await latchkey(['import', '--dry-run'], lines(user())), /there is no database/)
  refused(t, await latchkey(['user', 'list']), /there is no database/)
})

const page = readFileSync(join(import.meta.dirname, '../docs/moving-in.md'), 'utf8')

/** The documented command of a section that node runs. */
function documented (heading: string): string {
  const section = page.split(/^## /m).find((text) => text.startsWith(heading)) ?? ''
  const command = [...section.matchAll(/^```sh\n([^]*?)^```/gm)].map(([, text = '']) => text).find((text) => text.includes('node -e'))
  if (command === undefined) throw new Error(`no command in ${heading}`)
  return command
}

/** Runs a documented command in a folder. There, `npx latchkey` is the built program. */
function runDocumented (folder: string, heading: string, env: Record<string, string> = {}): void {
  const bin = join(folder, 'bin')
  mkdirSync(bin, { recursive: true })
  writeFileSync(join(bin, 'npx'), `#!/bin/sh\nshift\nexec ${builtProgram('cli.ts').join(' ')} "$@"\n`)
  chmodSync(join(bin, 'npx'), 0o755)
  const [program, ...args] = plainNode.slice(0, -1)
  execFileSync(String(program), [...args, 'sh', '-e', '-c', documented(heading)], { cwd: folder, env: { ...process.env, ...env, PATH: `${bin}:${dirname(process.execPath)}:${process.env.PATH}` } })
}

t.test('docs/moving-in.md · the command for Django turns its users into records → they log in', async (t) => {
  const [database] = databases
  const { latchkey, folder, app } = await newInstallation(t, database as TestDatabase)
  const fields = { password: django, last_login: null, is_superuser: false, first_name: '', last_name: '', email: '', is_staff: false, is_active: true, date_joined: '2024-01-02T03:04:05.678Z', groups: [], user_permissions: [] }
  const { hash } = await import('@node-rs/bcrypt')
  const scryptOfDjango = 'scrypt$16384$seasalt$8$5$ECMIUp+LMxMSK8xB/IVyba+KYGTI7FTnet025q/1f/vBAVnnP3hdYqJuRi+mJn6ji6ze3Fbb7JEFPKGpuEf5vw=='
  const users = [
    { username: 'pbkdf2', email: 'P@example.com' },
    { username: 'scrypt', password: scryptOfDjango },
    { username: 'bcrypt', password: `bcrypt$${await hash('lètmein', 4)}` },
    { username: 'argon2', password: `argon2${await servicesOf(app).passwords.hash('lètmein')}` },
    { username: 'social', password: '!kTGEu4IYGgXfS0eA1lYrRTR3N7eN1vQJ4YfS5Xwz' },
    { username: 'empty', password: '' },
    { username: 'gone', is_active: false }
  ].map((more, i) => ({ model: 'auth.user', pk: i + 1, fields: { ...fields, ...more } }))
  writeFileSync(join(folder, 'users.json'), JSON.stringify(users))
  runDocumented(folder, 'From Django')
  t.match(await latchkey(['import', join(folder, 'users.ndjson')]), { code: 0, out: 'imported 7 users, 0 roles and 0 tokens; 2 of them without a password\n', err: '' })
  for (const username of ['pbkdf2', 'p@example.com', 'scrypt', 'bcrypt', 'argon2']) t.equal((await logIn(app, { username, password: 'lètmein' })).statusCode, 200, username)
  t.match((await logIn(app, { username: 'gone', password: 'lètmein' })).json(), { code: 'ACCOUNT_DISABLED' })
  t.match(await servicesOf(app).users.find('pbkdf2'), { createdAt: new Date('2024-01-02T03:04:05.678Z'), emailVerified: false })
})

t.test('docs/moving-in.md · the command for Firebase turns its users into records → they log in; the loop makes codes for those without a password', async (t) => {
  const [database] = databases
  const { latchkey, folder, app, settings } = await newInstallation(t, database as TestDatabase)
  const known = { passwordHash: firebaseDigest, salt: firebaseSalt, createdAt: '1704164645678', emailVerified: true }
  const users = [
    { ...known, localId: 'aaaaaaaaaaaaaaaaaaaaaaaaaaaa', email: 'bob@example.com', displayName: 'Bob', providerUserInfo: [] },
    { ...known, localId: 'bbbbbbbbbbbbbbbbbbbbbbbbbbbb', email: 'o\'hara@example.com', emailVerified: false },
    { localId: 'cccccccccccccccccccccccccccc', phoneNumber: '+491701234567', emailVerified: false, createdAt: '1704164645678' },
    { ...known, localId: 'dddddddddddddddddddddddddddd', email: 'dave@example.com', disabled: true }
  ]
  writeFileSync(join(folder, 'users.json'), JSON.stringify({ users }))
  runDocumented(folder, 'From Firebase', { FIREBASE_SIGNER_KEY: signerKey, FIREBASE_SALT_SEPARATOR: 'Bw==' })
  t.match(await latchkey(['import', join(folder, 'users.ndjson')]), { code: 0, out: 'imported 4 users, 0 roles and 0 tokens; 1 of them without a password\n', err: '' })
  for (const username of ['bob@example.com', 'o\'hara@example.com', 'bbbbbbbbbbbbbbbbbbbbbbbbbbbb']) t.equal((await logIn(app, { username, password: 'user1password' })).statusCode, 200, username)
  t.match((await logIn(app, { username: 'dave@example.com', password: 'user1password' })).json(), { code: 'ACCOUNT_DISABLED' })
  t.match(await servicesOf(app).users.find('bob@example.com'), { createdAt: new Date(1_704_164_645_678), emailVerified: true })

  runDocumented(folder, 'Accounts without a password', settings)
  const codes = readFileSync(join(folder, 'codes.txt'), 'utf8')
  const [, code] = /^cccccccccccccccccccccccccccc \{"code":"([0-9A-Z]{24})","url":null,"expires_at":"\S+"\}\n$/.exec(codes) ?? []
  t.equal((await app.inject({ method: 'PUT', url: '/api/v1/password-reset', payload: { code, new_password: 'another horse battery staple' } })).statusCode, 204)
})

t.test('docs/moving-in.md · the command for a CSV file turns its rows into records', async (t) => {
  const { latchkey, folder } = commandLine(t)
  writeFileSync(join(folder, 'users.csv'), `\ufeffid,username,email,password\r\n1,bob,"bob@example.com","${django}"\r\n2,"carol",,\r\n\r\n3,dave,,"a ""quoted"", text"`)
  runDocumented(folder, 'From a CSV file')
  t.same(readFileSync(join(folder, 'users.ndjson'), 'utf8').trimEnd().split('\n').map((line) => JSON.parse(line)), [
    { type: 'user', username: 'bob', email: 'bob@example.com', password_hash: django },
    { type: 'user', username: 'carol', email: null, password_hash: null },
    { type: 'user', username: 'dave', email: null, password_hash: 'a "quoted", text' }
  ])
  refused(t, await latchkey(['import', join(folder, 'users.ndjson')]), 'line 3: the password_hash has an unknown format')
})
