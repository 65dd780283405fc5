import { spawnSync } from 'node:child_process'
import { appendFileSync, chmodSync, copyFileSync, existsSync, linkSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import t, { type Test } from 'tap'
import { withPartFile } from '../src/lib/part-file.js'
import { servicesOf } from '../src/services.js'
import { type Answer, commandLine, refused } from './command-line.js'
import { databases } from './databases.js'
import { asStranger, bob, build, isRoot, logIn, needLogin, signUp, temporaryFolder, tokenOf } from './helper.js'

const alice = { ...bob, username: 'alice' }
const carol = { ...bob, username: 'carol' }
const [, postgres] = databases

/** A command line whose database has bob, and a backup of it; alice signs up after that. */
async function backedUp (t: Test, env: Record<string, string> = {}) {
  const line = commandLine(t, env)
  const app = await build(t, line.settings)
  const token = await tokenOf(app)
  const backup = join(line.folder, 'backup.sqlite')
  t.match(await line.latchkey(['backup', backup]), { code: 0, err: '' })
  await signUp(app, alice)
  return { ...line, app, token, backup, restore: (...args: string[]) => line.latchkey(['restore', backup, '--yes', ...args]) }
}

/** Runs statements on a file. */
function edit (file: string, ...statements: string[]): void {
  const client = new Database(file)
  // Also the tables of SQLite itself.
  client.unsafeMode()
  for (const statement of statements) client.exec(statement)
  client.close()
}

/** The first value that a query on a file selects. */
function valueOf (file: string, query: string): unknown {
  const client = new Database(file)
  const value = client.prepare(query).pluck().get()
  client.close()
  return value
}

const parts = (folder: string) => readdirSync(folder).filter((name) => name.includes('.part'))

t.test('latchkey backup', async (t) => {
  const { folder, file, app, backup, latchkey } = await backedUp(t)

  t.test('a server has the database open → a file of its own, complete, for its owner only', async (t) => {
    t.equal(statSync(backup).mode & 0o777, 0o600)
    t.same(readdirSync(folder).filter((name) => name.startsWith('backup')), ['backup.sqlite'])
    t.equal(valueOf(backup, 'pragma integrity_check'), 'ok')
    t.equal(valueOf(backup, 'select group_concat(username) from users'), 'bob')
    t.equal(valueOf(backup, 'select count(*) from tokens'), 1)
    t.equal(valueOf(backup, 'pragma journal_mode'), 'delete', 'it needs no other file')
  })

  t.test('--json → file, bytes, users; as text → one sentence', async (t) => {
    const json = join(folder, 'json.sqlite')
    const { out } = await latchkey(['backup', json, '--json'])
    t.same(JSON.parse(out), { file: json, bytes: statSync(json).size, users: 2 })
    const text = join(folder, ' text.sqlite ')
    t.match(await latchkey(['backup', text]), { code: 0, out: /^backed up 2 users to .* text\.sqlite {2}\(\d+ bytes\): keep this file secret/, err: '' })
    t.equal(valueOf(join(folder, 'json.sqlite'), 'select count(*) from users'), 2)
    t.ok(existsSync(text), 'under the very name that was given')
  })

  t.test('the target exists, is a link, a folder, or cannot be created → one line, nothing is left', async (t) => {
    const target = temporaryFolder(t)
    const existing = join(target, 'existing')
    writeFileSync(existing, 'mine')
    symlinkSync(join(target, 'nowhere'), join(target, 'link'))
    for (const [name, reason] of [
      [existing, 'it exists already'], [join(target, 'link'), 'it exists already'], [target, 'it exists already'], [file, 'it exists already'],
      [join(target, 'missing/x'), 'no such file or directory'], [join(existing, 'x'), 'a part of the path is not a folder'], [join(target, 'x'.repeat(300)), 'name too long'],
      [`${file}-journal`, 'the database itself uses this name'], [`${file}-reserve`, 'the database itself uses this name']
    ] as const) refused(t, await latchkey(['backup', name]), `latchkey: cannot back up ${file} to ${name}: ${reason}`)
    chmodSync(target, 0o777)
    refused(t, await latchkey(['backup', join(target, 'x')]), 'can be written to by everybody')
    t.same(readdirSync(target).sort(), ['existing', 'link'])
    t.equal(readFileSync(existing, 'utf8'), 'mine')
    t.equal((await latchkey(['backup'])).code, 2)
    const stopped = commandLine(t)
    t.equal((await stopped.latchkey(['migrate'])).code, 0)
    symlinkSync(stopped.folder, join(target, 'folder'))
    for (const name of [`${stopped.file}-wal`, `${stopped.file}-shm`, join(target, 'folder/latchkey.sqlite-wal')]) refused(t, await stopped.latchkey(['backup', name]), 'the database itself uses this name')
    t.same(readdirSync(stopped.folder), ['latchkey.sqlite'])
  })

  t.test('files that earlier runs have left → removed; those of a running process, and others, stay', async (t) => {
    const target = temporaryFolder(t)
    const { pid } = spawnSync('true')
    const left = [`x.${pid}.part`, `x.${pid}.part-journal`, `x.${process.pid}.part`, `x.${process.pid}.part-wal`]
    const others = ['x.1.part', `x.${pid}.parts`, `xx.${pid}.part`, `y.${pid}.part`]
    for (const name of [...left, ...others]) writeFileSync(join(target, name), 'garbage')
    t.match(await latchkey(['backup', join(target, 'x')]), { code: 0 })
    t.same(readdirSync(target).sort(), ['x', ...others].sort())
    t.equal(valueOf(join(target, 'x'), 'select count(*) from users'), 2)
  })

  t.test('the database is damaged → one line, nothing is left', async (t) => {
    const other = commandLine(t)
    await other.latchkey(['migrate'])
    const target = join(other.folder, 'x')
    writeFileSync(other.file, readFileSync(other.file).fill(0xff, 4_096))
    refused(t, await other.latchkey(['backup', target]), `cannot back up ${other.file} to ${target}: `)
    t.same(readdirSync(other.folder), ['latchkey.sqlite'])
  })

  t.test('no database, one in memory, one of another program, a folder → one line', async (t) => {
    const target = join(folder, 'x')
    const on = (url: string) => commandLine(t, { DATABASE_URL: url }).latchkey(['backup', target])
    refused(t, await on(`sqlite:///${folder}/none.sqlite`), /there is no database .*none\.sqlite/)
    refused(t, await on('sqlite://'), 'a database in memory has no file')
    const foreign = join(folder, 'foreign.sqlite')
    edit(foreign, 'create table cakes (name text)')
    refused(t, await on(`sqlite:///${foreign}`), 'it is not a database of Latchkey')
    edit(foreign, 'create table __drizzle_migrations (created_at numeric)', 'insert into __drizzle_migrations values (1)')
    refused(t, await on(`sqlite:///${foreign}`), 'it is not a database of Latchkey')
    refused(t, await on(`sqlite:///${folder}`), 'it is not a regular file')
    t.notOk(existsSync(target))
    t.equal((await signUp(app, carol)).statusCode, 200)
  })
})

t.test('latchkey backup, restore · PostgreSQL → one line that names its own tools', async (t) => {
  const { latchkey } = commandLine(t, { DATABASE_URL: await postgres.create(t) })
  refused(t, await latchkey(['backup', '/nowhere/x']), /use pg_dump --format=custom --schema=latchkey .*drizzle\.latchkey_migrations/)
  refused(t, await latchkey(['restore', '/nowhere/x', '--yes']), 'use pg_restore')
})

t.test('latchkey restore', async (t) => {
  t.test('a server runs → it serves the restored data without a restart; tokens are revoked, codes deleted', async (t) => {
    const { folder, file, app, token, backup, latchkey, restore } = await backedUp(t)
    edit(backup, "insert into codes values ('a', 'password_reset', 1, null, 1, 9e15), ('b', 'invite', null, '{}', 1, 9e15), ('c', 'recovery', 1, null, 1, 9e15)")
    const ofAlice = (await logIn(app, alice)).json().token
    const [newest] = await servicesOf(app).audit.list({}, 1)
    const bytes = readFileSync(backup)
    t.same(await restore(), { code: 0, out: `restored 1 user from ${backup}; all tokens were revoked; the previous database is ${file}-before-restore\n`, err: '' })
    t.same(readFileSync(backup), bytes, 'the backup is only read')
    t.match((await needLogin(app, token)).json(), { code: 'TOKEN_REVOKED' })
    t.match((await needLogin(app, ofAlice)).json(), { statusCode: 400, code: 'USER_NOT_FOUND' })
    t.equal((await logIn(app, alice)).statusCode, 404)
    t.equal((await app.inject('/health/ready')).statusCode, 200)
    const again = (await logIn(app)).json().token
    t.equal((await needLogin(app, again)).statusCode, 200)
    t.equal(valueOf(file, 'select group_concat(hash) from codes'), 'c')
    t.equal(valueOf(file, 'pragma integrity_check'), 'ok')

    t.test('the previous database is kept, and never overwritten', async (t) => {
      t.equal(statSync(`${file}-before-restore`).mode & 0o777, 0o600)
      t.equal(valueOf(`${file}-before-restore`, 'select group_concat(username) from users'), 'bob,alice')
      const { out } = await restore('--json')
      t.same(JSON.parse(out), { file, users: 1, revoked_tokens: 1, deleted_codes: 2, previous: `${file}-before-restore-2` })
      t.match(JSON.parse((await restore('--json')).out), { previous: `${file}-before-restore-3` })
      t.same(parts(folder), [])
    })

    t.test('no id of a user or of an event is given again', async (t) => {
      await signUp(app, carol)
      t.equal((await servicesOf(app).users.find('carol'))?.id, 3, 'alice had 2')
      const [event] = await servicesOf(app).audit.list({ kind: 'restore' }, 5)
      t.match(event, { kind: 'restore', outcome: 'success', source: 'cli', userId: null })
      t.ok(Number(newest?.id) >= 4 && Number(event?.id) > Number(newest?.id), `${event?.id} after ${newest?.id}`)
      t.match((await latchkey(['events', '--kind', 'restore', '--json'])).out, '"kind":"restore"')
    })
  })

  t.test('--keep-tokens → the tokens and codes of the backup are valid again', async (t) => {
    const { app, token, backup, restore } = await backedUp(t)
    edit(backup, "insert into codes values ('a', 'password_reset', 1, null, 1, 9e15)")
    await app.inject({ method: 'POST', url: '/api/v1/logout', headers: { authorization: token } })
    t.equal((await needLogin(app, token)).statusCode, 401)
    t.match(await restore('--keep-tokens', '--json'), { code: 0, out: /"revoked_tokens":0,"deleted_codes":0/ })
    t.equal((await needLogin(app, token)).statusCode, 200)
    t.match((await restore('--keep-tokens')).out, 'its tokens are valid again')
  })

  t.test('AUDIT_RETENTION_DAYS=0 → no event', async (t) => {
    const { file, restore } = await backedUp(t, { AUDIT_RETENTION_DAYS: '0' })
    t.match(await restore(), { code: 0 })
    t.equal(valueOf(file, 'select count(*) from events'), 0)
  })

  t.test('without --yes → asks; anything but yes changes nothing', async (t) => {
    const { folder, file, backup, latchkey } = await backedUp(t)
    refused(t, await latchkey(['restore', backup]), 'latchkey: standard input is not a terminal: use --yes')
    t.match(await latchkey(['restore', backup], 'no\n', true), { code: 1, out: '', err: /Replace the database \S+ by \S+, which has 1 user\? Type yes: [^]*latchkey: nothing was restored\n$/ })
    t.equal(valueOf(file, 'select count(*) from users'), 2)
    t.notOk(existsSync(`${file}-before-restore`))
    t.same(parts(folder), [])
    t.match(await latchkey(['restore', backup], 'yes\n', true), { code: 0 })
    t.equal(valueOf(file, 'select count(*) from users'), 1)
  })

  t.test('a file that is no backup of ours → one line, the database is untouched', async (t) => {
    const { folder, file, app, backup, latchkey } = await backedUp(t)
    const changed = (...statements: string[]) => {
      const name = join(folder, `changed-${readdirSync(folder).length}.sqlite`)
      copyFileSync(backup, name)
      edit(name, ...statements)
      return name
    }
    const written = (name: string, text: string) => {
      writeFileSync(join(folder, name), text)
      return join(folder, name)
    }
    const truncated = changed("insert into roles select 'r' || key, hex(randomblob(500)) from json_each('[' || substr(replace(hex(zeroblob(300)), '00', ',1'), 2) || ']')")
    truncateSync(truncated, 40_960)
    const foreign = join(folder, 'foreign.sqlite')
    edit(foreign, 'create table users (id integer)')
    const garbled = changed()
    const bytes = readFileSync(garbled)
    writeFileSync(garbled, bytes.fill(0xff, 3 * 4_096, 4 * 4_096))
    symlinkSync(file, join(folder, 'link.sqlite'))
    linkSync(file, join(folder, 'hard-link.sqlite'))
    // SQLite would open the one without the blank.
    const blank = `${backup} `
    copyFileSync(backup, blank)
    for (const [name, reason] of [
      [join(folder, 'none'), 'there is no such file'],
      [folder, 'it is not a regular file'],
      [written('text', 'Dear diary, '.repeat(1_000)), 'file is not a database'],
      [written('empty', ''), 'it is not a database of Latchkey'],
      [truncated, /malformed|it is damaged/],
      [garbled, /malformed|it is damaged/],
      [foreign, 'it is not a database of Latchkey'],
      [blank, 'SQLite opened another file'],
      [changed("insert into __drizzle_migrations (hash, created_at) values ('x', 9e15)"), 'its schema is newer than this version of Latchkey'],
      [changed('drop table tokens'), 'no such table: tokens'],
      [changed('drop index users_disabled_index', 'alter table users drop column disabled_at'), 'no such column'],
      [changed('pragma foreign_keys = off', "insert into user_roles values (99, 'admin')"), 'rows refer to rows that do not exist'],
      [changed("update sqlite_sequence set seq = 9223372036854775807 where name = 'users'"), 'its highest id leaves none for later rows'],
      [changed("insert into events (id, time, kind, outcome, source) values (9223372036854775807, 1, 'login', 'success', 'http')"), 'its highest id leaves none for later rows'],
      [file, 'it is the database itself'],
      [join(folder, 'link.sqlite'), 'it is the database itself'],
      [join(folder, 'hard-link.sqlite'), 'it is the database itself'],
      [changed('create trigger kept before delete on tokens begin select raise(ignore); end'), 'it has the trigger "kept", which Latchkey has not created'],
      [changed('create view more as select * from users'), 'it has the view "more", which Latchkey has not created']
    ] as const) {
      const answer = await latchkey(['restore', name, '--yes'])
      refused(t, answer, `latchkey: cannot restore ${file} from ${name}: `)
      t.match(answer.err, reason, name)
    }
    t.notOk(existsSync(`${file}-before-restore`))
    t.same(parts(folder), [])
    t.equal((await logIn(app, alice)).statusCode, 200)
    refused(t, await commandLine(t, { DATABASE_URL: 'sqlite://' }).latchkey(['restore', backup, '--yes']), 'a database in memory has no file')
  })

  t.test('no database yet → created, with its folder; an empty file → filled', async (t) => {
    const { folder, file, backup } = await backedUp(t)
    const created = join(folder, 'new/data.sqlite')
    const other = commandLine(t, { DATABASE_URL: `sqlite:///${created}` })
    t.same(JSON.parse((await other.latchkey(['restore', backup, '--yes', '--json'])).out), { file: created, users: 1, revoked_tokens: 1, deleted_codes: 0, previous: null })
    t.same(readdirSync(join(folder, 'new')), ['data.sqlite'])
    t.same([statSync(join(folder, 'new')).mode & 0o777, statSync(created).mode & 0o777], [0o700, 0o600])
    t.equal((await logIn(await build(t, other.settings))).statusCode, 200)

    const empty = commandLine(t)
    writeFileSync(empty.file, '')
    t.match(JSON.parse((await empty.latchkey(['restore', `${file}`, '--yes', '--json'])).out), { users: 2, previous: null })
    t.equal((await logIn(await build(t, empty.settings), alice)).statusCode, 200)

    const dangling = join(folder, 'dangling.sqlite')
    symlinkSync(join(folder, 'nowhere'), dangling)
    refused(t, await commandLine(t, { DATABASE_URL: `sqlite:///${dangling}` }).latchkey(['restore', backup, '--yes']), 'it is a symbolic link to a missing file')
  })

  t.test('a database of another program → it is left alone', async (t) => {
    const { folder, backup } = await backedUp(t)
    const foreign = join(folder, 'foreign.sqlite')
    edit(foreign, 'create table cakes (name text)')
    refused(t, await commandLine(t, { DATABASE_URL: `sqlite:///${foreign}` }).latchkey(['restore', backup, '--yes']), 'foreign.sqlite has the tables of another program')
    t.equal(valueOf(foreign, 'select count(*) from cakes'), 0)
  })

  t.test('a stale -wal next to the database → it does not undo the restore', async (t) => {
    const { folder, file, app, backup, latchkey } = await backedUp(t)
    // As they are when a server is killed.
    const killed = join(folder, 'killed.sqlite')
    for (const suffix of ['', '-wal']) copyFileSync(file + suffix, killed + suffix)
    await app.close()
    t.ok(statSync(`${killed}-wal`).size > 0)
    const other = commandLine(t, { DATABASE_URL: `sqlite:///${killed}` })
    t.match(await other.latchkey(['restore', backup, '--yes']), { code: 0 })
    t.equal(valueOf(`${killed}-before-restore`, 'select count(*) from users'), 2, 'what only the -wal had is kept')
    t.equal(valueOf(killed, 'select count(*) from users'), 1)

    // Next to no database at all.
    rmSync(file)
    copyFileSync(`${killed}-before-restore`, `${file}-wal`)
    writeFileSync(`${file}-shm`, 'garbage')
    t.match(await latchkey(['restore', backup, '--yes']), { code: 0 })
    t.equal(valueOf(file, 'select count(*) from users'), 1)
  })

  t.test('the database is damaged → it is moved as it is, and a warning says so', async (t) => {
    const { file, app, restore } = await backedUp(t)
    const isDamaged = (answer: Answer) => t.match(answer, { code: 0, err: /^latchkey: warning: the previous database was damaged: it was moved, .*\n$/ })
    await app.close()
    writeFileSync(file, 'Dear diary, '.repeat(1_000))
    isDamaged(await restore())
    t.match(readFileSync(`${file}-before-restore`, 'utf8'), /^Dear diary/)
    t.equal(valueOf(file, 'select count(*) from users'), 1)

    // One whose header and sequences can be read, but not all of its rows.
    edit(file, "update sqlite_sequence set seq = 50 where name = 'users'", "create index copies on users (username || 'x')", 'pragma writable_schema = on', "update sqlite_schema set rootpage = (select rootpage from sqlite_schema where name = 'events') where name = 'tokens'")
    isDamaged(await restore())
    t.ok(existsSync(`${file}-before-restore-2`))
    t.equal(valueOf(file, "select seq from sqlite_sequence where name = 'users'"), 50)
    t.equal(valueOf(file, 'pragma integrity_check'), 'ok')
  })

  t.test('a backup of an older schema, of other pages, in WAL mode → migrated', async (t) => {
    const { file, app, backup, restore } = await backedUp(t)
    edit(backup, 'drop table codes', 'drop index users_disabled_index', 'alter table users drop column disabled_at', 'alter table users drop column email_verified_at', 'drop table second_factors', 'alter table users drop column second_factor_at', 'alter table tokens drop column logged_in_at', 'alter table tokens drop column renewed_at', 'delete from __drizzle_migrations where created_at in (select created_at from __drizzle_migrations order by created_at desc limit 2)', 'pragma page_size = 8192', 'vacuum')
    t.match(await restore(), { code: 0, err: '' })
    t.equal((await logIn(app)).statusCode, 200)
    t.equal(valueOf(file, 'select count(*) from codes'), 0)
    edit(backup, 'pragma journal_mode = wal')
    t.match(await restore(), { code: 0, err: '' })
    edit(backup, "delete from sqlite_sequence where name = 'users'")
    t.match(await restore(), { code: 0, err: '' })
    t.equal(valueOf(file, "select seq from sqlite_sequence where name = 'users'"), 2)
  })

  t.test('another process holds the lock → waits; for too long → one line, nothing is changed', async (t) => {
    const { file, restore } = await backedUp(t)
    const other = new Database(file)
    other.exec('begin immediate')
    setTimeout(() => other.exec("insert into roles values ('late', 'x'); commit"), 300)
    t.match(await restore(), { code: 0, err: '' })
    t.equal(valueOf(`${file}-before-restore`, "select count(*) from roles where name = 'late'"), 1, 'the last write is kept')
    t.equal(valueOf(file, "select count(*) from roles where name = 'late'"), 0)
    other.exec('begin immediate')
    const { now } = Date
    t.teardown(() => { Date.now = now })
    let passedMs = 0
    Date.now = () => now() + (passedMs += 5_000)
    refused(t, await restore(), 'the database is locked by another process')
    Date.now = now
    other.exec('rollback')
    other.close()
    t.notOk(existsSync(`${file}-before-restore-2`))
  })

  t.test('the previous database cannot be kept → one line, nothing is changed', async (t) => {
    const { folder, file, app, restore } = await backedUp(t)
    const name = join(folder, 'x'.repeat(234))
    await app.close()
    renameSync(file, name)
    const other = commandLine(t, { DATABASE_URL: `sqlite:///${name}` })
    refused(t, await other.latchkey(['restore', join(folder, 'backup.sqlite'), '--yes']), 'name too long')
    t.equal(valueOf(name, 'select count(*) from users'), 2)
    t.match(await restore(), { code: 0 }, 'under another name it can')
  })
})

t.test('part files · a signal → they are removed, and it ends the process as ever', async (t) => {
  const folder = temporaryFolder(t)
  const sent: unknown[] = []
  const listeners = process.listenerCount('SIGHUP')
  const { kill } = process
  t.teardown(() => { process.kill = kill })
  await withPartFile(join(folder, 'x'), async (part) => {
    appendFileSync(part, 'half')
    process.kill = (...args) => {
      sent.push(args)
      return true
    }
    // Only ours: others end the process of the test.
    process.listeners('SIGTERM').at(-1)?.('SIGTERM')
    process.kill = kill
    t.same(readdirSync(folder), [])
  })
  t.same(sent, [[process.pid, 'SIGTERM']])
  t.equal(process.listenerCount('SIGHUP'), listeners)
})

t.test('part files · of another user, who runs → left alone', { skip: isRoot ? false : 'only root can be somebody else' }, async (t) => {
  const folder = temporaryFolder(t)
  chmodSync(folder, 0o755)
  const own = join(folder, 'own')
  mkdirSync(own)
  writeFileSync(join(own, `x.${process.ppid}.part`), '')
  spawnSync('chown', ['65534', own])
  await asStranger(() => withPartFile(join(own, 'x'), async () => {}))
  t.same(readdirSync(own), [`x.${process.ppid}.part`])
})
