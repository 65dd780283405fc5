// Packs the package, checks its files, installs it into an empty folder, and uses it in every
// way: as a server, embedded, and in a test. Needs the npm registry.
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { publint } from 'publint'
import { formatMessage } from 'publint/utils'
import { listening } from './listening.js'

const attw = '@arethetypeswrong/cli@0.18.5'

const folder = mkdtempSync(join(tmpdir(), 'latchkey-package-'))
const run = (command, args, options = {}) => execFileSync(command, args, { stdio: ['ignore', 'pipe', 'inherit'], encoding: 'utf8', ...options })

function check (isTrue, message) {
  if (!isTrue) throw new Error(message)
}

/** Runs `use` with the URL of a server that is started in the folder, then stops the server. */
async function withProgram (args, env, use) {
  const child = spawn(process.execPath, args, { cwd: folder, env: { PATH: process.env.PATH, PORT: '0', ...env }, stdio: ['ignore', 'pipe', 'inherit'] })
  try {
    await use(await listening(child))
    child.kill('SIGTERM')
    await once(child, 'exit')
  } finally {
    child.kill('SIGKILL')
  }
}

try {
  const [{ filename, files }] = JSON.parse(run('npm', ['pack', '--json', '--silent', '--pack-destination', folder]))
  const names = files.map(({ path }) => path)
  const allowed = /^(?:dist\/.+\.(?:js|d\.ts)|dist\/(?:cli|server|programs-\w+|standalone\/(?:load-programs|thread-pool))\.cjs|dist\/database\/\w+\/migrations\/(?:\d+_\w+\.sql|meta\/_journal\.json)|dist\/data\/[\w-]+\.(?:txt|svg)|dist\/THIRD-PARTY-NOTICES\.txt|openapi\.yaml|package\.json|README\.md|CHANGELOG\.md|LICENSE|docs\/[\w-]+\.md)$/
  const unexpected = names.filter((name) => !allowed.test(name))
  check(unexpected.length === 0, `unexpected files: ${unexpected.join(', ')}`)
  const built = names.filter((name) => /^dist\/.*\.js$/.test(name)).map((name) => name.replace(/^dist/, 'src').replace(/js$/, 'ts'))
  const stale = built.filter((name) => !existsSync(name))
  check(stale.length === 0, `files without a source: ${stale.join(', ')}`)
  for (const name of ['LICENSE', 'README.md', 'openapi.yaml', 'dist/index.d.ts', 'dist/client/contract.d.ts', 'dist/testing.d.ts', 'dist/cli.cjs', 'dist/server.cjs', 'dist/data/common-passwords.txt', 'dist/THIRD-PARTY-NOTICES.txt']) check(names.includes(name), `${name} is missing`)
  console.log(`${filename}: ${names.length} files`)

  const { messages, pkg } = await publint({ strict: true })
  check(messages.length === 0, messages.map((message) => formatMessage(message, pkg)).join('\n'))
  const tarball = join(folder, filename)
  run('npx', ['--yes', attw, tarball, '--profile', 'esm-only', '--exclude-entrypoints', './openapi.yaml', '--format', 'ascii'])
  console.log('publint and arethetypeswrong: no problems')

  writeFileSync(join(folder, 'package.json'), '{ "private": true, "type": "module" }')
  run('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel', 'error', tarball], { cwd: folder })

  // Without its install script, better-sqlite3 is not built: every start says so, and creates nothing.
  const before = readdirSync(folder)
  const embed = `
    import Fastify from 'fastify'
    import latchkey, { StoreError } from 'latchkey'
    const app = Fastify()
    app.register(latchkey, { databaseUrl: 'sqlite:///data/app.sqlite', secretKey: '${randomBytes(32).toString('hex')}' })
    await app.ready().catch((error) => console.error(error instanceof StoreError ? 'latchkey: ' + error.message : error))
    process.exit(1)`
  for (const args of [['node_modules/latchkey/dist/server.cjs'], ['node_modules/latchkey/dist/cli.cjs', 'migrate'], ['--input-type=module', '--eval', embed]]) {
    const { stdout, stderr } = spawnSync(process.execPath, args, { cwd: folder, env: { PATH: process.env.PATH, PORT: '0' }, encoding: 'utf8' })
    check(stdout === '' && /^latchkey: better-sqlite3 was not built, .*`npm pkg set allowScripts\.better-sqlite3=true --json && npm rebuild better-sqlite3`.*\n$/.test(stderr), `unexpected output of ${args[0]}: ${stdout}${stderr}`)
    check(readdirSync(folder).join() === before.join(), `${args[0]} created files: ${readdirSync(folder)}`)
  }
  console.log('without the native module: one line, and no file')

  // Copied instead of compiled, which would take a minute.
  cpSync('node_modules/better-sqlite3/build', join(folder, 'node_modules/better-sqlite3/build'), { recursive: true })
  const installed = join(folder, 'node_modules/latchkey')
  check(!existsSync(join(folder, 'node_modules/typescript')), 'the package installs development dependencies')

  // The server, started by the command and called by the client.
  writeFileSync(join(folder, 'call.js'), `
    import { createClient } from 'latchkey/client'
    const client = createClient({ baseUrl: process.argv[2], prefix: process.argv[3] })
    const bob = { username: 'bob', password: 'correct horse battery staple' }
    await client.POST('/api/v1/signup', { body: bob })
    const { error } = await client.login(bob)
    if (error) throw new Error(error.code)
    const { data } = await client.GET('/api/v1/me')
    console.log(data.username + ' is logged in')
    await client.logout()
  `)
  const call = (...args) => console.log(run(process.execPath, ['call.js', ...args], { cwd: folder }).trim())
  await withProgram([join(installed, 'dist/cli.cjs'), 'serve'], {}, async (url) => call(url))

  // Embedded in an app, as in the README.
  cpSync('examples/guard.ts', join(folder, 'guard.js'))
  const example = readFileSync(join(folder, 'guard.js'), 'utf8').replace('port: 3000', 'port: Number(process.env.PORT)')
  writeFileSync(join(folder, 'guard.js'), example)
  await withProgram(['guard.js'], { SECRET_KEY: run(process.execPath, [join(installed, 'dist/cli.cjs'), 'secret']).trim() }, async (url) => call(url))

  // The testing helpers.
  writeFileSync(join(folder, 'editors.test.js'), `
    import { equal } from 'node:assert/strict'
    import { test } from 'node:test'
    import { testLatchkey } from 'latchkey/testing'
    test('editors', async (t) => {
      const { app, asUser } = await testLatchkey((app) => { app.get('/editors', { preHandler: app.requireRole('editor') }, async () => 'hello') })
      t.after(() => app.close())
      equal((await (await asUser('bob', { roles: ['editor'] })).inject('/editors')).body, 'hello')
      equal((await (await asUser('alice')).inject('/editors')).statusCode, 403)
    })
  `)
  run(process.execPath, ['--test', 'editors.test.js'], { cwd: folder })
  console.log('server, client, embedding and testing helpers work')
} finally {
  rmSync(folder, { recursive: true, force: true })
}
