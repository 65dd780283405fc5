// Generates clients from openapi.yaml with four generators, type-checks them, and logs in with
// each. Needs the npm registry and a build.
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { listening } from './listening.js'

const folder = mkdtempSync(join(tmpdir(), 'latchkey-clients-'))
const document = resolve('openapi.yaml')
const fileOf = (name) => `use-${name.replace(/\W+/g, '-')}.ts`
const bin = (name) => join(folder, 'node_modules/.bin', name)

/** Later versions of the first two do not run on Node 20. */
const packages = ['@hey-api/openapi-ts@0.95.0', 'orval@7.13.2', 'swagger-typescript-api@13.13.0', 'openapi-typescript@7.13.0', 'openapi-fetch@0.17.0', 'typescript@5.9']

const bob = "{ username: 'bob', password: 'correct horse battery staple' }"
const generators = {
  'openapi-typescript': {
    command: [bin('openapi-typescript'), document, '-o', 'openapi-typescript/schema.ts'],
    use: `const { baseUrl } = globalThis as typeof globalThis & { baseUrl: string }
import createClient from 'openapi-fetch'
import type { paths } from './openapi-typescript/schema.js'
const client = createClient<paths>({ baseUrl })
const { data, error } = await client.POST('/api/v1/login', { body: ${bob} })
const token = data?.token
const code = error?.code`
  },
  '@hey-api/openapi-ts': {
    command: [bin('openapi-ts'), '-i', document, '-o', 'hey-api', '-c', '@hey-api/client-fetch'],
    use: `const { baseUrl } = globalThis as typeof globalThis & { baseUrl: string }
import { client } from './hey-api/client.gen.js'
import { logIn } from './hey-api/sdk.gen.js'
client.setConfig({ baseUrl })
const { data, error } = await logIn({ body: ${bob} })
const token = data?.token
const code = error?.code`
  },
  orval: {
    command: [bin('orval'), '--input', document, '--output', 'orval/client.ts', '--client', 'fetch'],
    use: `const { baseUrl } = globalThis as typeof globalThis & { baseUrl: string }
import { logIn } from './orval/client.js'
const { fetch } = globalThis
globalThis.fetch = (url, init) => fetch(new URL(String(url), baseUrl), init)
const answer = await logIn(${bob})
const token = answer.status === 200 ? answer.data.token : undefined
const code = answer.status === 200 ? undefined : answer.data.code`
  },
  'swagger-typescript-api': {
    command: [bin('swagger-typescript-api'), 'generate', '-p', document, '-o', 'swagger-typescript-api', '-n', 'api.ts'],
    use: `const { baseUrl } = globalThis as typeof globalThis & { baseUrl: string }
import { Api } from './swagger-typescript-api/api.js'
const { data, error } = await new Api({ baseUrl }).api.logIn(${bob})
const token = data?.token
const code = error?.code`
  }
}

/** Runs a program in the folder. @throws {Error} it fails or prints a warning */
function run (command, args, env = {}) {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd: folder, encoding: 'utf8', env: { ...process.env, ...env } })
  const printed = `${stdout}${stderr}`
  if (status !== 0 || /warn|error|deprecat/i.test(printed)) throw new Error(`${command} ${args.join(' ')}\n${printed}`)
  return printed
}

const server = spawn(process.execPath, [resolve('dist/server.cjs')], { cwd: folder, env: { PATH: process.env.PATH, PORT: '0' }, stdio: ['ignore', 'pipe', 'inherit'] })
try {
  writeFileSync(join(folder, 'package.json'), '{ "private": true, "type": "module" }')
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions: { strict: true, target: 'ES2022', module: 'ESNext', moduleResolution: 'bundler', lib: ['ES2022', 'DOM', 'DOM.Iterable'], types: [], noEmit: true, skipLibCheck: true }, include: ['*.ts'] }))
  execFileSync('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel', 'error', ...packages], { cwd: folder, stdio: 'inherit' })

  for (const [name, { command: [program, ...args], use }] of Object.entries(generators)) {
    run(program, args)
    writeFileSync(join(folder, fileOf(name)), `${use}\nconsole.log(token === undefined ? code satisfies string | undefined : 'logged in')\n`)
  }
  run(bin('tsc'), [])

  const url = await listening(server)
  await fetch(`${url}/api/v1/signup`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ username: 'bob', password: 'correct horse battery staple' }) })
  for (const name of Object.keys(generators)) {
    const printed = run(process.execPath, ['--import', import.meta.resolve('tsx'), '--import', `data:text/javascript,globalThis.baseUrl='${url}'`, fileOf(name)]).trim()
    if (printed !== 'logged in') throw new Error(`${name}: ${printed}`)
    console.log(`${name}: generated without a warning, type-checked, logged in`)
  }
} finally {
  server.kill('SIGKILL')
  rmSync(folder, { recursive: true, force: true })
}
