// A real PgBouncer in front of a database.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { withClient } from './databases.js'
import { freePort } from './free-port.js'
import { isRoot, stranger, temporaryFolder, until } from './helper.js'
import { endWithUs } from './reaper.js'

const program = ['/usr/sbin/pgbouncer', '/usr/local/sbin/pgbouncer', '/usr/bin/pgbouncer', '/opt/homebrew/bin/pgbouncer'].find((path) => existsSync(path))

/** Why these tests are skipped; false where PgBouncer is installed. */
export const withoutPgBouncer = program === undefined && 'PgBouncer is not installed (on Debian: apt-get install pgbouncer)'

const version = program === undefined ? '' : spawnSync(program, ['--version'], { encoding: 'utf8' }).stdout
/** Why tests of one that loses prepared statements are skipped: since 1.21 it can keep them. */
export const withoutOldPgBouncer = withoutPgBouncer || (!/^PgBouncer 1\.(?:\d|1\d|20)\./.test(version) && 'PgBouncer is 1.21 or newer')

/**
 * Starts a PgBouncer that ends with the test.
 *
 * @param settings lines of its configuration
 * @returns the URL of the database through it
 */
export async function startPgBouncer (t: Test, url: string, settings: string[]): Promise<string> {
  const { username, password, hostname, port: serverPort } = new URL(url)
  const port = String(await freePort())
  const folder = temporaryFolder(t)
  const owner = isRoot ? { uid: stranger, gid: stranger } : {}
  writeFileSync(join(folder, 'users.txt'), `"${username}" "${decodeURIComponent(password)}"\n`)
  writeFileSync(join(folder, 'pgbouncer.ini'), [
    '[databases]', `* = host=${hostname} port=${serverPort}`,
    '[pgbouncer]', 'listen_addr = 127.0.0.1', `listen_port = ${port}`, 'unix_socket_dir =',
    'auth_type = scram-sha-256', `auth_file = ${join(folder, 'users.txt')}`, ...settings
  ].join('\n'))
  if (isRoot) chmodSync(folder, 0o755)
  const bouncer = spawn(String(program), [join(folder, 'pgbouncer.ini')], { stdio: 'ignore', ...owner })
  const ended = once(bouncer, 'exit')
  const hasEnded = endWithUs(bouncer.pid)
  t.teardown(async () => {
    bouncer.kill('SIGKILL')
    await ended
    hasEnded()
  })
  const pooled = Object.assign(new URL(url), { hostname: '127.0.0.1', port }).href
  await until(() => withClient(pooled, async () => true).catch(() => false), 10_000)
  return pooled
}
