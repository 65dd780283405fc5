// Starts the built server, logs in, calls the guarded route, and stops the server.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { listening } from './listening.js'

const folder = mkdtempSync(join(tmpdir(), 'latchkey-smoke-'))
const server = spawn(process.execPath, [resolve('dist/server.cjs')], {
  cwd: folder,
  env: { PATH: process.env.PATH, PORT: '0' },
  stdio: ['ignore', 'pipe', 'inherit']
})

async function call (url, options) {
  const response = await fetch(url, options)
  const text = await response.text()
  if (response.status !== 200) throw new Error(`${url} answered ${response.status} ${text}`)
  return text
}

try {
  const url = await listening(server)
  const post = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ username: 'bob', password: 'correct horse battery staple' }) }
  await call(`${url}/api/v1/signup`, post)
  const { token } = JSON.parse(await call(`${url}/api/v1/login`, post))
  console.log(await call(`${url}/need_login`, { headers: { authorization: `Bearer ${token}` } }))
  await call(`${url}/docs`)
  server.kill('SIGTERM')
  const [code] = await once(server, 'exit')
  if (code !== 0) throw new Error(`the server ended with ${code}`)
} finally {
  server.kill('SIGKILL')
  rmSync(folder, { recursive: true, force: true })
}
